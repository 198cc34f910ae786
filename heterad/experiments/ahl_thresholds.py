"""How often new normals are called anomalous, with and without normals kept back from training.

``python -m heterad.experiments.ahl_thresholds`` prints it for the digits that come with scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from heterad.experiments.ahl_methods import bases, fitted
from heterad.experiments.ahl_sets import split_task, tasks
from heterad.experiments.statistics import with_error

METHODS = ("DevNet", "DRA", "AHL(DRA)")
SHOTS = 10


class Found(NamedTuple):
    """Of one draw: the share of new normals above the threshold, and the AUROC of classes not seen."""

    false_positives: float
    auroc: float


def measure(method: str, n_normals: int, fraction: float, seed: int, *, smoke: bool = False) -> Found:
    """Fit one detector in the hard setting, with the default contamination of 0.1, and judge it by new rows.

    Args:
        method: one of ``ahl_methods.bases``.
        n_normals: normals given, of the 300 of the protocol.
        fraction: ``validation_fraction``.
        seed: of the draw and of the detector.
        smoke: train for one epoch.

    Returns:
        What its test rows give.
    """
    [task] = tasks(None, "digits", seed)
    split = split_task(task, SHOTS, np.random.default_rng([seed, 2]), hard=True)
    given = np.r_[np.flatnonzero(split.y == 0)[:n_normals], np.flatnonzero(split.y == 1)]
    detector = bases("digits", smoke=smoke)[method].set_params(validation_fraction=fraction)
    detector = fitted(detector, split._replace(x=split.x[given], y=split.y[given]), seed)
    called = detector.predict(split.test_x[split.test_y == 0]).mean()
    return Found(float(called), float(roc_auc_score(split.test_y, detector.decision_function(split.test_x))))


def report(seeds: Sequence[int] = range(5), sizes: Sequence[int] = (30, 100, 300)) -> None:
    """Print a line for each method, number of normals and share kept back: means and standard errors in %."""
    for method in METHODS:
        for n_normals in sizes:
            for fraction in (0.0, 0.2):
                draws = [measure(method, n_normals, fraction, seed) for seed in seeds]
                called, auroc = (with_error(column, 1) for column in 100 * np.transpose(draws))
                print(
                    f"{method}, {n_normals} normals, {fraction} kept back: called {called}, AUROC {auroc}", flush=True
                )


if __name__ == "__main__":
    report()
