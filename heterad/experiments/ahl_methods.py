"""What the protocols of AHL compare: the detectors here, controls, and peers of other libraries where installed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np
from sklearn.base import clone

from heterad.data.partition import anomaly_distributions, cluster_normals
from heterad.detectors.ahl import AHLDetector
from heterad.detectors.devnet import DevNetDetector
from heterad.detectors.dra import DRADetector
from heterad.detectors.scored import ScoredDetector
from heterad.experiments.ahl_sets import Split
from heterad.methods.ahl import AHLRecipe

Method = Callable[[Split, int], np.ndarray]
"""Scores of the test rows of a split, given a seed."""

SCALE = {"mvtec_resnet18": "global", "omniglot": "global", "mnist_r": "global", "digits": "global"}
N_ENSEMBLE = 5


def bases(data: str, *, smoke: bool = False) -> dict[str, ScoredDetector]:
    """The two base detectors and AHL of each, unfitted, with the settings for a data set.

    Bases are trained as published, DevNet with the batches of its image form, which suit few rows. Rates and epochs of
    AHL are the detector's own, which were chosen on draws apart from those compared.
    """
    scale = SCALE.get(data, "standard")
    short: dict[str, Any] = {"epochs": 1} if smoke else {}
    return {
        "DevNet": DevNetDetector(batch_size=48, scale=scale, **short),
        "AHL(DevNet)": AHLDetector("devnet", scale=scale, **short),
        "DRA": DRADetector(scale=scale, **short),
        "AHL(DRA)": AHLDetector("dra", scale=scale, **short),
    }


def by_detector(detector: ScoredDetector) -> Method:
    """A method that fits a copy of ``detector`` to the training rows."""

    def scores(split: Split, seed: int) -> np.ndarray:
        return fitted(detector, split, seed).decision_function(split.test_x)

    return scores


def fitted(detector: ScoredDetector, split: Split, seed: int) -> ScoredDetector:
    """A copy of ``detector`` fitted to the training rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return clone(detector).set_params(random_state=seed).fit(split.x, split.y)


def by_ensemble(detector: ScoredDetector, n: int = N_ENSEMBLE) -> Method:
    """The mean score of ``n`` detectors of different seeds: what many models give without AHL's learning."""

    def scores(split: Split, seed: int) -> np.ndarray:
        return np.mean([by_detector(detector)(split, 1000 * seed + i) for i in range(n)], axis=0)

    return scores


def by_distributions(detector: ScoredDetector, n_clusters: int = AHLRecipe.n_clusters) -> Method:
    """The mean score of detectors that learn from one simulated distribution each: AHL's data without its learning.

    Each is given the normals of two clusters, or all, and the seen anomalies, as support and query set together.
    """

    def scores(split: Split, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        normal, anomaly = np.flatnonzero(split.y == 0), np.flatnonzero(split.y == 1)
        cluster = cluster_normals(split.x[normal], n_clusters, rng)
        found = []
        for i, d in enumerate(anomaly_distributions(normal, anomaly, cluster, rng)):
            rows = np.concatenate([d.support_normal, d.query_normal, d.query_anomaly])
            own = split._replace(x=split.x[rows], y=split.y[rows])
            found.append(by_detector(detector)(own, 1000 * seed + i))
        return np.mean(found, axis=0)

    return scores


def on_vectors(method: Method) -> Method:
    """A method that is given the mean of each map over its places."""

    def scores(split: Split, seed: int) -> np.ndarray:
        if split.x.ndim > 2:
            split = split._replace(x=split.x.mean((2, 3)), test_x=split.test_x.mean((2, 3)))
        return method(split, seed)

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
    """An isolation forest of 100 trees grown on the normals."""
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(n_estimators=100, random_state=seed).fit(split.x[split.y == 0]).score_samples(split.test_x)


def _deepod(name: str) -> Method:
    def scores(split: Split, seed: int) -> np.ndarray:
        from deepod import models
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(split.x[split.y == 0])
        model = getattr(models, name)(device="cpu", verbose=0, random_state=seed)
        x, y = scaler.transform(split.x), split.y
        if y.sum() == 1:  # PReNet draws pairs of different anomalies
            x, y = np.concatenate([x, x[y == 1]]), np.append(y, 1)
        model.fit(x, y)
        return model.decision_function(scaler.transform(split.test_x))

    return scores


def _pyod(module: str, name: str) -> Method:
    def scores(split: Split, seed: int) -> np.ndarray:
        from importlib import import_module

        model = getattr(import_module(f"pyod.models.{module}"), name)()
        return model.fit(split.x[split.y == 0]).decision_function(split.test_x)

    return scores


PEERS: dict[str, Method] = {
    "nearest normal": nearest_normal,
    "isolation forest": forest,
    "logistic regression": logistic_regression,
}
OPTIONAL = {
    "DeepSAD (DeepOD)": ("deepod", _deepod("DeepSAD")),
    "PReNet (DeepOD)": ("deepod", _deepod("PReNet")),
    "ECOD (PyOD)": ("pyod", _pyod("ecod", "ECOD")),
    "LOF (PyOD)": ("pyod", _pyod("lof", "LOF")),
}
"""Peers by name, with the package each needs; those of packages that are not installed are left out."""


def methods(data: str, *, smoke: bool = False) -> dict[str, Method]:
    """What the general and the hard setting compare."""
    installed = {name: peer for name, (package, peer) in OPTIONAL.items() if find_spec(package) is not None}
    found = {name: on_vectors(peer) for name, peer in (PEERS | installed).items()}
    detectors = bases(data, smoke=smoke)
    pseudo = clone(detectors["DevNet"]).set_params(pseudo=True)
    extra = {"DevNet + pseudo": pseudo}
    return found | {name: by_detector(d) for name, d in (detectors | extra).items()}


def ablations(data: str, *, smoke: bool = False) -> dict[str, Method]:
    """AHL(DRA) in full and with one part taken away or exchanged, and its base alone and many times over."""
    detectors = bases(data, smoke=smoke)
    full = detectors["AHL(DRA)"]
    parts: Mapping[str, Mapping[str, object]] = {
        "AHL(DRA)": {},
        "random subsets": {"clusters": "random"},
        "without clusters": {"n_clusters": 1},
        "support loss": {"learn_on": "support"},
        "without importance": {"window": None},
        "two inner steps": {"inner_steps": 2},
        "two, second order": {"inner_steps": 2, "second_order": True},
    }
    return {
        "DRA": by_detector(detectors["DRA"]),
        "DRA ensemble": by_ensemble(detectors["DRA"]),
        "DRA of each distribution": by_distributions(detectors["DRA"]),
        **{name: by_detector(clone(full).set_params(**options)) for name, options in parts.items()},
    }
