"""When a network's compiled form may stand in for torch's own ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from heterad.ops import _backend
from heterad.ops._library import traced, transformed


def eager() -> bool:
    """True for a call that compiled code may serve; tracing, dispatch modes, transforms of ``torch.func`` and autocast
    see torch's own ops instead.
    """
    return not (traced() or transformed() or torch.is_autocast_enabled("cpu") or not _backend.may("cpp"))


def alike(*tensors: Tensor | None) -> bool:
    """True for CPU tensors of one type, float32 or float64, none of them empty."""
    dtype = None
    for t in tensors:
        if t is None:
            continue
        if dtype is None:
            dtype = t.dtype
            if dtype is not torch.float32 and dtype is not torch.float64:
                return False
        if t.dtype is not dtype or not t.is_cpu or t.numel() == 0:
            return False
    return True


def serves(*tensors: Tensor | None) -> bool:
    """True for an eager call on such tensors."""
    return eager() and alike(*tensors)


def twice(
    plain: Callable[..., Tensor], inputs: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor
) -> tuple[Tensor | None, ...]:
    """The derivative of ``plain`` as a backward pass returns it, in a form that can be differentiated again."""
    wanted = [t for t, need in zip(inputs, needed, strict=True) if need and t is not None]
    found = iter(torch.autograd.grad(plain(*inputs), wanted, grad, create_graph=True))
    return tuple(next(found) if need else None for need in needed)
