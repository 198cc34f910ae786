"""The acceptance test of the DevNet base: its paper's own protocol on two of its own data sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from heterad.data.arrays import read_arrays
from heterad.detectors.devnet import DevNetDetector
from heterad.experiments.runs import complete

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


def run(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    seeds: Sequence[int] = range(10),
    sets: Sequence[str] = tuple(SETS),
    epochs: int = 50,
    report: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Train ``DevNetDetector`` on every data set with every seed.

    Args:
        data: folder with ``<set>.npz`` files of ``X`` in [0, 1] and ``y``.
        out: file of JSON lines that holds the finished runs; a run that it holds is not done again.
        seeds: of the splits and of the training.
        sets: names of data sets.
        epochs: of the training; the paper's are 50.
        report: told how many runs are done, and of how many.

    Returns:
        A row per run: ``set``, ``seed``, ``auroc``, ``aupr``.

    Raises:
        OSError, ValueError: a file cannot be read.

    Cost:
        1,000 steps on 512 rows a run: about 10 s on one core for the smaller set.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    loaded: dict[str, dict[str, np.ndarray]] = {}

    def one(key: Mapping[str, Any]) -> dict[str, float]:
        if key["set"] not in loaded:
            loaded[key["set"]] = read_arrays(Path(data) / f"{key['set']}.npz")
        arrays = loaded[key["set"]]
        split = split_rows(arrays["X"].astype(np.float32), arrays["y"], np.random.default_rng(key["seed"]))
        detector = DevNetDetector(epochs=epochs, scale=None, random_state=key["seed"]).fit(split.x, split.y)
        scores = detector.decision_function(split.test_x)
        return {
            "auroc": float(roc_auc_score(split.test_y, scores)),
            "aupr": float(average_precision_score(split.test_y, scores)),
        }

    keys = [{"set": name, "seed": seed} for name in sets for seed in seeds]
    return complete(out, keys, one, report=report)
