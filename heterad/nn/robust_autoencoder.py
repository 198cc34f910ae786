"""The robust autoencoder: a nonlinear encoder shared by all tasks and a linear decoder solved for each."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from heterad import ops
from heterad.nn.mlp import MLP
from heterad.nn.reconstruction import reconstruction_error


class RobustAutoencoder(nn.Module):
    """Encoder h, initial anomalous attributes v, and the regularisers lambda and mu, which stay positive.

    The decoder W and the anomalous attributes A of one task minimise

        1/N sum ||y_n + a_n - W h([x_n, z])||² + lambda/N sum ||a_n||_1 + mu ||W||²_F

    by ``n_iter`` closed-form alternations from a_n = v([x_n, z]). The target y_n is the row x_n itself or, with
    ``center_dim`` (deep SVDD), one fixed vector c of ones for all rows.

    Args:
        n_features: D, length of a row.
        task_dim: K, length of the task vector z.
        generator: source of the initial weights.
        embed_dim: J, length of h's output.
        hidden: width of the hidden layers.
        n_iter: I, number of alternations; with 1, W is solved once for A as v gives it.
        lam_init: initial lambda, > 0.
        mu_init: initial mu, > 0.
        attributes: False keeps A at zero; v and lambda are then not there (None).
        learned_start: False starts from A = 0 and has no v.
        task_in_h, task_in_start: whether h and v see z.
        center_dim: C, length of c; None reconstructs the rows. What follows has C in the place of D then.
        per_feature: learn a lambda for each feature, from ``lam_init`` all.

    Source:
        Kumagai et al. (2023), Eqs. (3) to (7); h has three layers and v four (section D). Deep SVDD: appendix B;
        what is left out: Table 2. A lambda for each feature is this library's.

    Example:
        >>> autoencoder = RobustAutoencoder(5, 3, torch.Generator().manual_seed(0))
        >>> x, z = torch.ones(4, 7, 5), torch.ones(4, 3)
        >>> w, a = autoencoder.solve(x, z)
        >>> w.shape, a.shape, autoencoder.score(x, z, w).shape
        (torch.Size([4, 5, 32]), torch.Size([4, 7, 5]), torch.Size([4, 7]))
    """

    center: Tensor | None

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
        attributes: bool = True,
        learned_start: bool = True,
        task_in_h: bool = True,
        task_in_start: bool = True,
        center_dim: int | None = None,
        per_feature: bool = False,
    ) -> None:
        super().__init__()
        self.n_iter = n_iter
        width = n_features if center_dim is None else center_dim
        self.h = MLP((n_features, hidden, hidden, embed_dim), generator, context=task_dim if task_in_h else 0)
        self.v: MLP | None = None
        self.log_lam: nn.Parameter | None = None
        if attributes and learned_start:
            context = task_dim if task_in_start else 0
            self.v = MLP((n_features, hidden, hidden, hidden, width), generator, context=context)
        if attributes:
            self.log_lam = nn.Parameter(torch.full((width,) if per_feature else (), math.log(lam_init)))
        self.log_mu = nn.Parameter(torch.tensor(math.log(mu_init)))
        self.register_buffer("center", None if center_dim is None else torch.ones(center_dim), persistent=False)

    @property
    def lam(self) -> Tensor | None:
        """Lambda, ``[]`` or of each feature ``[D]``; None where A is kept at zero."""
        return None if self.log_lam is None else self.log_lam.exp()

    @property
    def mu(self) -> Tensor:
        return self.log_mu.exp()

    def solve(self, x: Tensor, z: Tensor | None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Adapt to support sets ``x [..., N, D]``: the decoder ``W [..., D, J]`` and ``A [..., N, D]``."""
        y, h, lam = self._target(x), self.h(x, z), self.lam
        if lam is None:
            return ops.ridge_solve(h, y, self.mu, mask=mask), torch.zeros_like(y)
        a0 = torch.zeros_like(y) if self.v is None else self.v(x, z)
        if lam.ndim == 0:
            return ops.robust_ridge(y, h, a0, lam, self.mu, n_iter=self.n_iter, mask=mask)
        # Features meet nowhere in the objective: in units of its lambda each has the lambda 1.
        one = torch.ones_like(self.log_mu)
        w, a = ops.robust_ridge(y / lam, h, a0 / lam, one, self.mu, n_iter=self.n_iter, mask=mask)
        return w * lam[:, None], a * lam

    def reconstruct(self, x: Tensor, z: Tensor | None, w: Tensor) -> Tensor:
        """W h([x, z]) for rows ``x [..., M, D]``."""
        return self.h(x, z) @ w.mT

    def score(self, x: Tensor, z: Tensor | None, w: Tensor) -> Tensor:
        """The anomaly score ||y - W h([x, z])||², ``[..., M]``."""
        return reconstruction_error(self._target(x), self.h(x, z), w)

    def attributes(self, x: Tensor, z: Tensor | None, w: Tensor) -> Tensor:
        """Anomalous attributes ``[..., M, D]`` of any rows under a given decoder, Eq. (5)."""
        y, lam = self._target(x), self.lam
        if lam is None:
            return torch.zeros_like(y)
        gap = self.reconstruct(x, z, w) - y
        if lam.ndim == 0:
            return ops.soft_threshold(gap, lam / 2)
        return ops.soft_threshold(gap / lam, torch.full_like(self.log_mu, 0.5)) * lam

    def _target(self, x: Tensor) -> Tensor:
        return x if self.center is None else self.center.expand(*x.shape[:-1], -1).contiguous()
