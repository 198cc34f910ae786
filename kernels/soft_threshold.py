r"""Soft thresholding: out = sgn(r) relu(|r| - t).

Backward, with the mask m = not (|r| <= t): grad_r = m grad, grad_t = -sum m sgn(r) grad.
One pass over memory each; grad_t is summed by blocks, then over the blocks in a fixed order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from heterad.kernels._common import compute_dtype, float_of, shrink
from heterad.kernels.device import on

BLOCK = 2048


@triton.jit
def _soft_threshold_fwd(p_r, p_t, p_out, numel, FLOAT: tl.constexpr, BLOCK: tl.constexpr):
    o = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = o < numel
    b_r = tl.load(p_r + o, mask=m, other=0.0).to(FLOAT)
    b_t = tl.load(p_t).to(FLOAT)
    tl.store(p_out + o, shrink(b_r, b_t).to(p_out.dtype.element_ty), mask=m)


@triton.jit
def _soft_threshold_bwd(p_r, p_t, p_grad, p_grad_r, p_partial, numel, FLOAT: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m = o < numel
    b_r = tl.load(p_r + o, mask=m, other=0.0).to(FLOAT)
    b_t = tl.load(p_t).to(FLOAT)
    b_grad = tl.load(p_grad + o, mask=m, other=0.0).to(FLOAT)
    b_grad = tl.where(tl.abs(b_r) <= b_t, 0.0, b_grad)
    tl.store(p_grad_r + o, b_grad.to(p_grad_r.dtype.element_ty), mask=m)
    tl.store(p_partial + i, tl.sum(tl.where(b_r > 0, -b_grad, b_grad), 0))


def soft_threshold_fwd(r: Tensor, t: Tensor) -> Tensor:
    """r contiguous, t [] -> out like r."""
    out = torch.empty_like(r)
    with on(r):
        _soft_threshold_fwd[(triton.cdiv(r.numel(), BLOCK),)](r, t, out, r.numel(), FLOAT=float_of(r), BLOCK=BLOCK)
    return out


def soft_threshold_bwd(r: Tensor, t: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """r and grad contiguous, t [] -> grad_r like r, grad_t []."""
    grad_r = torch.empty_like(r)
    blocks = triton.cdiv(r.numel(), BLOCK)
    partial = torch.empty(blocks, dtype=compute_dtype(r.dtype), device=r.device)
    with on(r):
        _soft_threshold_bwd[(blocks,)](r, t, grad, grad_r, partial, r.numel(), FLOAT=float_of(r), BLOCK=BLOCK)
    return grad_r, partial.sum().to(t.dtype)
