"""Detectors that see only the target task's unlabelled rows: what meta-learning has to beat.

Their settings are the best of the paper's grids (section E), widened where the best lay at an edge, on the validation
tasks of the demo's seeds 0, 1 and 2; each function's docstring gives the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from heterad.nn.mlp import linear


def isolation_forest(support: np.ndarray, test: np.ndarray, *, n_trees: int = 200, seed: int = 0) -> np.ndarray:
    """Anomaly scores ``[m]`` of rows ``test [m, D]`` by an isolation forest grown on ``support [n, D]``.

    Source:
        Liu et al. (ICDM 2008). Grid: 50, 100, 200 trees.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> inlier, outlier = isolation_forest(x, np.array([[0.0, 0, 0], [6, 6, 6]]))
        >>> bool(outlier > inlier)
        True
    """
    from sklearn.ensemble import IsolationForest

    return -IsolationForest(n_estimators=n_trees, random_state=seed).fit(support).score_samples(test)


def one_class_svm(support: np.ndarray, test: np.ndarray, *, nu: float = 0.95, width: float = 5.0) -> np.ndarray:
    """Anomaly scores ``[m]`` of rows ``test [m, D]`` by a one-class SVM with an RBF kernel fitted to ``support``.

    The kernel's gamma is ``width`` / (D · variance of the support's values), ``width`` times scikit-learn's "scale".
    With nu near 1 almost every row is a support vector of the same weight: the score is then a density estimate,
    which a few anomalies in the support hardly move.

    Source:
        Schölkopf et al. (2001). Grid: nu 0.1, 0.3, 0.5 (the paper's), 0.6, 0.7, 0.8, 0.9, 0.95; width 0.1 … 100
        in 13 steps.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> inlier, outlier = one_class_svm(x, np.array([[0.0, 0, 0], [6, 6, 6]]), width=1.0)
        >>> bool(outlier > inlier)
        True
    """
    from sklearn.svm import OneClassSVM

    gamma = width / (support.shape[1] * max(float(support.var()), np.finfo(np.float64).tiny))
    return -OneClassSVM(nu=nu, gamma=gamma).fit(support).decision_function(test)


def robust_autoencoders(
    supports: Sequence[np.ndarray],
    tests: Sequence[np.ndarray],
    *,
    lam: float = 0.1,
    n_iter: int = 100,
    hidden: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
    callback: Callable[[int, int], None] | None = None,
) -> list[np.ndarray]:
    """Train one robust autoencoder for each support set, all side by side, and score its test rows.

    Each minimises mean ||x + a - r(x)||² + lam mean ||a||_1 over its anomalous attributes a, in closed form, which
    leaves twice the Huber loss of x - r(x) at lam / 2, and over its network r, by Adam. The score is ||x - r(x)||².

    Args:
        supports: T sets of rows ``[n_t, D]``.
        tests: rows to score for each ``[m_t, D]``.
        lam: weight of the l1 norm.
        n_iter: training steps over all rows.
        hidden: width of the three hidden layers; four layers in all.
        lr: Adam's learning rate.
        seed: of the initial weights.
        callback: told after each step how many are done and how many there are.

    Returns:
        T arrays of scores ``[m_t]``.

    Cost:
        O(n_iter · rows · hidden (D + hidden)) time.

    Source:
        Zhou and Paffenroth (KDD 2017), Chalapathy et al. (2017). Grid: n_iter 100, 500, 1000; lam 0.01 … 100 by
        tens.

    Example:
        >>> x = np.random.default_rng(0).normal(size=(50, 3))
        >>> [[inlier, outlier]] = robust_autoencoders([x], [np.array([[0.0, 0, 0], [9, -9, 9]])], n_iter=50)
        >>> bool(outlier > inlier)
        True
    """
    sizes = torch.tensor([len(s) for s in supports])
    x = torch.zeros(len(supports), int(sizes.max()), supports[0].shape[1])
    for t, support in enumerate(supports):
        x[t, : len(support)] = torch.as_tensor(support)
    weight = (torch.arange(x.shape[1]) < sizes[:, None]) / sizes[:, None]
    network = _Autoencoders(len(supports), x.shape[2], hidden, torch.Generator().manual_seed(seed))
    optimizer = torch.optim.Adam(network.parameters(), lr=lr, fused=True)
    for step in range(1, n_iter + 1):
        fit = network(x)
        loss = 2 * (weight * huber_loss(fit, x, reduction="none", delta=lam / 2).sum(-1)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if callback is not None:
            callback(step, n_iter)
    with torch.no_grad():
        rows = [torch.as_tensor(test, dtype=x.dtype) for test in tests]
        return [(r - network.one(t, r)).square().sum(-1).numpy() for t, r in enumerate(rows)]


class _Autoencoders(nn.Module):
    """T independent four-layer autoencoders, each drawn as torch would draw it."""

    def __init__(self, n_tasks: int, n_features: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        widths = (n_features, hidden, hidden, hidden, n_features)
        drawn = [[linear(a, b, generator) for a, b in pairwise(widths)] for _ in range(n_tasks)]
        layers = [*zip(*drawn, strict=True)]
        self.w = nn.ParameterList(torch.stack([m.weight.detach().T for m in layer]) for layer in layers)
        self.b = nn.ParameterList(torch.stack([m.bias.detach()[None] for m in layer]) for layer in layers)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct ``x [T, n, D]``, each set by its own network."""
        return _chain(x, [*zip(self.w, self.b, strict=True)])

    def one(self, t: int, x: Tensor) -> Tensor:
        """Reconstruct ``x [n, D]`` by network t."""
        return _chain(x, [(w[t], b[t]) for w, b in zip(self.w, self.b, strict=True)])


def _chain(x: Tensor, layers: list[tuple[Tensor, Tensor]]) -> Tensor:
    for i, (w, b) in enumerate(layers):
        x = (torch.relu(x) if i else x) @ w + b
    return x
