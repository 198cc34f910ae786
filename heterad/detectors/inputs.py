"""What the detectors accept as labels, groups and features, checked once."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import column_or_1d

LABELS = {"anomalies": 1, "normals": 0, "unlabelled": -1}

TAIL = 3.0  # without it the rotated MNIST digits of the paper lost 0.10 of AUC, with it Isolet 0.01

ROWS = 16_384  # scaled at a time
BLOCK = 8  # features whose statistics are computed at a time: a cache line of numbers


class Scaling(NamedTuple):
    """Features are used as ``u = (x - mean) / scale``, beyond ``±tail`` as ``±(tail + log(1 + |u| - tail))``.

    A feature that hardly varies in the source tasks, as a pixel at the rim, may lie many deviations out in another
    task and would drown all others. The logarithm keeps order and continuity, and any finite value usable.
    """

    mean: np.ndarray
    scale: np.ndarray
    tail: np.ndarray

    def apply(self, x: np.ndarray) -> np.ndarray:
        u = (x - self.mean) / self.scale
        far = np.abs(u) > self.tail
        if far.any():
            beyond, tail = u[far], np.broadcast_to(self.tail, u.shape)[far]
            u[far] = np.sign(beyond) * (tail + np.log1p(np.abs(beyond) - tail))
        return u

    def apply_float32(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """``apply`` of the rows of ``x [n, D]`` with the numbers ``rows``, rounded; only some are float64 at a time."""
        u = np.empty((len(rows), x.shape[1]), np.float32)
        for i in range(0, len(rows), ROWS):
            u[i : i + ROWS] = self.apply(x[rows[i : i + ROWS]])
        return u

    def undo(self, u: np.ndarray) -> np.ndarray:
        excess = np.clip(np.abs(u) - self.tail, 0, 700)  # exp(710) overflows
        return np.where(excess > 0, np.sign(u) * (self.tail + np.expm1(excess)), u) * self.scale + self.mean


def fit_scaling(x: np.ndarray, how: str | None) -> Scaling:
    """Statistics of the features ``x [n, D]``: mean and standard deviation, or 0 and 1 where ``how`` is None.

    They are each feature's own ("standard") or those of all values alike ("global"). What is constant (to rounding)
    keeps scale 1.
    """
    if how is None:
        return Scaling(np.zeros(x.shape[1]), np.ones(x.shape[1]), np.full(x.shape[1], np.inf))
    if how == "global":
        pooled = fit_scaling(x.reshape(-1, 1), "standard")
        return Scaling(*(np.repeat(value, x.shape[1]) for value in pooled))
    if how != "standard":
        raise ValueError(f"scale: expected 'standard', 'global' or None, got {how!r}")
    blocks = np.array_split(x, max(1, x.shape[1] // BLOCK), axis=1)
    mean, spread = (np.concatenate(found) for found in zip(*map(_moments, blocks), strict=True))
    return Scaling(mean, spread, np.full(x.shape[1], TAIL))


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column ``[D]``, the latter 1 of what is constant."""
    size = np.abs(x).max(0)
    size[size == 0] = 1
    shrunk = x / size  # squares of the raw values may overflow
    mean, spread = shrunk.mean(0), shrunk.std(0)
    constant = spread <= 10 * np.finfo(np.float64).eps * np.sqrt(len(x))
    return mean * size, np.where(constant, 1.0, spread * size)


def check_labels(y, n_rows: int, *, one_task: bool) -> np.ndarray:
    """Labels as int8 ``[n]``: 1 anomaly, 0 normal, -1 unlabelled; None is all unlabelled.

    Other values raise. Only for one task without groups they warn and count as None: scikit-learn's tools hand
    the targets of other problems to detectors too, which scikit-learn's own detectors ignore.
    """
    if y is None:
        return np.full(n_rows, -1, np.int8)
    y = column_or_1d(y)
    _check_length("y", y, n_rows)
    wrong = y[~np.isin(y, (-1, 0, 1))]
    if wrong.size == 0:
        return y.astype(np.int8)
    message = f"y: expected 1 (anomaly), 0 (normal) or -1 (unlabelled), got {np.unique(wrong)[:5].tolist()}"
    if not one_task or y.dtype.kind not in "iu":
        raise ValueError(f"{message} (Unknown label type: {y.dtype})")
    warnings.warn(f"{message}; y is ignored and every row taken as unlabelled", stacklevel=3)
    return np.full(n_rows, -1, np.int8)


def count_labels(labels: np.ndarray) -> dict[str, int]:
    """How many rows have each of the ``LABELS``, by name."""
    return {name: int((labels == label).sum()) for name, label in LABELS.items()}


def check_groups(groups, n_rows: int) -> np.ndarray:
    """The task of each row ``[n]``; None is one task."""
    if groups is None:
        return np.zeros(n_rows, dtype=np.int64)
    groups = column_or_1d(groups)
    _check_length("groups", groups, n_rows)
    if groups.dtype.kind == "f" and np.isnan(groups).any():
        raise ValueError(f"groups: expected a task for every row, got NaN in {int(np.isnan(groups).sum())} rows")
    if groups.dtype.kind == "O":
        if missing := sum(group is None for group in groups):
            raise ValueError(f"groups: expected a task for every row, got None in {missing} rows")
        kinds = sorted({type(g).__name__ for g in groups.tolist()})
        if len(kinds) > 1:
            raise ValueError(f"groups: expected values of one type, got {', '.join(kinds)}")
    return groups


def _check_length(name: str, value: np.ndarray, n_rows: int) -> None:
    if len(value) != n_rows:
        raise ValueError(f"{name}: expected one value for each of the {n_rows} rows of X, got {len(value)}")


def as_rows(X):
    """Lists and tensors as arrays; arrays, data frames and tables as they are."""
    if isinstance(X, torch.Tensor):
        return X.numpy(force=True)
    return X if hasattr(X, "shape") else np.asarray(X)


def take(X, rows):
    """Some rows of an array, a data frame or a table."""
    if hasattr(X, "column_names"):
        return X.take(rows)
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]
