"""The ops in pure torch: the specification, the oracle of the tests, and the path taken where nothing faster runs.

Each function states its equation literally. Speed is not a goal here; float64 cleanliness is.
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_threshold(r: Tensor, t: Tensor | float) -> Tensor:
    return torch.sign(r) * torch.relu(torch.abs(r) - t)


def ridge_solve(h: Tensor, y: Tensor, mu: Tensor, mask: Tensor | None = None) -> Tensor:
    """W = Yᵀ H/N (HᵀH/N + mu I)⁻¹, over the N real rows (no real row: W = 0)."""
    if mask is None:
        n = h.new_tensor(max(h.shape[-2], 1))
    else:
        n = mask.sum(-1).clamp(min=1).to(h.dtype)[..., None, None]
        h = torch.where(mask[..., None], h, 0)
        y = torch.where(mask[..., None], y, 0)
    eye = torch.eye(h.shape[-1], dtype=h.dtype, device=h.device)
    c = h.mT @ h / n + mu[..., None, None] * eye
    return torch.linalg.solve(c, h.mT @ y / n).mT


def robust_ridge(
    x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, n_iter: int = 10, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """n_iter alternations of Eqs. (4) and (5), W first, from A = a0. Rows that are not real have A = 0."""
    if mask is not None:
        x, h, a0 = (torch.where(mask[..., None], v, 0) for v in (x, h, a0))
    a = a0
    for _ in range(n_iter):
        w = ridge_solve(h, x + a, mu, mask)
        a = soft_threshold(h @ w.mT - x, lam[..., None, None] / 2)
        if mask is not None:
            a = torch.where(mask[..., None], a, 0)
    return w, a


def smoothed_auc(
    pos: Tensor,
    neg: Tensor,
    temperature: float = 1.0,
    pos_mask: Tensor | None = None,
    neg_mask: Tensor | None = None,
) -> Tensor:
    """Mean of sigmoid((pos_i - neg_j) / temperature) over the real pairs; 1/2 where a mask leaves no pair."""
    if pos_mask is None:
        pos_mask = torch.ones_like(pos, dtype=torch.bool)
    if neg_mask is None:
        neg_mask = torch.ones_like(neg, dtype=torch.bool)
    pairs = pos_mask[..., :, None] & neg_mask[..., None, :]
    gap = torch.where(pairs, pos[..., :, None] - neg[..., None, :], 0) / temperature
    # sigmoid's derivative is s (1 - s), which vanishes once s rounds to 1: each side by its small half
    sigmoid = torch.where(gap > 0, 1 - torch.sigmoid(-gap), torch.sigmoid(gap))
    total = torch.where(pairs, sigmoid, 0).sum((-2, -1))
    count = pairs.sum((-2, -1))
    return torch.where(count > 0, total / count.clamp(min=1), 0.5)


def deviation_loss(
    scores: Tensor, y: Tensor, margin: float, prior: tuple[float, float], reduction: str = "mean"
) -> Tensor:
    """|dev| for y = 0, max(0, margin - dev) for y = 1, with dev = (score - mu_r) / sigma_r."""
    dev = (scores - prior[0]) / prior[1]
    loss = torch.where(y != 0, torch.relu(margin - dev), torch.abs(dev))
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()


def roc_auc(scores: Tensor, y: Tensor, mask: Tensor | None = None) -> Tensor:
    """(sum of the positives' mid-ranks - P(P + 1)/2) / (P Q) in float64; NaN for an empty class or a NaN score."""
    real = torch.ones_like(scores, dtype=torch.bool) if mask is None else mask.expand_as(scores)
    pos = real & (y != 0)
    hidden = torch.where(real, scores, torch.inf)  # rows that are not real sort last and shift no rank below them
    ordered = hidden.sort(-1).values.contiguous()
    below = torch.searchsorted(ordered, hidden.contiguous())
    upto = torch.searchsorted(ordered, hidden.contiguous(), right=True)
    p = pos.sum(-1)
    q = real.sum(-1) - p
    upto = torch.minimum(upto, (p + q)[..., None])
    midrank = (below + upto + 1).double() / 2
    auc = (torch.where(pos, midrank, 0).sum(-1) - (p * (p + 1)).double() / 2) / (p * q)
    broken = (real & scores.isnan()).any(-1) | (p == 0) | (q == 0)
    return torch.where(broken, torch.nan, auc)
