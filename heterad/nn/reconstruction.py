"""The squared error of a linear decoder, in one call forward and one backward, on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from heterad.nn.compiled import serves, twice
from heterad.ops._library import address, differentiates, direct


def plain(x: Tensor, h: Tensor, w: Tensor) -> Tensor:
    """What ``reconstruction_error`` computes, by torch's own ops."""
    return (x - h @ w.mT).square().sum(-1)


def reconstruction_error(x: Tensor, h: Tensor, w: Tensor) -> Tensor:
    """||x - W h||² of every row.

    The compiled form serves eager calls on the CPU in float32 and float64; ``plain`` serves all others, and the
    second derivative.

    Args:
        x: rows ``[..., N, D]``.
        h: the rows, embedded ``[..., N, J]``.
        w: the decoder ``[..., D, J]``.

    Returns:
        ``[..., N]``.

    Cost:
        One product forward and two backward; memory: the residuals, N D numbers a task.

    Source:
        Kumagai et al. (2023), Eq. (7).
    """
    fits = x.shape[:-1] == h.shape[:-1] and w.shape == (*x.shape[:-2], x.shape[-1], h.shape[-1])
    if not (fits and serves(x, h, w)):
        return plain(x, h, w)
    if differentiates(x, h, w):
        return _apply(x, h, w)
    return _forward(x, h, w, None)


def _forward(x: Tensor, h: Tensor, w: Tensor, residual: Tensor | None) -> Tensor:
    from heterad import _C

    x, h, w = x.contiguous(), h.contiguous(), w.contiguous()
    error = x.new_empty(x.shape[:-1])
    _C.reconstruction_fwd(
        *_sizes(x, h), x.data_ptr(), h.data_ptr(), w.data_ptr(), address(residual), error.data_ptr(),
        torch.get_num_threads(),
    )  # fmt: skip
    return error


def _sizes(x: Tensor, h: Tensor) -> tuple[Any, ...]:
    n, d = x.shape[-2:]
    return x.dtype == torch.float64, x.numel() // (n * d), n, d, h.shape[-1]


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, h: Tensor, w: Tensor) -> Tensor:
        residual = torch.empty(x.shape, dtype=x.dtype)
        error = _forward(x, h, w, residual)
        ctx.save_for_backward(residual, x, h, w)
        return error

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        from heterad import _C

        residual, *inputs = ctx.saved_tensors
        if torch.is_grad_enabled():
            return twice(plain, inputs, ctx.needs_input_grad, grad)
        x, h, w = (t.contiguous() for t in inputs)
        grad = grad.contiguous()
        grads = [torch.empty_like(t) if need else None for t, need in zip((x, h, w), ctx.needs_input_grad, strict=True)]
        _C.reconstruction_bwd(
            *_sizes(x, h), grad.data_ptr(), residual.data_ptr(), h.data_ptr(), w.data_ptr(),
            *(address(g) for g in grads), torch.get_num_threads(),
        )  # fmt: skip
        return tuple(grads)


_apply = direct(_Compiled)
