"""Permutation-invariant task encoders: a set of rows to one task vector."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from heterad.nn.mlp import MLP, linear


def mean_row(y: Tensor, mask: Tensor | None) -> Tensor:
    """Mean ``[..., E]`` over the rows of ``y [..., N, E]`` that ``mask [..., N]`` marks; zero where it marks none."""
    if mask is None:
        return y.mean(-2)
    return torch.where(mask[..., None], y, 0).sum(-2) / mask.sum(-1, keepdim=True).clamp(min=1)


class SetEncoder(nn.Module):
    """The task vector z = g(mean over the rows of f(x)), or of their sum.

    Args:
        n_features: D, length of a row.
        task_dim: K, length of z.
        generator: source of the initial weights.
        hidden: width of the hidden layers and of f's output.
        pool: "mean" or "sum".

    Raises:
        ValueError: ``pool`` is neither.

    Source:
        Kumagai et al. (2023), Eq. (1); f has three layers and g two (section D). Sum: Zaheer et al. (2017).

    Example:
        >>> encoder = SetEncoder(5, 32, torch.Generator().manual_seed(0))
        >>> encoder(torch.ones(4, 7, 5)).shape
        torch.Size([4, 32])
    """

    def __init__(
        self, n_features: int, task_dim: int, generator: torch.Generator, *, hidden: int = 32, pool: str = "mean"
    ) -> None:
        super().__init__()
        if pool not in ("mean", "sum"):
            raise ValueError(f"pool: expected 'mean' or 'sum', got {pool!r}")
        self.pool = pool
        self.f = MLP((n_features, hidden, hidden, hidden), generator)
        self.g = MLP((hidden, hidden, task_dim), generator)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode sets ``x [..., N, D]``, whose real rows ``mask [..., N]`` marks, to ``[..., K]``."""
        y = self.f(x)
        if self.pool == "mean":
            return self.g(mean_row(y, mask))
        return self.g((y if mask is None else torch.where(mask[..., None], y, 0)).sum(-2))


class SetTransformer(nn.Module):
    """The task vector by attention: rows attend to each other twice, then one learned query attends to them.

    Args:
        n_features: D, length of a row.
        task_dim: K, length of z.
        generator: source of the initial weights.
        hidden: width of rows and hidden layers, a multiple of ``n_heads``.
        n_heads: of each attention.

    Raises:
        ValueError: ``hidden`` is no multiple of ``n_heads``.

    Cost:
        O(N² hidden) time a task; the attention's N² numbers are kept nowhere.

    Source:
        Lee et al. (ICML 2019): two SABs, PMA with one seed, a linear layer; layer norm before each part.

    Example:
        >>> encoder = SetTransformer(5, 32, torch.Generator().manual_seed(0))
        >>> encoder(torch.ones(4, 7, 5)).shape
        torch.Size([4, 32])
    """

    def __init__(
        self, n_features: int, task_dim: int, generator: torch.Generator, *, hidden: int = 32, n_heads: int = 4
    ) -> None:
        super().__init__()
        if hidden % n_heads:
            raise ValueError(f"hidden: expected a multiple of n_heads={n_heads}, got {hidden}")
        self.first = linear(n_features, hidden, generator)
        self.seed = nn.Parameter(torch.empty(1, hidden).normal_(generator=generator))
        self.among = nn.ModuleList(_Attention(hidden, n_heads, generator) for _ in range(2))
        self.pool = _Attention(hidden, n_heads, generator)
        self.last = linear(hidden, task_dim, generator)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Encode sets ``x [..., N, D]``, whose real rows ``mask [..., N]`` marks, to ``[..., K]``."""
        y = self.first(x)
        if mask is not None:
            y = torch.where(mask[..., None], y, 0)
        for attend in self.among:
            y = attend(y, y, mask)
        seed = self.seed.expand(*x.shape[:-2], -1, -1)
        return self.last(self.pool(seed, y, mask).squeeze(-2))


class _Attention(nn.Module):
    """Rows plus what they take from others by attention, plus a layer of their own."""

    def __init__(self, width: int, n_heads: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.query, self.key, self.value, self.join = (linear(width, width, generator) for _ in range(4))
        self.own = MLP((width, width, width), generator)
        self.norm_to, self.norm_from, self.norm_own = (nn.LayerNorm(width) for _ in range(3))

    def forward(self, to: Tensor, rows: Tensor, mask: Tensor | None) -> Tensor:
        rows, heads = self.norm_from(rows), (self.n_heads, -1)
        q, k, v = (
            part.unflatten(-1, heads).transpose(-3, -2)
            for part in (self.query(self.norm_to(to)), self.key(rows), self.value(rows))
        )
        if mask is not None:  # a set without rows would have no weight to share out
            mask = (mask | ~mask.any(-1, keepdim=True))[..., None, None, :]
        taken = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        to = to + self.join(taken.transpose(-3, -2).flatten(-2))
        return to + self.own(self.norm_own(to))
