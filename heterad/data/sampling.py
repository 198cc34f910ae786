"""Draws without replacement for many tasks of different sizes at once, without a Python loop."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_rows(size: Tensor, take: Tensor, width: int, bound: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For each task b draw ``take[b]`` distinct numbers of 0 … size[b] - 1, every subset equally likely.

    A task of at most 4·width rows gets a random key per row and keeps the smallest keys. From a larger one
    4·width numbers are drawn independently and repetitions dropped, so that cost does not grow with the task; then
    at least ``width`` distinct ones are left but for a probability below 1e-6, and otherwise fewer are returned.

    Args:
        size: rows of each task ``[B]``, int64.
        take: how many to draw ``[B]``, at most ``size`` and at most ``width``.
        width: columns of the answer.
        bound: an upper bound of ``size`` known to the host, so that a device need not be asked.
        generator: of the device of ``size``.

    Returns:
        ``(index, real)``, both ``[B, width]``; where ``real`` is False, ``index`` is 0.

    Cost:
        O(B width log width) time, O(B width) memory.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> index, real = draw_rows(torch.tensor([5, 2]), torch.tensor([3, 2]), 3, 5, g)
        >>> real.sum(-1).tolist()
        [3, 2]
    """
    device = size.device
    column = torch.arange(width, device=device)
    if width >= bound:
        real = column < take[:, None]
        return column * real, real
    n_candidates = min(bound, 4 * width)
    candidate = torch.arange(n_candidates, device=device).expand(len(size), -1)
    valid = candidate < size[:, None]
    if bound > n_candidates:
        uniform = torch.rand(len(size), n_candidates, dtype=torch.float64, device=device, generator=generator)
        drawn = (uniform * size[:, None]).long().clamp(max=bound - 1).sort(-1).values
        first = torch.ones_like(valid)
        first[:, 1:] = drawn[:, 1:] != drawn[:, :-1]
        large = (size > n_candidates)[:, None]
        candidate = torch.where(large, drawn, candidate)
        valid = torch.where(large, first, valid)
    key = torch.rand(len(size), n_candidates, device=device, generator=generator)
    key = torch.where(valid, key, 2.0)
    key, order = key.topk(width, dim=-1, largest=False, sorted=True)
    real = (column < take[:, None]) & (key < 2)
    return candidate.gather(-1, order) * real, real
