"""What the detectors that learn from seen anomalies share: checks, scaling, scores, explanations and files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from heterad.detectors import model_file
from heterad.detectors.inputs import Scaling, check_labels, fit_scaling
from heterad.detectors.parameters import check_device, check_parameters, seeds
from heterad.detectors.thresholds import ThresholdMixin
from heterad.nn.scorer import Scorer
from heterad.train import Loop

if TYPE_CHECKING:
    from typing_extensions import Self

CHUNK = 2**22  # numbers scored at a time, so that memory does not grow with X


class ScoredDetector(ThresholdMixin, BaseEstimator):
    """A detector around one ``Scorer``. A subclass stores options and defines ``_new_model`` and ``_train``.

    Rows are vectors ``[n, d]`` or maps ``[n, C, H, W]``, an image being a map of its colours. Everything is scored in
    float64, so a row's score does not depend on the rows scored with it.
    """

    scale: str | None
    contamination: float
    device: str | torch.device | None
    random_state: int | np.random.RandomState | None

    def fit(self, X, y=None, *, callback: Callable[[Loop], None] | None = None) -> Self:
        """Learn from normals and seen anomalies.

        Args:
            X: vectors ``[n, d]`` or maps ``[n, C, H, W]``, finite.
            y: 1 seen anomaly, 0 normal, -1 unlabelled and taken as normal ``[n]``; None: nothing is labelled.
                Without anomalies the detector learns from pseudo anomalies alone and warns.
            callback: called with the training loop after each epoch, e.g. to draw a progress bar.

        Returns:
            The fitted detector.

        Raises:
            TypeError, ValueError: an option is out of range; X or y are not as said; there are fewer than two
                normals; training diverged.
        """
        X = self._check(X, fitting=True)
        y = (check_labels(y, len(X), one_task=True) == 1).astype(np.int64)
        self._check_options()
        if (y == 0).sum() < 2:
            raise ValueError(f"y: expected at least two normals (0), got {int((y == 0).sum())} among {len(y)} rows")
        if not y.any():
            warnings.warn("y: no seen anomaly (1); learning from pseudo anomalies alone", stacklevel=2)
        device = check_device(self.device)
        init_seed, data_seed, split_seed = seeds(self.random_state)
        self.shape_ = X.shape[1:]
        self.scaling_ = _fit_scaling(X[y == 0], self.scale)
        x = torch.as_tensor(self.scaling_.apply(X), dtype=torch.float32, device=device)
        model = self._new_model(init_seed).to(device)
        generator = torch.Generator(device).manual_seed(data_seed)
        loop = self._train(model, x, y, generator, np.random.default_rng(split_seed), callback)
        self.history_, self.n_iter_ = loop.history, loop.step
        self.model_ = model.double().requires_grad_(False).eval()
        self.support_scores_ = self._in_training_mode(X[y == 0])
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
            One forward pass; memory of a chunk of 4 million numbers.
        """
        return self._total(self._check(X))

    def explain(self, X) -> dict[str, np.ndarray]:
        """Say which head calls a row anomalous and, of maps, where.

        Args:
            X: rows as in ``fit``.

        Returns:
            The score of each head, float64 ``[n]``, by name; and for maps ``"heat_map"`` ``[n, H, W]`` if the model
            knows of places.

        Raises:
            ValueError: as ``decision_function``.
        """

        def everything(x: Tensor) -> dict[str, Tensor]:
            heat = self.model_.heat_map(x) if x.ndim == 4 else None
            return self.model_(x) | ({} if heat is None else {"heat_map": heat})

        return self._each_chunk(self._check(X), everything)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector to one safetensors file, without pickle; see ``load``.

        Args:
            path: the file; an existing one is replaced whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        check_is_fitted(self, "model_")
        tensors = {f"model.{name}": t.float() for name, t in self.model_.state_dict().items()}
        arrays = {f"scaling.{name}": value for name, value in self.scaling_._asdict().items()}
        arrays["support_scores"] = self.support_scores_
        tensors |= {name: torch.as_tensor(np.asarray(a)) for name, a in arrays.items()}
        extra = {"shape": list(self.shape_), "history": self.history_, "n_iter": self.n_iter_}
        model_file.write(self, path, tensors, extra)

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
        return model_file.read(cls, path, device, cls._restore, options)

    def _restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        self._check_options()
        self.shape_ = tuple(record["shape"])
        self.history_, self.n_iter_ = record["history"], record["n_iter"]
        model = self._new_model(0)
        model.load_state_dict({k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")})
        self.model_ = model.to(check_device(self.device)).double().requires_grad_(False).eval()
        parts: dict[str, Any] = {name: tensors[f"scaling.{name}"].numpy() for name in Scaling._fields}
        self.scaling_ = Scaling(**parts)
        self.support_scores_ = tensors["support_scores"].numpy()

    def _check_options(self) -> None:
        check_parameters(self)

    def _new_model(self, seed: int) -> Scorer:
        """An untrained model of rows of ``shape_``, on the CPU."""
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
        """Train ``model`` in place."""
        raise NotImplementedError

    def _check(self, X, *, fitting: bool = False) -> np.ndarray:
        if not fitting:
            check_is_fitted(self, "model_")
        kinds = [np.float64, np.float32]
        X = validate_data(self, X, reset=fitting, dtype=kinds, allow_nd=True, ensure_min_samples=2 if fitting else 1)
        if X.ndim not in (2, 4) or (not fitting and X.shape[1:] != self.shape_):
            wanted = "[n, d] or [n, C, H, W]" if fitting else f"[n, {', '.join(map(str, self.shape_))}]"
            raise ValueError(f"X: expected shape {wanted}, got {X.shape}")
        return X

    def _total(self, X: np.ndarray) -> np.ndarray:
        found = self._each_chunk(X, lambda x: {"total": self.model_.total(self.model_(x))})["total"]
        if not np.isfinite(found).all():
            raise ValueError(f"X: expected values whose squares are finite, got values up to {np.abs(X).max():.3g}")
        return found

    def _in_training_mode(self, X: np.ndarray) -> np.ndarray:
        """Scores of training rows as fresh rows would get them: none is its own reference."""
        self.model_.train()
        try:
            return self._total(X)
        finally:
            self.model_.eval()

    def _each_chunk(self, X: np.ndarray, function: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, np.ndarray]:
        device = next(self.model_.parameters()).device
        size = max(1, CHUNK // int(np.prod(self.shape_)))
        parts = []
        with torch.no_grad():
            for i in range(0, len(X), size):
                x = torch.as_tensor(self.scaling_.apply(X[i : i + size]), dtype=torch.float64, device=device)
                parts.append({name: t.cpu().numpy() for name, t in function(x).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _fit_scaling(x: np.ndarray, how: str | None) -> Scaling:
    """Statistics of the features of vectors, or of the channels of maps."""
    if x.ndim == 2:
        return fit_scaling(x.astype(np.float64), how)
    found = fit_scaling(np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]).astype(np.float64), how)
    return Scaling(*(value[:, None, None] for value in found))
