"""Autoencoders trained on each target task's support set alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from heterad.methods.baselines.networks import Networks
from heterad.methods.baselines.stacked import Weights, run
from heterad.methods.checks import at_least_one, positive
from heterad.nn import MLP


class AE(Networks):
    """An autoencoder r trained to reconstruct the support set; the score is ||x - r(x)||².

    All tasks start from the same weights.

    Args:
        n_features: D, length of a row.
        generator: source of the initial weights.
        n_iter: training steps over all rows.
        hidden: width of the three hidden layers; four layers in all.
        lr: Adam's learning rate.

    Raises:
        ValueError: ``n_iter`` is less than 1.

    Cost:
        O(n_iter · rows · hidden (D + hidden)) time; memory O(hidden (D + hidden)) a task.

    Source:
        Sakurada and Yairi (MLSDA 2014); sizes and grid in sections D and E of Kumagai et al. (2023).

    Example:
        >>> learner = AE(5, torch.Generator().manual_seed(0), n_iter=2)
        >>> learner.score(torch.ones(4, 3, 5), learner.adapt(torch.ones(4, 7, 5))).shape
        torch.Size([4, 3])
    """

    STACKED: ClassVar[tuple[str, ...]] = ("lam",)
    GRID: ClassVar[tuple[dict[str, Any], ...]] = ({"n_iter": 100}, {"n_iter": 500}, {"n_iter": 1000})

    def __init__(
        self,
        n_features: int,
        generator: torch.Generator,
        *,
        n_iter: int = 500,
        hidden: int = 32,
        lr: float = 1e-3,
    ) -> None:
        super().__init__()
        self.start = MLP((n_features, hidden, hidden, hidden, n_features), generator).requires_grad_(False)
        self.n_iter = at_least_one("n_iter", n_iter)
        self.lr = lr
        self.lam = math.inf

    def nets(self) -> tuple[MLP, ...]:
        """r."""
        return (self.start,)

    def slope(
        self, support: Tensor, share: Tensor, **stacked: Sequence[float]
    ) -> Callable[[Weights], tuple[Tensor, Tensor]]:
        """The reconstruction, and the gradient of the mean of twice its Huber loss at lam / 2."""
        double = 2 * share[..., None]

        def slope(weights: Weights) -> tuple[Tensor, Tensor]:
            fit = run(weights, support)
            gap = fit.detach() - support
            for of_model, lam in zip(gap, stacked["lam"], strict=True):  # a third of one clamp's time by a tensor
                of_model.clamp_(-lam / 2, lam / 2)
            return fit, gap.mul_(double)

        return slope

    def score(self, x: Tensor, adapted: Weights) -> Tensor:
        """The squared reconstruction error."""
        return (x - run(adapted, x)).square().sum(-1)


class RobustAE(AE):
    """An autoencoder r trained with anomalous attributes a, which spare it from reconstructing anomalies.

    It minimises mean ||x + a - r(x)||² + lam mean ||a||_1 over r, by Adam, and over a in closed form, which leaves
    twice the Huber loss of x - r(x) at lam / 2. The score is ||x - r(x)||².

    Args:
        n_features: D, length of a row.
        generator: source of the initial weights.
        lam: weight of the l1 norm, > 0.
        n_iter: training steps over all rows.
        hidden: width of the three hidden layers; four layers in all.
        lr: Adam's learning rate.

    Raises:
        ValueError: ``lam`` is not positive, or ``n_iter`` is less than 1.

    Source:
        Chalapathy et al. (ECML PKDD 2017), Zhou and Paffenroth (KDD 2017); grid in section E of Kumagai et al. (2023).

    Example:
        >>> learner = RobustAE(5, torch.Generator().manual_seed(0), n_iter=2)
        >>> learner.score(torch.ones(4, 3, 5), learner.adapt(torch.ones(4, 7, 5))).shape
        torch.Size([4, 3])
    """

    GRID: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"lam": lam, **of_ae} for lam in (0.01, 0.1, 1.0, 10.0, 100.0) for of_ae in AE.GRID
    )

    def __init__(
        self,
        n_features: int,
        generator: torch.Generator,
        *,
        lam: float = 0.1,
        n_iter: int = 500,
        hidden: int = 32,
        lr: float = 1e-3,
    ) -> None:
        super().__init__(n_features, generator, n_iter=n_iter, hidden=hidden, lr=lr)
        self.lam = positive("lam", lam)
