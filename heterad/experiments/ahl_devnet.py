"""The acceptance test of the DevNet base: its paper's own protocol on two of its own data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from heterad.data.arrays import read_labelled
from heterad.detectors.devnet import DevNetDetector
from heterad.experiments.ahl_sets import set_file
from heterad.experiments.statistics import with_error
from heterad.experiments.table import Row

N_LABELLED = 30
CONTAMINATION = 0.02
SWAPPED = 0.05  # share of features that a contaminating row takes from a second anomaly


class Published(NamedTuple):
    """AUROC and AUPR of the paper."""

    auroc: float
    aupr: float


SETS = {
    "devnet_annthyroid": Published(0.783, 0.274),
    "devnet_unsw_backdoor": Published(0.969, 0.883),
}


class Split(NamedTuple):
    """One run's rows: features, 1 for the labelled anomalies, and the truth of the test rows."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def split_rows(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Split:
    """Draw the rows of one run.

    Of each class 80 % are for training. Of its anomalies 30 are labelled; the rest only serve to contaminate the
    unlabelled normals to 2 %, by rows that are an anomaly with 5 % of the features of another.

    Args:
        x: features ``[n, d]``.
        y: 1 anomaly, 0 normal ``[n]``.
        rng: source of randomness.

    Returns:
        The rows.

    Raises:
        ValueError: there are fewer than 38 anomalies, so that 30 are not left for training.

    Source:
        Pang et al. (KDD 2019), sections 4.1 to 4.3.

    Example:
        >>> x, y = np.arange(4000.0).reshape(1000, 4), np.arange(1000) % 10 == 0
        >>> drawn = split_rows(x, y, np.random.default_rng(0))
        >>> drawn.x.shape, int(drawn.y.sum()), drawn.test_x.shape
        ((765, 4), 30, (200, 4))
    """
    train, test = [], []
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == label))
        n_train = round(0.8 * len(rows))
        train.append(rows[:n_train])
        test.append(rows[n_train:])
    normal, anomaly = train
    if len(anomaly) < N_LABELLED:
        raise ValueError(f"y: expected {N_LABELLED} anomalies among the training rows, got {len(anomaly)}")
    n_noise = round(len(normal) * CONTAMINATION / (1 - CONTAMINATION))
    first, second = x[rng.choice(anomaly, n_noise)], x[rng.choice(anomaly, n_noise)]
    order = rng.random(first.shape).argsort(1).argsort(1)
    noise = np.where(order < int(SWAPPED * x.shape[1]), second, first)
    rows = np.concatenate([x[normal], noise, x[rng.choice(anomaly, N_LABELLED, replace=False)]])
    labels = np.repeat([0, 1], [len(normal) + n_noise, N_LABELLED])
    held_out = np.concatenate(test)
    return Split(rows, labels, x[held_out], (y[held_out] == 1).astype(np.int64))


def run_cell(key: Mapping[str, Any], data: Path | None) -> dict[str, float]:
    """Train ``DevNetDetector`` on the split that ``key["seed"]`` draws of the set ``key["set"]``.

    Args:
        key: names ``set`` and ``seed``; ``epochs``, if it has them, replace the paper's 50.
        data: folder with ``<set>.npz`` files of ``X`` in [0, 1] and ``y``.

    Returns:
        ``auroc`` and ``aupr``.

    Raises:
        OSError, ValueError: the file cannot be read; there is no folder.

    Cost:
        1,000 steps on 512 rows: about 10 s on one core for the smaller set.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    arrays = read_set(key["set"], data)
    split = split_rows(arrays["X"], arrays["y"], np.random.default_rng(key["seed"]))
    detector = DevNetDetector(epochs=key.get("epochs", 50), scale=None, random_state=key["seed"])
    scores = detector.fit(split.x, split.y).decision_function(split.test_x)
    return {
        "auroc": float(roc_auc_score(split.test_y, scores)),
        "aupr": float(average_precision_score(split.test_y, scores)),
    }


@lru_cache(maxsize=1)
def read_set(name: str, folder: Path | None) -> dict[str, np.ndarray]:
    """``X`` and ``y`` of one of ``SETS``.

    Raises:
        OSError, ValueError: as ``read_labelled`` and ``set_file``.
    """
    return read_labelled(set_file(folder, name), ["y"])


def report(rows: Sequence[Row]) -> str:
    """Means and standard errors beside the paper's figures."""
    lines = []
    for name, published in SETS.items():
        own = [row for row in rows if row.get("table") == "ahl-devnet" and row["set"] == name]
        if own:
            columns = [[row[value] for row in own] for value in Published._fields]
            cells = [with_error(v, 3) for v in columns]
            lines.append(f"| {name} | {cells[0]} | {published.auroc} | {cells[1]} | {published.aupr} | {len(own)} |")
    head = "| set | AUROC | published | AUPR | published | runs |\n|---|---|---|---|---|---|"
    return "\n".join(["DevNet's own protocol", "", head, *lines]) if lines else ""
