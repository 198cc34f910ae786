r"""The deviation loss: with dev = (s - mu)/sigma, |dev| where y is 0 and relu(margin - dev) where y is not.

Backward: sgn(dev)/sigma where y is 0, and -1/sigma inside the margin where it is not, times the incoming gradient.
One pass over memory each; a mean or a sum is summed by blocks, then over the blocks in a fixed order.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from heterad.kernels._common import compute_dtype, float_of
from heterad.kernels.device import on

BLOCK = 2048


@triton.jit
def _deviation_loss_fwd(
    p_s, p_y, p_out, numel, margin: tl.float64, mu: tl.float64, sigma: tl.float64,
    REDUCE: tl.constexpr, FLOAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0).to(tl.int64)
    o = i * BLOCK + tl.arange(0, BLOCK)
    m = o < numel
    b_s = tl.load(p_s + o, mask=m, other=0.0).to(FLOAT)
    b_dev = (b_s - tl.full([1], mu, FLOAT)) / tl.full([1], sigma, FLOAT)
    b_gap = tl.full([1], margin, FLOAT) - b_dev
    b_anomaly = tl.load(p_y + o, mask=m, other=0) != 0
    b_loss = tl.where(b_anomaly, tl.where(b_gap <= 0, 0.0, b_gap), tl.abs(b_dev))
    if REDUCE:
        tl.store(p_out + i, tl.sum(tl.where(m, b_loss, 0.0), 0))
    else:
        tl.store(p_out + o, b_loss.to(p_out.dtype.element_ty), mask=m)


@triton.jit
def _deviation_loss_bwd(
    p_s, p_y, p_grad, p_out, numel, margin: tl.float64, mu: tl.float64, sigma: tl.float64, scale: tl.float64,
    REDUCE: tl.constexpr, FLOAT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    o = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    m = o < numel
    b_s = tl.load(p_s + o, mask=m, other=0.0).to(FLOAT)
    b_dev = (b_s - tl.full([1], mu, FLOAT)) / tl.full([1], sigma, FLOAT)
    b_gap = tl.full([1], margin, FLOAT) - b_dev
    b_anomaly = tl.load(p_y + o, mask=m, other=0) != 0
    b_sign = tl.where(b_dev > 0, 1.0, tl.where(b_dev < 0, -1.0, b_dev))
    b_slope = tl.where(b_anomaly, tl.where(b_gap <= 0, 0.0, -1.0), b_sign)
    b_grad = (tl.load(p_grad) if REDUCE else tl.load(p_grad + o, mask=m, other=0.0)).to(FLOAT)
    tl.store(p_out + o, (b_grad * b_slope * tl.full([1], scale, FLOAT)).to(p_out.dtype.element_ty), mask=m)


def _readable(y: Tensor) -> Tensor:
    return y.view(torch.uint8) if y.dtype == torch.bool else y


def deviation_loss_fwd(scores: Tensor, y: Tensor, margin: float, mu: float, sigma: float, reduction: str) -> Tensor:
    """scores and y contiguous -> the loss, [] or (reduction "none") like scores."""
    n, blocks, reduce = scores.numel(), triton.cdiv(scores.numel(), BLOCK), reduction != "none"
    partial = torch.empty(blocks, dtype=compute_dtype(scores.dtype), device=scores.device) if reduce else None
    out = torch.empty_like(scores) if partial is None else partial
    with on(scores):
        _deviation_loss_fwd[(blocks,)](
            scores, _readable(y), out, n, margin, mu, sigma, REDUCE=reduce, FLOAT=float_of(scores), BLOCK=BLOCK
        )
    if partial is None:
        return out
    total = partial.sum()
    return (total / n if reduction == "mean" else total).to(scores.dtype)


def deviation_loss_bwd(
    scores: Tensor, y: Tensor, margin: float, mu: float, sigma: float, reduction: str, grad: Tensor
) -> Tensor:
    """scores, y and grad contiguous -> the gradient of the scores."""
    n, reduce = scores.numel(), reduction != "none"
    scale = 1 / (sigma * n if reduction == "mean" else sigma)
    out = torch.empty_like(scores)
    with on(scores):
        _deviation_loss_bwd[(triton.cdiv(n, BLOCK),)](
            scores, _readable(y), grad, out, n, margin, mu, sigma, scale,
            REDUCE=reduce, FLOAT=float_of(scores), BLOCK=BLOCK,
        )  # fmt: skip
    return out
