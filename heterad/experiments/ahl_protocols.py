"""AHL's protocols: general and hard settings, cross-domain, ablation; every method on the same splits."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from heterad.detectors.ahl import AHLDetector
from heterad.detectors.devnet import DevNetDetector
from heterad.detectors.dra import DRADetector
from heterad.detectors.scored import ScoredDetector
from heterad.experiments.ahl_sets import BUILT_IN, ONE_CLASS, SETS, Split, split_task, tasks
from heterad.experiments.baselines import isolation_forest
from heterad.experiments.runs import complete

Method = Callable[[Split, int], np.ndarray]
"""Scores of the test rows of a split, given a seed."""

SCALE = {"mvtec_resnet18": "global", "omniglot": "global", "mnist_r": "global", "digits": "global"}


def by_detector(detector: ScoredDetector) -> Method:
    """A method that fits a copy of ``detector`` to the training rows."""

    def scores(split: Split, seed: int) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return clone(detector).set_params(random_state=seed).fit(split.x, split.y).decision_function(split.test_x)

    return scores


def by_ensemble(detector: ScoredDetector, n: int = 7) -> Method:
    """The mean score of ``n`` detectors of different seeds: what AHL's T base models would be without its learning."""

    def scores(split: Split, seed: int) -> np.ndarray:
        return np.mean([by_detector(detector)(split, 1000 * seed + i) for i in range(n)], axis=0)

    return scores


def nearest_normal(split: Split, seed: int) -> np.ndarray:
    """The distance of each test row to the nearest training normal: no label of an anomaly is used."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=1).fit(split.x[split.y == 0]).kneighbors(split.test_x)
    return found[0][:, 0]


def logistic_regression(split: Split, seed: int) -> np.ndarray:
    """The logit of a regularised linear classifier of standardised features, classes weighing alike."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    return model.fit(split.x, split.y).decision_function(split.test_x)


def forest(split: Split, seed: int) -> np.ndarray:
    """An isolation forest grown on the normals."""
    return isolation_forest(split.x[split.y == 0], split.test_x, n_trees=100, seed=seed)


def methods(scale: str | None) -> dict[str, Method]:
    """What the general and the hard setting compare, by name, with features scaled as ``scale`` says."""
    return {
        "nearest normal": nearest_normal,
        "isolation forest": forest,
        "logistic regression": logistic_regression,
        "DevNet": by_detector(DevNetDetector(scale=scale)),
        "AHL(DevNet)": by_detector(AHLDetector("devnet", scale=scale)),
        "DRA": by_detector(DRADetector(scale=scale)),
        "AHL(DRA)": by_detector(AHLDetector("dra", scale=scale)),
    }


def ablations(scale: str | None) -> dict[str, Method]:
    """AHL(DRA) in full and with one part taken away, and ensembles of the bases without AHL's learning."""
    return {
        "DRA": by_detector(DRADetector(scale=scale)),
        "DRA ensemble": by_ensemble(DRADetector(scale=scale)),
        "AHL(DRA)": by_detector(AHLDetector("dra", scale=scale)),
        "without clusters": by_detector(AHLDetector("dra", scale=scale, n_clusters=1)),
        "without importance": by_detector(AHLDetector("dra", scale=scale, window=None)),
        "second order": by_detector(AHLDetector("dra", scale=scale, second_order=True)),
    }


def run(
    data: str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    hard: bool,
    shots: Sequence[int] = (10, 1),
    seeds: Sequence[int] = range(10),
    sets: Sequence[str] | None = None,
    compare: Callable[[str | None], Mapping[str, Method]] = methods,
    only: Sequence[str] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Compare methods on the same splits of every task of every data set.

    Args:
        data: folder of the data sets; not needed for "digits".
        out: file of JSON lines that holds the finished runs; a run that it holds is not done again.
        hard: anomalies of one class are seen and only others tested; else all classes are seen and tested.
        shots: numbers M of seen anomalies.
        seeds: of normal classes, splits and methods.
        sets: names of data sets; None takes all that have what the setting needs.
        compare: ``methods``, ``ablations``, or any other choice by a set's scale.
        only: names of methods; None takes all.
        report: told how many runs are done, and of how many.

    Returns:
        A row per run: ``set``, ``task``, ``shots``, ``seed``, ``method``, ``hard`` and ``auroc``.

    Raises:
        OSError, ValueError: a file cannot be read, a set or method is unknown.

    Cost:
        Seconds to a minute a run on one core.

    Source:
        Zhu et al. (CVPR 2024), section 4.
    """
    from sklearn.metrics import roc_auc_score

    chosen = [s for s in [*BUILT_IN, *SETS] if not (hard and s in ONE_CLASS)] if sets is None else list(sets)
    table = {name: compare(SCALE.get(name, "standard")) for name in chosen}
    names = list(next(iter(table.values()))) if only is None else list(only)
    if unknown := [name for name in names if any(name not in found for found in table.values())]:
        raise ValueError(f"only: expected names of methods, got {unknown}")
    drawn = {(s, seed): {t.name: t for t in tasks(data, s, seed)} for s in chosen for seed in seeds}

    def one(key: Mapping[str, Any]) -> dict[str, float]:
        task = drawn[key["set"], key["seed"]][key["task"]]
        split = split_task(task, key["shots"], np.random.default_rng([key["seed"], 2]), hard=hard)
        scores = table[key["set"]][key["method"]](split, key["seed"])
        return {"auroc": float(roc_auc_score(split.test_y, scores))}

    keys = [
        {"set": s, "task": t, "shots": m, "seed": seed, "method": method, "hard": hard}
        for seed in seeds
        for s in chosen
        for m in shots
        for t in drawn[s, seed]
        for method in names
    ]
    return complete(out, keys, one, report=report)
