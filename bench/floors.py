"""What the machine itself can do, measured beside the row that is held against it."""

from __future__ import annotations

import torch
from rivals.base import Call, peer
from row import Row

SIDE = 1024
GPU_SIDE = 8192
COPIED = 2**26  # bytes each way: above what any cache keeps
GPU_COPIED = 2**30


def floor(row: Row) -> tuple[Call, float]:
    """A call at full rate, and how many of it the row's work amounts to.

    Arithmetic goes at the rate of a float32 `torch.mm` of 1024 x 1024 matrices (8192 on a GPU), traffic at the rate of
    a copy, special functions at that of a Triton kernel that does nothing else.
    """
    cuda = row.device == "cuda"
    if row.special:
        return special(row)
    if row.flops:
        side = GPU_SIDE if cuda else SIDE
        a, b, out = (torch.rand(side, side, device=row.device) for _ in range(3))
        return lambda: torch.mm(a, b, out=out), row.flops / (2 * side**3)
    source = torch.rand((GPU_COPIED if cuda else COPIED) // 4, device=row.device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), row.moved / (2 * source.numel() * 4)


def special(row: Row, blocks: int = 8192) -> tuple[Call, float]:
    """Chains of exp2, one special function each, long enough to hide all else."""
    peer("triton")
    from special import BLOCK, CHAIN, exp2_chain

    out = torch.empty(blocks * BLOCK, device=row.device)
    return lambda: exp2_chain[(blocks,)](out, CHAIN, BLOCK), row.special / (out.numel() * CHAIN)
