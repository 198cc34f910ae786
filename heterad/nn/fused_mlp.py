"""Linear layers with ReLU between them in one call forward and one backward, on the CPU.

The networks here are so small that what surrounds each of their products costs more than the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from heterad.nn.compiled import serves, twice
from heterad.ops._library import address, differentiates, direct


def plain(x: Tensor, z: Tensor | None, v: Tensor | None, *layers: Tensor) -> Tensor:
    """What ``mlp`` computes, by torch's own ops."""
    y = linear(x, layers[0], layers[1])
    if z is not None and v is not None:
        y = y + linear(z, v).unsqueeze(-2)
    for weight, bias in zip(layers[2::2], layers[3::2], strict=True):
        y = linear(torch.relu(y), weight, bias)
    return y


def mlp(x: Tensor, z: Tensor | None, v: Tensor | None, *layers: Tensor) -> Tensor:
    """Linear layers with ReLU between them; the first layer adds ``v z`` of the row's task.

    The compiled form serves eager calls on the CPU in float32 and float64; ``plain`` serves all others, and the
    second derivative.

    Args:
        x: rows ``[..., N, D]``.
        z: task vectors ``[..., K]``, or None.
        v: weights of z ``[H, K]``, or None; without both there is no context.
        layers: weight ``[out, in]`` and bias ``[out]`` of each layer, in turn.

    Returns:
        ``[..., N, out]``.

    Cost:
        One product a layer forward and two backward; memory: the hidden values, padded to 16 numbers a row.
    """
    if z is None or v is None:
        z = v = None
    fits = x.shape[-1] == layers[0].shape[1] and (
        z is None or (z.shape[:-1] == x.shape[:-2] and v is not None and v.shape == (len(layers[0]), z.shape[-1]))
    )
    if not (fits and serves(x, z, v, *layers)):
        return plain(x, z, v, *layers)
    if differentiates(x, z, v, *layers):
        return _apply(x, z, v, *layers)
    return _forward(x, z, v, layers, saves=False)[0]


def _forward(
    x: Tensor, z: Tensor | None, v: Tensor | None, layers: Sequence[Tensor], *, saves: bool
) -> tuple[Tensor, Tensor | None]:
    """The output, and the hidden values where they are to be saved."""
    from heterad import _C

    held, sizes, addresses = _call(x, z, v, layers)
    width = sizes[-1]
    out = x.new_empty((*x.shape[:-1], width[-1]))
    saved = None
    if saves:
        saved = x.new_empty(sum((w + 15) // 16 * 16 for w in width[1:-1]) * (out.numel() // width[-1]))
    _C.mlp_fwd(*sizes, *addresses, address(saved), out.data_ptr(), torch.get_num_threads())
    del held
    return out, saved


def _call(
    x: Tensor, z: Tensor | None, v: Tensor | None, layers: Sequence[Tensor]
) -> tuple[list[Tensor | None], tuple[Any, ...], tuple[Any, ...]]:
    """Contiguous tensors, to be held while their addresses are in use; sizes; addresses."""
    held = [None if t is None else t.contiguous() for t in (x, z, v, *layers)]
    width = [x.shape[-1], *(w.shape[0] for w in layers[::2])]
    tasks, n, context = 1, x.numel() // x.shape[-1], 0
    if z is not None:
        n, context = x.shape[-2], z.shape[-1]
        tasks = z.numel() // context
    at_x, at_z, at_v, *rest = (address(t) for t in held)
    return held, (x.dtype == torch.float64, tasks, n, context, width), (rest[::2], rest[1::2], at_v, at_x, at_z)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, z: Tensor | None, v: Tensor | None, *layers: Tensor) -> Tensor:
        out, saved = _forward(x, z, v, layers, saves=True)
        ctx.save_for_backward(saved, x, z, v, *layers)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        from heterad import _C

        saved, *inputs = ctx.saved_tensors
        needed = ctx.needs_input_grad
        if torch.is_grad_enabled():
            return twice(plain, inputs, needed, grad)
        x, z, v, *layers = inputs
        grad = grad.contiguous()
        held, sizes, addresses = _call(x, z, v, layers)
        grads = [None if t is None or not w else torch.empty_like(t) for t, w in zip(held, needed, strict=True)]
        grad_x, grad_z, grad_v, *rest = (address(g) for g in grads)
        _C.mlp_bwd(
            *sizes, *addresses, saved.data_ptr(), grad.data_ptr(), rest[::2], rest[1::2], grad_v, grad_x, grad_z,
            torch.get_num_threads(),
        )  # fmt: skip
        return tuple(grads)


_apply = direct(_Fused)
