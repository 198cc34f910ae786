"""Permutation-invariant task encoders: a set of rows to one task vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from heterad.nn.mlp import MLP


class SetEncoder(nn.Module):
    """The task vector z = g(mean over the rows of f(x)).

    Args:
        n_features: D, length of a row.
        task_dim: K, length of z.
        generator: source of the initial weights.
        hidden: width of the hidden layers and of f's output.

    Source:
        Kumagai et al. (2023), Eq. (1); f has three layers and g two (section D).

    Example:
        >>> encoder = SetEncoder(5, 32, torch.Generator().manual_seed(0))
        >>> encoder(torch.ones(4, 7, 5)).shape
        torch.Size([4, 32])
    """

    def __init__(self, n_features: int, task_dim: int, generator: torch.Generator, *, hidden: int = 32) -> None:
        super().__init__()
        self.f = MLP((n_features, hidden, hidden, hidden), generator)
        self.g = MLP((hidden, hidden, task_dim), generator)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode sets ``x [..., N, D]``, whose real rows ``mask [..., N]`` marks, to ``[..., K]``."""
        y = self.f(x)
        if mask is None:
            return self.g(y.mean(-2))
        total = torch.where(mask[..., None], y, 0).sum(-2)
        return self.g(total / mask.sum(-1, keepdim=True).clamp(min=1))
