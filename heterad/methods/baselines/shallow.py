"""The classical detectors of scikit-learn, one fitted to each target task's support set."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from heterad.methods.baselines.target_only import TargetOnly
from heterad.methods.checks import check_rows, positive
from heterad.nn.mlp import check_width


class Shallow(TargetOnly):
    """A scikit-learn detector, fitted to one task after the other on the CPU."""

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.n_features = n_features

    @abstractmethod
    def fit_one(self, support: np.ndarray) -> Any:
        """A detector fitted to the rows ``[n, D]`` of one task, with ``score_samples``, which is higher for normals."""

    def adapt(self, support: Tensor, mask: Tensor | None = None) -> list[Any]:
        """Fitted detectors, one a task.

        Raises:
            ValueError: the rows are not of length ``n_features``.
        """
        check_rows(support, self.n_features)
        rows = support.detach().reshape(-1, *support.shape[-2:]).cpu()
        real = torch.ones(rows.shape[:-1], dtype=torch.bool) if mask is None else mask.reshape(rows.shape[:-1]).cpu()
        return [self.fit_one(x[keep].numpy()) for x, keep in zip(rows, real, strict=True)]

    def score(self, x: Tensor, adapted: list[Any]) -> Tensor:
        """Minus ``score_samples``."""
        check_width(x, self.n_features)
        rows = x.detach().reshape(len(adapted), -1, self.n_features).cpu().numpy()
        scores = np.stack([-fitted.score_samples(r) for fitted, r in zip(adapted, rows, strict=True)])
        return torch.as_tensor(scores).to(x).reshape(x.shape[:-1])


class OneClassSVM(Shallow):
    """A one-class SVM with an RBF kernel.

    The kernel's gamma is ``width`` / (D · variance of the support's values). With nu near 1 almost every row is a
    support vector of the same weight: the score is then a density estimate.

    Args:
        n_features: D, length of a row.
        generator: drawn from by no part of it; an SVM is not random.
        nu: bound of the share of outliers, in (0, 1].
        width: multiplies the gamma that scikit-learn calls "scale", > 0.

    Raises:
        ValueError: ``width`` is not positive; from ``adapt``, ``nu`` is outside its range.

    Cost:
        O(N²) to O(N³) time a task.

    Source:
        Schölkopf et al. (2001); grid in section E of Kumagai et al. (2023).

    Example:
        >>> learner = OneClassSVM(5, torch.Generator())
        >>> learner.score(torch.ones(4, 3, 5), learner.adapt(torch.eye(5).expand(4, 5, 5))).shape
        torch.Size([4, 3])
    """

    GRID: ClassVar[tuple[dict[str, Any], ...]] = ({"nu": 0.1}, {"nu": 0.3}, {"nu": 0.5})

    def __init__(self, n_features: int, generator: torch.Generator, *, nu: float = 0.5, width: float = 1.0) -> None:
        super().__init__(n_features)
        self.nu = nu
        self.width = positive("width", width)

    def fit_one(self, support: np.ndarray) -> Any:
        """Fit ``sklearn.svm.OneClassSVM``."""
        from sklearn import svm

        gamma = self.width / (support.shape[1] * max(float(support.var()), np.finfo(np.float64).tiny))
        return svm.OneClassSVM(nu=self.nu, gamma=gamma).fit(support)


class IsolationForest(Shallow):
    """An isolation forest.

    Args:
        n_features: D, length of a row.
        generator: source of the seed that all tasks' forests share.
        n_trees: number of trees.

    Raises:
        ValueError: from ``adapt``: ``n_trees`` is less than 1.

    Cost:
        About 1 ms a tree and task.

    Source:
        Liu et al. (ICDM 2008); grid in section E of Kumagai et al. (2023).

    Example:
        >>> learner = IsolationForest(5, torch.Generator().manual_seed(0), n_trees=10)
        >>> learner.score(torch.ones(4, 3, 5), learner.adapt(torch.eye(5).expand(4, 5, 5))).shape
        torch.Size([4, 3])
    """

    GRID: ClassVar[tuple[dict[str, Any], ...]] = ({"n_trees": 50}, {"n_trees": 100}, {"n_trees": 200})

    def __init__(self, n_features: int, generator: torch.Generator, *, n_trees: int = 100) -> None:
        super().__init__(n_features)
        self.n_trees = n_trees
        self.seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))

    def fit_one(self, support: np.ndarray) -> Any:
        """Fit ``sklearn.ensemble.IsolationForest``."""
        from sklearn import ensemble

        return ensemble.IsolationForest(n_estimators=self.n_trees, random_state=self.seed).fit(support)
