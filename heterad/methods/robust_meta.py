"""Meta-learning for robust anomaly detection (Kumagai et al., AISTATS 2023)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from heterad.methods.meta import MetaLearner
from heterad.nn import RobustAutoencoder, SetEncoder


class Adapted(NamedTuple):
    """What one task's support set determines: task vector z ``[..., K]`` and decoder W ``[..., D, J]``."""

    z: Tensor
    w: Tensor


class RobustMeta(MetaLearner):
    """The paper's model. Its parameters are f, g, h, v, lambda and mu, shared by all tasks.

    Args:
        n_features: D, length of a row.
        generator: source of the initial weights, of the CPU.
        task_dim: K, length of the task vector (paper: 32, 64 or 128).
        embed_dim: J, length of h's output (paper: 32).
        hidden: width of the hidden layers (paper: 32).
        n_iter: I, alternations of Eqs. (4) and (5) (paper: 10).
        lam_init: initial lambda (paper: 0.1, 1 or 10).
        mu_init: initial mu (paper: 0.1).

    Source:
        Kumagai et al. (2023), section 3, Algorithm 1; sizes in sections D and E.

    Example:
        >>> learner = RobustMeta(5, torch.Generator().manual_seed(0))
        >>> adapted = learner.adapt(torch.ones(4, 7, 5))
        >>> learner.score(torch.ones(4, 3, 5), adapted).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        n_features: int,
        generator: torch.Generator,
        *,
        task_dim: int = 32,
        embed_dim: int = 32,
        hidden: int = 32,
        n_iter: int = 10,
        lam_init: float = 0.1,
        mu_init: float = 0.1,
    ) -> None:
        super().__init__()
        self.task_encoder = SetEncoder(n_features, task_dim, generator, hidden=hidden)
        self.autoencoder = RobustAutoencoder(
            n_features,
            task_dim,
            generator,
            embed_dim=embed_dim,
            hidden=hidden,
            n_iter=n_iter,
            lam_init=lam_init,
            mu_init=mu_init,
        )

    def adapt(self, support: Tensor, mask: Tensor | None = None) -> Adapted:
        """Algorithm 1, lines 5 to 9."""
        z = self.task_encoder(support, mask)
        w, _ = self.autoencoder.solve(support, z, mask)
        return Adapted(z, w)

    def score(self, x: Tensor, adapted: Adapted) -> Tensor:
        """Eq. (7)."""
        return self.autoencoder.score(x, adapted.z, adapted.w)
