"""Made-up tasks whose anomalous attributes are known, for tests and examples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class ToyTasks(NamedTuple):
    """Rows of toy tasks, ready for ``fit(x, y, groups)``, and the truth about them."""

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    anomalous: np.ndarray
    attributes: np.ndarray


def toy_tasks(
    n_tasks: int = 20,
    n_rows: int = 60,
    *,
    n_features: int = 10,
    label_ratio: float = 0.4,
    anomaly_ratio: float = 0.25,
    size: float = 2.0,
    seed: int = 0,
) -> ToyTasks:
    """Make tasks whose normal rows lie near a plane of the task's own and whose anomalies leave it in two features.

    A normal row is ``c_t + U_t s + noise`` with s normal in two dimensions and noise of deviation 0.1; an anomaly
    has ``±size`` added to two random features.

    Args:
        n_tasks: number of tasks, named 0, 1, ….
        n_rows: rows of each.
        n_features: length of a row.
        label_ratio: share of the rows that are labelled.
        anomaly_ratio: share of anomalies among labelled and unlabelled rows alike.
        size: what is added to an anomaly's two features.
        seed: of everything random.

    Returns:
        ``x`` float64 ``[n, D]``; ``y`` int8 ``[n]`` (1, 0, -1); ``groups`` ``[n]``; the truth ``anomalous`` bool
        ``[n]`` and ``attributes`` ``[n, D]``, what was added to each row.

    Cost:
        Time and memory of the returned arrays.

    Example:
        >>> toy = toy_tasks(3, 20)
        >>> toy.x.shape, [int((toy.y == label).sum()) for label in (1, 0, -1)], int(toy.anomalous.sum())
        ((60, 10), [6, 18, 36], 15)
    """
    rng = np.random.default_rng(seed)
    n_labelled = round(label_ratio * n_rows)
    truth = np.zeros(n_rows, bool)
    truth[: round(anomaly_ratio * n_labelled)] = True
    truth[n_labelled : n_labelled + round(anomaly_ratio * (n_rows - n_labelled))] = True
    label = np.where(np.arange(n_rows) < n_labelled, truth, -1).astype(np.int8)
    parts = []
    for _ in range(n_tasks):
        centre, plane = rng.normal(size=n_features), rng.normal(size=(2, n_features))
        added = np.zeros((n_rows, n_features))
        for row in np.flatnonzero(truth):
            added[row, rng.choice(n_features, 2, replace=False)] = size * rng.choice([-1, 1], 2)
        noise = 0.1 * rng.normal(size=(n_rows, n_features))
        parts.append((centre + rng.normal(size=(n_rows, 2)) @ plane + noise + added, added))
    return ToyTasks(
        np.concatenate([x for x, _ in parts]),
        np.tile(label, n_tasks),
        np.repeat(np.arange(n_tasks), n_rows),
        np.tile(truth, n_tasks),
        np.concatenate([added for _, added in parts]),
    )
