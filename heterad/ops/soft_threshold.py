"""Soft thresholding, the proximal map of the l1 norm."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from heterad.ops import _backend, _checks, reference
from heterad.ops._library import Op


def soft_threshold(r: Tensor, t: Tensor | float) -> Tensor:
    r"""Shrink each entry towards zero by ``t``: :math:`\mathrm{sgn}(r)\,[|r| - t]_+`.

    Args:
        r: tensor of any shape; float32, float64, or bfloat16/float16 (computed in float32).
        t: threshold, >= 0, in the units of ``r``: a number, or a tensor of shape ``[]``, which gets a gradient.

    Returns:
        Tensor of the shape of ``r``: zero where ``|r| <= t``, NaN where ``r`` is NaN.

    Raises:
        TypeError: ``r`` is not a floating tensor, or ``t`` neither a number nor a floating tensor.
        ValueError: ``t`` is negative (looked at on the CPU only), not a scalar, or on another device.

    Cost:
        One pass, O(numel) time, no memory beyond the result; the backward reads ``r`` again. Differentiable twice.

    Source:
        Kumagai et al. (2023), Eq. (5).

    Example:
        >>> import torch, heterad
        >>> heterad.ops.soft_threshold(torch.tensor([-2.0, 0.5, 3.0]), 1.0)
        tensor([-1.,  0.,  2.])
    """
    if not isinstance(t, Tensor):
        dtype = _checks.floating(r=r)
        t = torch.full((), _checks.number("t", t), dtype=torch.promote_types(dtype, torch.float32), device=r.device)
    else:
        dtype = _checks.floating(r=r, t=t)
    _checks.shape("t", t, (), "a scalar")
    _checks.not_negative("t", t)
    backend = _backend.choose("soft_threshold", r.device.type)
    work = _backend.work_dtype(dtype, backend)
    if backend == "reference":
        return _checks.cast(reference.soft_threshold(_checks.cast(r, work), t), dtype)
    return _checks.cast(_op(_checks.cast(r, work), t), dtype)


def _fake(r: Tensor, t: Tensor) -> Tensor:
    return torch.empty_like(r, memory_format=torch.contiguous_format)


def _cpp(r: Tensor, t: Tensor) -> Tensor:
    from heterad import _C

    r = r.contiguous()
    out = torch.empty_like(r)
    f64 = r.dtype == torch.float64
    _C.soft_threshold_fwd(f64, r.data_ptr(), float(t), out.data_ptr(), r.numel(), torch.get_num_threads())
    return out


def _cpp_bwd(r: Tensor, t: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    from heterad import _C

    r, grad = r.contiguous(), grad.contiguous()
    grad_r = torch.empty_like(r)
    args = r.data_ptr(), float(t), grad.data_ptr(), grad_r.data_ptr(), r.numel(), torch.get_num_threads()
    grad_t = _C.soft_threshold_bwd(r.dtype == torch.float64, *args)
    return grad_r, torch.full((), grad_t, dtype=t.dtype)


def _triton(r: Tensor, t: Tensor) -> Tensor:
    from heterad.kernels import soft_threshold as kernel

    return kernel.soft_threshold_fwd(r.contiguous(), t)


def _triton_bwd(r: Tensor, t: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    from heterad.kernels import soft_threshold as kernel

    return kernel.soft_threshold_bwd(r.contiguous(), t, grad.contiguous())


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
    return _op_bwd(*ctx.saved_tensors, grad)


def _backward_twice(ctx: Any, grad_grad_r: Tensor, grad_grad_t: Tensor) -> tuple[None, None, Tensor]:
    r, t = ctx.saved_tensors
    outside = r.abs() > t
    return None, None, torch.where(outside, grad_grad_r - torch.sign(r) * grad_grad_t, 0).to(r.dtype)


def _save_bwd(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])


_op_bwd = Op(
    "soft_threshold_bwd(Tensor r, Tensor t, Tensor grad) -> (Tensor, Tensor)",
    kernels={"cpp": _cpp_bwd, "triton": _triton_bwd},
    fake=lambda r, t, grad: (_fake(r, t), torch.empty_like(t)),
    save=_save_bwd,
    backward=_backward_twice,
)
_op = Op(
    "soft_threshold(Tensor r, Tensor t) -> Tensor",
    kernels={"cpp": _cpp, "triton": _triton},
    fake=_fake,
    save=_save,
    backward=_backward,
)
