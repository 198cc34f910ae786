"""From scores to decisions: thresholds that can be changed after fitting, labels and probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np


class ThresholdMixin:
    """``predict``, ``predict_proba`` and ``set_threshold`` of any detector with ``decision_function``.

    The detector must have ``support_scores_``, the scores of the unlabelled rows it adapted to, and
    ``threshold_``.
    """

    support_scores_: np.ndarray
    threshold_: float

    def predict(self, X) -> np.ndarray:
        """Label rows: 1 where the score is above ``threshold_``, else 0.

        Args:
            X: features ``[n, D]``.

        Returns:
            int64 ``[n]``.
        """
        scores = self.decision_function(X)  # type: ignore[attr-defined]
        return (scores > self.threshold_).astype(np.int64)

    def predict_proba(self, X) -> np.ndarray:
        """Squash scores into (0, 1): 1 / (1 + exp(-(score - threshold) / spread)).

        The spread is 1.4826 times the median absolute deviation of the support scores. The numbers rank as the
        scores do and are 1/2 at the threshold; they are not calibrated frequencies.

        Args:
            X: features ``[n, D]``.

        Returns:
            float64 ``[n, 2]``: columns normal and anomaly, summing to 1.
        """
        from scipy.special import expit

        scores = self.decision_function(X)  # type: ignore[attr-defined]
        centre = np.median(self.support_scores_)
        spread = 1.4826 * np.median(np.abs(self.support_scores_ - centre))
        spread = max(spread, 1e-9 * abs(centre), np.finfo(np.float64).tiny)
        logit = (scores - self.threshold_) / spread
        return np.stack([expit(-logit), expit(logit)], axis=1)

    def set_threshold(
        self,
        *,
        contamination: float | None = None,
        value: float | None = None,
        fpr: float | None = None,
        X_normal=None,
    ) -> Any:
        """Move the threshold without refitting; give exactly one of the first three.

        Args:
            contamination: share of the support rows to call anomalous, in [0, 1).
            value: the score itself.
            fpr: share of normal rows that may be called anomalous, in [0, 1).
            X_normal: rows known to be normal, for ``fpr``; None takes for normal the support rows that score
                lowest, all but the share ``contamination`` of the constructor.

        Returns:
            The detector.

        Raises:
            ValueError: not exactly one is given, or one is out of range.

        Cost:
            One sort of the support scores (and scoring ``X_normal``).
        """
        given = {"contamination": contamination, "value": value, "fpr": fpr}
        named = [name for name, number in given.items() if number is not None]
        if len(named) != 1:
            raise ValueError(f"set_threshold: expected exactly one of {', '.join(given)}, got {named or 'none'}")
        if X_normal is not None and fpr is None:
            raise ValueError("X_normal: expected only together with fpr")
        if value is not None:
            if not np.isfinite(value):
                raise ValueError(f"value: expected a finite number, got {value}")
            self.threshold_ = float(value)
        elif contamination is not None:
            check_share("contamination", contamination)
            self.threshold_ = float(np.quantile(self.support_scores_, 1 - contamination))
        elif fpr is not None:
            check_share("fpr", fpr)
            self.threshold_ = float(np.quantile(self._normal_scores(X_normal), 1 - fpr))
        return self

    def _normal_scores(self, X_normal) -> np.ndarray:
        if X_normal is not None:
            return self.decision_function(X_normal)  # type: ignore[attr-defined]
        n_normal = max(1, round(len(self.support_scores_) * (1 - self.contamination)))  # type: ignore[attr-defined]
        return np.sort(self.support_scores_)[:n_normal]


def check_either(contamination: float | None, threshold: float | None) -> None:
    """Raise ValueError if both are given, or one that is out of range."""
    if contamination is not None and threshold is not None:
        raise ValueError("threshold: expected it or contamination, got both")
    if contamination is not None:
        check_share("contamination", contamination)
    if threshold is not None and not np.isfinite(threshold):
        raise ValueError(f"threshold: expected a finite number, got {threshold}")


def check_share(name: str, value: float) -> None:
    """Raise unless ``value`` is in [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{name}: expected a share in [0, 1), got {value}")
