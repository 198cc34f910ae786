"""The robust autoencoder: a nonlinear encoder shared by all tasks and a linear decoder solved for each."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from heterad import ops
from heterad.nn.mlp import MLP


class RobustAutoencoder(nn.Module):
    """Encoder h, initial anomalous attributes v, and the regularisers lambda and mu, which stay positive.

    The decoder W and the anomalous attributes A of one task minimise

        1/N sum ||x_n + a_n - W h([x_n, z])||² + lambda/N sum ||a_n||_1 + mu ||W||²_F

    by ``n_iter`` closed-form alternations from a_n = v([x_n, z]).

    Args:
        n_features: D, length of a row.
        task_dim: K, length of the task vector z.
        generator: source of the initial weights.
        embed_dim: J, length of h's output.
        hidden: width of the hidden layers.
        n_iter: I, number of alternations.
        lam_init: initial lambda, > 0.
        mu_init: initial mu, > 0.

    Source:
        Kumagai et al. (2023), Eqs. (3) to (7); h has three layers and v four (section D).

    Example:
        >>> autoencoder = RobustAutoencoder(5, 3, torch.Generator().manual_seed(0))
        >>> x, z = torch.ones(4, 7, 5), torch.ones(4, 3)
        >>> w, a = autoencoder.solve(x, z)
        >>> w.shape, a.shape, autoencoder.score(x, z, w).shape
        (torch.Size([4, 5, 32]), torch.Size([4, 7, 5]), torch.Size([4, 7]))
    """

    def __init__(
        self,
        n_features: int,
        task_dim: int,
        generator: torch.Generator,
        *,
        embed_dim: int = 32,
        hidden: int = 32,
        n_iter: int = 10,
        lam_init: float = 0.1,
        mu_init: float = 0.1,
    ) -> None:
        super().__init__()
        self.n_iter = n_iter
        self.h = MLP((n_features, hidden, hidden, embed_dim), generator, context=task_dim)
        self.v = MLP((n_features, hidden, hidden, hidden, n_features), generator, context=task_dim)
        self.log_lam = nn.Parameter(torch.tensor(math.log(lam_init)))
        self.log_mu = nn.Parameter(torch.tensor(math.log(mu_init)))

    @property
    def lam(self) -> Tensor:
        return self.log_lam.exp()

    @property
    def mu(self) -> Tensor:
        return self.log_mu.exp()

    def solve(self, x: Tensor, z: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Adapt to support sets ``x [..., N, D]``: the decoder ``W [..., D, J]`` and ``A [..., N, D]``."""
        return ops.robust_ridge(x, self.h(x, z), self.v(x, z), self.lam, self.mu, n_iter=self.n_iter, mask=mask)

    def reconstruct(self, x: Tensor, z: Tensor, w: Tensor) -> Tensor:
        """W h([x, z]) for rows ``x [..., M, D]``."""
        return self.h(x, z) @ w.mT

    def score(self, x: Tensor, z: Tensor, w: Tensor) -> Tensor:
        """The anomaly score ||x - W h([x, z])||², ``[..., M]``."""
        return (x - self.reconstruct(x, z, w)).square().sum(-1)

    def attributes(self, x: Tensor, z: Tensor, w: Tensor) -> Tensor:
        """Anomalous attributes ``[..., M, D]`` of any rows under a given decoder, Eq. (5)."""
        return ops.soft_threshold(self.reconstruct(x, z, w) - x, self.lam / 2)
