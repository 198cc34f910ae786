"""What the detectors that learn from seen anomalies share: checks, scaling, scores, explanations and files."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from heterad.data.columns import Columns
from heterad.detectors import model_file
from heterad.detectors.image_features import (
    SMALL,
    check_backbone,
    check_images,
    learn_backbone,
    maps_of,
    new_backbone,
)
from heterad.detectors.inputs import Scaling, as_rows, check_labels, count_labels, fit_scaling
from heterad.detectors.parameters import check_device, check_numbers, check_parameters, seeds
from heterad.detectors.thresholds import ThresholdMixin
from heterad.methods.ahl import AHL, AHLRecipe
from heterad.methods.supervised import Recipe, fit_scorer
from heterad.nn.backbone import BATCH, over_images
from heterad.nn.scorer import Scorer
from heterad.train import Loop, Report, each

if TYPE_CHECKING:
    from typing_extensions import Self

CHUNK = 2**22  # numbers scored at a time, so that memory does not grow with X


class ScoredDetector(ThresholdMixin, model_file.StoredMixin, BaseEstimator):
    """A detector around one ``Scorer``. A subclass stores options and defines ``_new_model`` and ``_recipe``.

    Rows are vectors ``[n, d]`` or maps ``[n, C, H, W]``, an image being a map of its colours unless a backbone makes
    feature maps of it. Everything after it is scored in float64, so a row's score does not depend on the rows scored
    with it.
    """

    backbone: str | None
    scale: str | None
    contamination: float
    validation_fraction: float
    device: str | torch.device | None
    random_state: int | np.random.RandomState | None

    def fit(
        self,
        X,
        y=None,
        *,
        callback: Callable[[Loop], None] | None = None,
        report: Report | None = None,
        columns: Columns | None = None,
    ) -> Self:
        """Learn from normals and seen anomalies.

        Args:
            X: vectors ``[n, d]`` or maps ``[n, C, H, W]``, finite; with a backbone, images of 1 or 3 colours, uint8
                or in [0, 1].
            y: 1 seen anomaly, 0 normal, -1 unlabelled and taken as normal ``[n]``; None: nothing is labelled.
                Without anomalies the detector learns from pseudo anomalies alone and warns.
            callback: called with the training loop after each epoch, e.g. to log the loss; before that twenty times
                with the loop of a "small" backbone's training, of which ``loop.model.backbone`` is the backbone.
            report: told what is being done, "backbone" (its training), "features" (of the images) or "training", how
                many steps, images or epochs are done, from 0 on, and of how many, e.g. to draw progress bars.
            columns: of X read from files, what the files' columns are; kept with the model.

        Returns:
            The fitted detector.

        Raises:
            TypeError, ValueError: an option is out of range; X or y are not as said; there are fewer than two
                normals; training diverged.
        """
        X = self._check(X, fitting=True)
        labels = check_labels(y, len(X), one_task=True)
        y = (labels == 1).astype(np.int64)
        self._check_options()
        if (y == 0).sum() < 2:
            raise ValueError(f"y: expected at least two normals (0), got {int((y == 0).sum())} among {len(y)} rows")
        if y.any() and not (labels == 0).any():
            warnings.warn(
                "y: no row is labelled normal (0), so those of -1, unlabelled, are taken as normal and those of 1 as "
                "anomalies, the reverse of what scikit-learn's outlier detectors predict",
                stacklevel=2,
            )
        if not y.any():
            warnings.warn("y: no seen anomaly (1); learning from pseudo anomalies alone", stacklevel=2)
        device = check_device(self.device)
        init_seed, data_seed, split_seed = seeds(self.random_state)
        self.input_shape_ = X.shape[1:]
        X, y, kept = self._keep_back(X, y, split_seed)
        tell: Report = report or (lambda stage, done, total: None)
        self.backbone_: nn.Module | None = None
        if self.backbone is not None:
            X, kept = self._learn_maps(X, y, kept, init_seed, device, callback, tell)
        self.shape_ = X.shape[1:]
        self.scaling_ = _fit_scaling(X[y == 0], self.scale)
        x = torch.as_tensor(self.scaling_.apply(X), dtype=torch.float32, device=device)
        model = self._new_model(init_seed).to(device)
        generator = torch.Generator(device).manual_seed(data_seed)
        epochs = self._recipe().epochs
        tell("training", 0, epochs)
        told = each(callback, lambda loop: tell("training", len(loop.history["step"]), epochs))
        loop = self._train(model, x, y, generator, np.random.default_rng(split_seed), told)
        self.history_, self.n_iter_ = loop.history, loop.step
        self.learned_from_: dict[str, int] | None = {"rows": len(labels)} | count_labels(labels)
        self.columns_ = columns
        return self._finish(model, X[y == 0], kept)

    def fine_tune(
        self,
        X,
        *,
        epochs: int = 10,
        lr: float = 2e-4,
        callback: Callable[[Loop], None] | None = None,
    ) -> Self:
        """Go on learning in another domain, from its normals and pseudo anomalies of them alone.

        Scaling, references, scores of the normals and the threshold become those of the new domain; the backbone and
        this detector itself stay as they are.

        Args:
            X: normals of the new domain, two or more rows as in ``fit``.
            epochs: epochs of 20 steps of Adam on 48 rows.
            lr: their learning rate.
            callback: called with the training loop after each epoch.

        Returns:
            A new detector.

        Raises:
            TypeError, ValueError: as ``decision_function``; there are fewer than two rows, ``epochs`` or ``lr`` is out
                of range, or training diverged.

        Source:
            Zhu et al. (CVPR 2024), section 4.4.
        """
        X = maps_of(self.backbone_, self._check(X))
        check_numbers({"epochs": epochs, "lr": lr})
        if len(X) < 2:
            raise ValueError(f"X: expected at least two normals, got {len(X)}")
        tuned = object.__new__(type(self))
        tuned.__dict__.update(self.__dict__)
        _, data_seed, split_seed = seeds(self.random_state)
        X, y, kept = self._keep_back(X, np.zeros(len(X), np.int64), split_seed)
        tuned.scaling_ = _fit_scaling(X, self.scale)
        model = copy.deepcopy(self.model_).float().requires_grad_(True)
        x = torch.as_tensor(tuned.scaling_.apply(X), dtype=torch.float32, device=next(model.parameters()).device)
        generator = torch.Generator(x.device).manual_seed(data_seed)
        loop = fit_scorer(model, x, y, generator, Recipe(epochs, lr=lr), callback=callback)
        tuned.history_, tuned.n_iter_ = loop.history, loop.step
        return tuned._finish(model, X, kept)

    def _keep_back(self, X: np.ndarray, y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The rows to learn from, and the normals kept back, which score as new ones do; None if there are none."""
        normal = np.flatnonzero(y == 0)
        n = min(int(self.validation_fraction * len(normal)), len(normal) - 2)
        if n == 0:
            if self.validation_fraction:
                warnings.warn(
                    f"validation_fraction: {len(normal)} normals are too few to keep some back, so those learned from, "
                    "which score lower than new ones, set the threshold",
                    stacklevel=3,
                )
            return X, y, None
        kept = np.sort(np.random.default_rng([seed, 1]).permutation(normal)[:n])
        return np.delete(X, kept, 0), np.delete(y, kept), X[kept]

    def _learn_maps(
        self,
        X: np.ndarray,
        y: np.ndarray,
        kept: np.ndarray | None,
        seed: int,
        device: torch.device,
        callback: Callable[[Loop], None] | None,
        tell: Report,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Feature maps of the images to learn from and of those kept back, by the backbone learned here."""
        assert self.backbone is not None
        self.backbone_ = learn_backbone(
            self.backbone, X[y == 0], seed, device, callback=callback, report=partial(tell, "backbone")
        )
        n, total = len(X), len(X) + (0 if kept is None else len(kept))
        maps = maps_of(self.backbone_, X, lambda done, _: tell("features", done, total))
        if kept is not None:
            kept = maps_of(self.backbone_, kept, lambda done, _: tell("features", n + done, total))
        return maps, kept

    def _finish(self, model: Scorer, learned: np.ndarray, kept: np.ndarray | None) -> Self:
        self.model_ = model.double().requires_grad_(False).eval()
        self.support_scores_ = self._in_training_mode(learned) if kept is None else self._total(kept)
        return self.set_threshold(contamination=self.contamination)

    def decision_function(self, X) -> np.ndarray:
        """Score rows; higher is more anomalous.

        Args:
            X: rows as in ``fit``.

        Returns:
            float64 ``[n]``.

        Raises:
            ValueError: X has another shape than the rows learned from, or values that are not finite or too large.

        Cost:
            One forward pass; memory of some chunks of 4 million numbers, and of the feature maps of as much or of 32
            images.
        """
        return self._total(self._check(X), self.backbone_)

    def explain(self, X) -> dict[str, np.ndarray]:
        """Say which head calls a row anomalous and, of maps, where.

        Args:
            X: rows as in ``fit``.

        Returns:
            The score of each head, float64 ``[n]``, by name; and for maps ``"heat_map"`` ``[n, H, W]`` if the model
            knows of places. With a backbone, H and W are the images': the scores of the feature map's places,
            bilinearly between them.

        Raises:
            ValueError: as ``decision_function``.
        """

        def everything(x: Tensor) -> dict[str, Tensor]:
            heat = self.model_.heat_map(x) if x.ndim == 4 else None
            if heat is not None and (heat.ndim != 3 or len(heat) != len(x)):
                raise ValueError(f"base: expected heat_map to give [{len(x)}, H, W], got {tuple(heat.shape)}")
            if heat is not None and self.backbone_ is not None:
                heat = over_images(heat, self.input_shape_[1:])
            return self.model_(x) | ({} if heat is None else {"heat_map": heat})

        return self._each_chunk(self._check(X), everything, self.backbone_)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector to one safetensors file, without pickle; see ``load``.

        Args:
            path: the file; an existing one is replaced whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        check_is_fitted(self, "model_")
        model_file.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str | torch.device | None = None, **options: Any) -> Self:
        """Read a detector that ``save`` wrote; its scores are bitwise those of the saved one (on the CPU).

        Args:
            path: the file. Reading it never executes code.
            device: where the loaded detector computes; None is the CPU, wherever it was trained.
            options: constructor options that replace those in the file: a ``base`` factory is code, which no file
                holds.

        Returns:
            The fitted detector.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged, foreign, or of a newer version of this library, or it needs a factory.
        """
        return model_file.read(cls, path, device, options)

    def _contents(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"model.{name}": t.float() for name, t in self.model_.state_dict().items()}
        if self.backbone_ is not None and self.backbone == SMALL:  # a published one is found by its name
            tensors |= {f"backbone.{name}": t for name, t in self.backbone_.state_dict().items()}
        arrays = {f"scaling.{name}": value for name, value in self.scaling_._asdict().items()}
        arrays["support_scores"] = self.support_scores_
        tensors |= {name: torch.as_tensor(np.asarray(a)) for name, a in arrays.items()}
        record = {
            "shape": list(self.shape_),
            "input_shape": list(self.input_shape_),
            "history": self.history_,
            "n_iter": self.n_iter_,
            "learned_from": self.learned_from_,
            "columns": None if self.columns_ is None else self.columns_.record(),
        }
        return tensors, record

    def _restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        self._check_options()
        self.shape_ = tuple(record["shape"])
        self.input_shape_ = tuple(record.get("input_shape", self.shape_))
        self.history_, self.n_iter_ = record["history"], record["n_iter"]
        device = check_device(self.device)
        self.backbone_ = None
        if self.backbone is not None:
            backbone = new_backbone(self.backbone, self.input_shape_[0]).requires_grad_(False).eval()
            if self.backbone == SMALL:
                backbone.load_state_dict(_named("backbone.", tensors))
            self.backbone_ = backbone.to(device)
        model = self._new_model(0)
        model.load_state_dict(_named("model.", tensors))
        self.model_ = model.to(device).double().requires_grad_(False).eval()
        parts: dict[str, Any] = {name: tensors[f"scaling.{name}"].numpy() for name in Scaling._fields}
        self.scaling_ = Scaling(**parts)
        self.support_scores_ = tensors["support_scores"].numpy()
        self.learned_from_ = record.get("learned_from")
        self.columns_ = None if record.get("columns") is None else Columns.of(record["columns"])

    def _check_options(self) -> None:
        check_parameters(self)
        check_backbone(self.backbone)

    def _new_model(self, seed: int) -> Scorer:
        """An untrained model of rows of ``shape_``, on the CPU."""
        raise NotImplementedError

    def _recipe(self) -> Recipe | AHLRecipe:
        """How rows of ``shape_`` are learned from."""
        raise NotImplementedError

    def _train(
        self,
        model: Scorer,
        x: Tensor,
        y: np.ndarray,
        generator: torch.Generator,
        rng: np.random.Generator,
        callback: Callable[[Loop], None] | None,
    ) -> Loop:
        """Train ``model`` in place by the recipe."""
        recipe = self._recipe()
        if isinstance(recipe, AHLRecipe):
            return AHL(model, x, y, generator, rng, recipe).fit(callback=callback)
        return fit_scorer(model, x, y, generator, recipe, callback=callback)

    def _check(self, X, *, fitting: bool = False) -> np.ndarray:
        if not fitting:
            check_is_fitted(self, "model_")
        X = as_rows(X)  # scikit-learn does not know a tensor's dtype
        shape = np.shape(X)
        if fitting and self.backbone is None and len(shape) == 4 and getattr(X, "dtype", None) == np.uint8:
            warnings.warn(
                f"X: bytes of shape {shape} are taken as feature maps; of images, backbone='small' makes maps first",
                stacklevel=3,
            )
        if not fitting and len(self.input_shape_) == 3 and shape[1:] != self.input_shape_:
            raise ValueError(self._wrong_shape(shape))
        kinds = [np.float64, np.float32, *([] if self.backbone is None else [np.uint8])]
        X = validate_data(self, X, reset=fitting, dtype=kinds, allow_nd=True, ensure_min_samples=2 if fitting else 1)
        if X.ndim not in (2, 4) or (not fitting and X.shape[1:] != self.input_shape_):
            wanted = f"X: expected shape [n, d] or [n, C, H, W], got {X.shape}"
            raise ValueError(wanted if fitting else self._wrong_shape(X.shape))
        if self.backbone is not None:
            check_images(X)
        return X

    def _wrong_shape(self, shape: tuple[int, ...]) -> str:
        return f"X: expected shape [n, {', '.join(map(str, self.input_shape_))}], got {shape}"

    def _total(self, X: np.ndarray, backbone: nn.Module | None = None) -> np.ndarray:
        return self._each_chunk(X, lambda x: {"total": self.model_.total(self.model_(x))}, backbone)["total"]

    def _in_training_mode(self, X: np.ndarray) -> np.ndarray:
        """Scores of training rows as fresh rows would get them: none is its own reference."""
        self.model_.train()
        try:
            return self._total(X)
        finally:
            self.model_.eval()

    def _each_chunk(
        self, X: np.ndarray, function: Callable[[Tensor], dict[str, Tensor]], backbone: nn.Module | None = None
    ) -> dict[str, np.ndarray]:
        """What ``function`` makes of the rows, or of the backbone's maps of them."""
        device = next(self.model_.parameters()).device
        widths = [len(t) for t in self.model_.state_dict().values() if t.ndim]  # hidden units, references
        size = max(1, CHUNK // max([int(np.prod(self.shape_)), *widths]))
        mapped = size if backbone is None else max(size, BATCH) // BATCH * BATCH  # its batches are those of all images
        parts = []
        with torch.no_grad():
            for i in range(0, len(X), mapped):
                rows = maps_of(backbone, X[i : i + mapped])
                for j in range(0, len(rows), size):
                    scaled = self.scaling_.apply(rows[j : j + size])
                    x = torch.as_tensor(scaled, dtype=torch.float64, device=device)
                    parts.append({name: t.cpu().numpy() for name, t in function(x).items()})
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if not all(np.isfinite(values).all() for values in found.values()):
            raise ValueError(f"X: expected values whose squares are finite, got values up to {np.abs(X).max():.3g}")
        return found


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _fit_scaling(x: np.ndarray, how: str | None) -> Scaling:
    """Statistics of the features of vectors, or of the channels of maps."""
    if x.ndim == 2:
        return fit_scaling(x.astype(np.float64), how)
    found = fit_scaling(np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]).astype(np.float64), how)
    return Scaling(*(value[:, None, None] for value in found))
