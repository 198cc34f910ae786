"""A detector adapted to one task."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data
from torch import Tensor

from heterad.detectors.calibration import Calibration
from heterad.detectors.inputs import Scaling
from heterad.detectors.thresholds import ThresholdMixin
from heterad.methods import MetaLearner, RobustMeta

CHUNK = 16_384  # rows scored at a time, so that memory does not grow with X


def _reconstructs(task: TaskDetector) -> bool:
    model = getattr(task, "model_", None)
    return isinstance(model, RobustMeta) and model.autoencoder.center is None


class TaskDetector(ThresholdMixin, BaseEstimator):
    """What ``RobustMetaDetector.adapt`` returns: a fitted detector for one task. Not made by hand.

    It shares the meta-learned networks with its parent and holds only the task's own vector z and decoder W.
    Everything is computed in float64, so a row's score does not depend on the rows scored with it.

    ``MetaDetector.adapt`` returns one of any method, which holds what that adapts; only of one that reconstructs rows
    by ``RobustMeta`` has it ``explain``, ``reconstruct`` and ``export``.

    Args:
        contamination: share of anomalies presumed in the support set.

    Attributes:
        support_scores_: scores of the rows adapted to, in their order.
        threshold_: the score above which ``predict`` says 1; see ``set_threshold``.
        calibration_: that of the parent, for ``p_values``; None where there is none.
        n_features_in_, feature_names_in_: as in scikit-learn.
    """

    model_: Any
    calibration_: Calibration | None = None

    def __init__(self, contamination: float = 0.1) -> None:
        self.contamination = contamination

    def decision_function(self, X) -> np.ndarray:
        """Score rows by their reconstruction error, ||x - W h([x, z])||² (or as the parent's method does).

        Higher is more anomalous.

        Args:
            X: features ``[n, D]``, finite.

        Returns:
            float64 ``[n]``.

        Raises:
            ValueError: X has other features than the model, or values that are not finite or too large to square.

        Cost:
            O(n (D + J) hidden) time; memory O(D) per row of a chunk of 16,384.

        Source:
            Kumagai et al. (2023), Eq. (7).
        """
        return self.scores(self._check(X))

    @available_if(_reconstructs)
    def explain(self, X) -> np.ndarray:
        """Anomalous attributes: what would have to be added to each feature for the row to be normal.

        Zero for a feature that the task's normal pattern explains up to lambda/2. For the rows adapted to, these
        are the A of the last alternation.

        Args:
            X: features ``[n, D]``, finite.

        Returns:
            float64 ``[n, D]`` in the model's units: standard deviations of the source tasks (beyond three, their
            logarithm), unless the model was fitted with ``scale=None``.

        Raises:
            ValueError: as ``decision_function``.

        Cost:
            As ``decision_function``, and the returned array.

        Source:
            Kumagai et al. (2023), Eq. (5) and Fig. 4.
        """
        return self.attributes(self._check(X))

    def p_values(self, X) -> np.ndarray:
        """Conformal p-values: small where hardly any normal row of the held-out tasks scores as high.

        Args:
            X: features ``[n, D]``, finite.

        Returns:
            float64 ``[n]`` in (0, 1]; formula and guarantee: ``Calibration.p_values``.

        Raises:
            ValueError: as ``decision_function``, or the parent was fitted without held-out normal rows.

        Cost:
            As ``decision_function``.

        Source:
            See ``Calibration.p_values``.
        """
        if self.calibration_ is None:
            raise ValueError(
                "p_values: expected a detector fitted with validation tasks that have normal rows, got one without"
            )
        return self.calibration_.p_values(self.decision_function(X))

    @available_if(_reconstructs)
    def reconstruct(self, X) -> np.ndarray:
        """The task's normal version of each row, W h([x, z]), in the units of ``X``.

        Args:
            X: features ``[n, D]``, finite.

        Returns:
            float64 ``[n, D]``.

        Raises:
            ValueError: as ``decision_function``.

        Cost:
            As ``explain``.

        Source:
            Kumagai et al. (2023), Fig. 5.
        """
        x = self._check(X)
        normal = self._each_chunk(x, lambda part: self.model_.autoencoder.reconstruct(part, *self.adapted_))
        return self.scaling_.undo(normal)

    @available_if(_reconstructs)
    def export(self, path: str | os.PathLike[str]) -> None:
        """Write this detector as a program that PyTorch runs without this library.

        ``torch.export.load(path).module()(x)`` then gives ``(scores, labels)``, as ``decision_function`` and
        ``predict``, for rows ``x``: a float64 tensor ``[n, D]`` on the CPU, n free.

        Args:
            path: the file, by custom .pt2; an existing one is replaced whole or not at all.

        Raises:
            OSError: the file cannot be written.

        Cost:
            Seconds: torch traces the program.

        Source:
            ``torch.export``; Kumagai et al. (2023), Eq. (7).
        """
        from heterad.detectors.export import export

        export(self, path)

    def adapt_to(self, x: np.ndarray, model: MetaLearner, scaling: Scaling) -> TaskDetector:
        """Adapt to checked rows ``x [n, D]`` and set the threshold; for the parent detector."""
        self.model_, self.scaling_ = model, scaling
        try:
            with torch.no_grad():
                self.adapted_: Any = model.adapt(self._to_model(x))
        except torch.linalg.LinAlgError as error:
            raise ValueError(
                f"X: expected values that can be adapted to, got up to {np.abs(x).max():.3g} ({error})"
            ) from None
        self.support_scores_ = self.scores(x)
        return self.set_threshold(contamination=self.contamination)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """``decision_function`` of checked rows; for the parent detector."""
        scores = self._each_chunk(x, lambda part: self.model_.score(part, self.adapted_))
        if not np.isfinite(scores).all():
            raise ValueError(f"X: expected values whose squares are finite, got values up to {np.abs(x).max():.3g}")
        return scores

    def attributes(self, x: np.ndarray) -> np.ndarray:
        """``explain`` of checked rows; for the parent detector."""
        return self._each_chunk(x, lambda part: self.model_.autoencoder.attributes(part, *self.adapted_))

    def _check(self, X) -> np.ndarray:
        return validate_data(self, X, reset=False, dtype=np.float64, order="C")

    def _each_chunk(self, x: np.ndarray, function: Callable[[Tensor], Tensor]) -> np.ndarray:
        with torch.no_grad():
            parts = [function(self._to_model(x[i : i + CHUNK])).cpu().numpy() for i in range(0, len(x), CHUNK)]
        return np.concatenate(parts)

    def _to_model(self, x: np.ndarray) -> Tensor:
        device = next((p.device for p in self.model_.parameters()), None)
        return torch.as_tensor(self.scaling_.apply(x), dtype=torch.float64, device=device)
