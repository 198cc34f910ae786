"""The baselines of the demo, from arrays to arrays: detectors that see only the target task's unlabelled rows.

Their settings are the best of the paper's grids (section E), widened where the best lay at an edge, on the validation
tasks of the demo's seeds 0, 1 and 2; each function's docstring gives the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from heterad.methods import MetaLearner
from heterad.methods.baselines import IsolationForest, OneClassSVM, RobustAE


def isolation_forest(support: np.ndarray, test: np.ndarray, *, n_trees: int = 200, seed: int = 0) -> np.ndarray:
    """Anomaly scores ``[m]`` of rows ``test [m, D]`` by an isolation forest grown on ``support [n, D]``.

    Source:
        ``IsolationForest``. Grid: 50, 100, 200 trees.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> inlier, outlier = isolation_forest(x, np.array([[0.0, 0, 0], [6, 6, 6]]))
        >>> bool(outlier > inlier)
        True
    """
    generator = torch.Generator().manual_seed(seed)
    return _scores(IsolationForest(support.shape[1], generator, n_trees=n_trees), support, test)


def one_class_svm(support: np.ndarray, test: np.ndarray, *, nu: float = 0.95, width: float = 5.0) -> np.ndarray:
    """Anomaly scores ``[m]`` of rows ``test [m, D]`` by a one-class SVM with an RBF kernel fitted to ``support``.

    With nu near 1 the score is a density estimate, which a few anomalies in the support hardly move.

    Source:
        ``OneClassSVM``. Grid: nu 0.1, 0.3, 0.5 (the paper's), 0.6, 0.7, 0.8, 0.9, 0.95; width 0.1 … 100 in 13 steps.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> inlier, outlier = one_class_svm(x, np.array([[0.0, 0, 0], [6, 6, 6]]), width=1.0)
        >>> bool(outlier > inlier)
        True
    """
    return _scores(OneClassSVM(support.shape[1], torch.Generator(), nu=nu, width=width), support, test)


def robust_autoencoders(
    supports: Sequence[np.ndarray],
    tests: Sequence[np.ndarray],
    *,
    lam: float = 0.1,
    n_iter: int = 100,
    seed: int = 0,
    callback: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """Train one robust autoencoder for each support set, all side by side, and score its test rows.

    Args:
        supports: T sets of rows ``[n_t, D]``.
        tests: rows to score for each ``[m_t, D]``.
        lam: weight of the l1 norm.
        n_iter: training steps over all rows.
        seed: of the initial weights.
        callback: told after each step how many are done and how many there are.

    Returns:
        T arrays of scores ``[m_t]``.

    Source:
        ``RobustAE``. Grid: n_iter 100, 500, 1000; lam 0.01 … 100 by tens.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> [[inlier, outlier]] = robust_autoencoders([x], [np.array([[0.0, 0, 0], [9, -9, 9]])], n_iter=50)
        >>> bool(outlier > inlier)
        True
    """
    sizes = torch.tensor([len(s) for s in supports])
    rows = torch.zeros(len(supports), int(sizes.max()), supports[0].shape[1])
    for row, support in zip(rows, supports, strict=True):
        row[: len(support)] = torch.as_tensor(support)
    learner = RobustAE(rows.shape[-1], torch.Generator().manual_seed(seed), lam=lam, n_iter=n_iter)
    weights = learner.adapt(rows, torch.arange(rows.shape[1]) < sizes[:, None], callback=callback)
    return [
        learner.score(torch.as_tensor(test, dtype=rows.dtype), tuple(w[t] for w in weights)).numpy()
        for t, test in enumerate(tests)
    ]


def _scores(learner: MetaLearner, support: np.ndarray, test: np.ndarray) -> np.ndarray:
    return learner.score(torch.as_tensor(test), learner.adapt(torch.as_tensor(support))).numpy()
