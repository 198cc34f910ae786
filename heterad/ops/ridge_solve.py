"""Ridge regression in closed form, batched over tasks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from heterad.ops import _backend, _checks, reference
from heterad.ops._library import Op, address, room


def ridge_solve(h: Tensor, y: Tensor, mu: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""Weights of ridge regression, :math:`W = \frac1N Y^\top H (\frac1N H^\top H + \mu I)^{-1}`.

    Args:
        h: embedded rows ``[..., N, J]``.
        y: what to reconstruct from them ``[..., N, D]``.
        mu: ridge strength, > 0, in the units of ``h`` squared; ``[]`` or ``[...]``.
        mask: bool ``[..., N]``, True for real rows; N in the formula counts these. None: all are real. A task
            without a real row has W = 0.

    Returns:
        W ``[..., D, J]``.

    Raises:
        TypeError: an argument is not a floating tensor (``mask``: not a boolean one).
        ValueError: shapes do not match, or ``mu`` is not positive (looked at on the CPU only).
        torch.linalg.LinAlgError: ``mu`` is so small beside ``h`` that a task's system is numerically singular (on the
            CPU; elsewhere the task's results are of no use, and nothing says so).

    Cost:
        O(N J (J + D) + J² (J + D)) time a task; memory beyond W: N J + J² numbers a task, kept for the backward.
        Differentiable once.

    Source:
        Kumagai et al. (2023), Eq. (4) with A = 0.

    Example:
        >>> import torch, heterad
        >>> h, y = torch.eye(2), torch.tensor([[2.0], [4.0]])
        >>> heterad.ops.ridge_solve(h, y, torch.tensor(0.5)).round()
        tensor([[1., 2.]])
    """
    dtype = _checks.floating(h=h, y=y, mu=mu)
    _checks.at_least(2, "[..., N, J]", h=h)
    _checks.at_least(2, "[..., N, D]", y=y)
    batch, n = tuple(h.shape[:-2]), h.shape[-2]
    _checks.shape("y", y, (*batch, n, y.shape[-1]), "h [..., N, J]")
    mask = _checks.mask("mask", mask, (*batch, n), h)
    _checks.not_negative("mu", mu, zero=False)
    backend = _backend.choose("ridge_solve", h.device.type)
    work = _backend.work_dtype(dtype, backend)
    h, y = (t if t.dtype == work else t.to(work) for t in (h, y))
    mu = _checks.per_task("mu", mu.to(torch.promote_types(work, torch.float32)), batch)
    w = reference.ridge_solve(h, y, mu, mask) if backend == "reference" else _op(h, y, mu, mask)[0]
    return w if work == dtype else w.to(dtype)


def _fake(h: Tensor, y: Tensor, mu: Tensor, mask: Tensor | None) -> Any:
    """(w, u, li): u = H L^-T / sqrt(N) with zero rows where masked, li = L^-1, where L L^T = H^T H / N + mu I."""
    batch, (d, j) = h.shape[:-2], (y.shape[-1], h.shape[-1])
    kept = torch.promote_types(h.dtype, torch.float32)
    return (
        h.new_empty((*batch, d, j)),
        h.new_empty(h.shape, dtype=kept),
        h.new_empty((*batch, j, j), dtype=kept),
    )


def _fake_bwd(grad_w: Tensor, y: Tensor, mu: Tensor, u: Tensor, li: Tensor, mask: Tensor | None) -> Any:
    return y.new_empty(u.shape), y.new_empty(y.shape), mu.new_empty(mu.shape)


def factored(h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Room for u and li. Kernels write real rows only."""
    u = room(h.shape, h.dtype, zero=mask is not None)
    return u, room((*h.shape[:-2], h.shape[-1], h.shape[-1]), h.dtype)


def not_positive(task: int, mu: Tensor) -> Exception:
    value = mu.flatten()[task].item()
    return torch.linalg.LinAlgError(
        f"mu: expected a ridge that makes H^T H / N + mu I of task {task} numerically positive definite, got {value}"
    )


def _cpp(h: Tensor, y: Tensor, mu: Tensor, mask: Tensor | None) -> Any:
    from heterad import _C

    h, y, mu = h.contiguous(), y.contiguous(), mu.contiguous()
    mask = None if mask is None else mask.contiguous()
    (n, j), d = h.shape[-2:], y.shape[-1]
    w = room((*h.shape[:-2], d, j), h.dtype)
    u, li = factored(h, mask)
    failed = _C.ridge_solve_fwd(
        h.dtype == torch.float64,
        h.data_ptr(),
        y.data_ptr(),
        mu.data_ptr(),
        address(mask),
        w.data_ptr(),
        u.data_ptr(),
        li.data_ptr(),
        mu.numel(),
        n,
        d,
        j,
        torch.get_num_threads(),
    )
    if failed >= 0:
        raise not_positive(failed, mu)
    return w, u, li


def _cpp_bwd(grad_w: Tensor, y: Tensor, mu: Tensor, u: Tensor, li: Tensor, mask: Tensor | None) -> Any:
    from heterad import _C

    grad_w, y, u, li = grad_w.contiguous(), y.contiguous(), u.contiguous(), li.contiguous()
    mask = None if mask is None else mask.contiguous()
    (n, j), d = u.shape[-2:], y.shape[-1]
    grad_h, grad_y = (room(t.shape, u.dtype, zero=mask is not None) for t in (u, y))
    grad_mu = torch.empty(mu.shape, dtype=u.dtype)
    _C.ridge_solve_bwd(
        u.dtype == torch.float64,
        grad_w.data_ptr(),
        y.data_ptr(),
        u.data_ptr(),
        li.data_ptr(),
        address(mask),
        grad_h.data_ptr(),
        grad_y.data_ptr(),
        grad_mu.data_ptr(),
        mu.numel(),
        n,
        d,
        j,
        torch.get_num_threads(),
    )
    return grad_h, grad_y, grad_mu


def flat(t: Tensor | None, size: int, rank: int) -> Tensor | None:
    """Batch dimensions as one: the last `rank` dimensions stay."""
    return None if t is None else t.reshape(size, *t.shape[t.ndim - rank :]).contiguous()


def _triton(h: Tensor, y: Tensor, mu: Tensor, mask: Tensor | None) -> Any:
    from heterad.kernels import ridge_solve as kernel

    size = math.prod(h.shape[:-2])
    out = kernel.ridge_solve_fwd(flat(h, size, 2), flat(y, size, 2), flat(mu, size, 0), flat(mask, size, 1))
    return tuple(o.reshape(*h.shape[:-2], *o.shape[1:]) for o in out)


def _triton_bwd(grad_w: Tensor, y: Tensor, mu: Tensor, u: Tensor, li: Tensor, mask: Tensor | None) -> Any:
    from heterad.kernels import ridge_solve as kernel

    size = math.prod(y.shape[:-2])
    args = (flat(t, size, r) for t, r in ((grad_w, 2), (y, 2), (mu, 0), (u, 2), (li, 2), (mask, 1)))
    out = kernel.ridge_solve_bwd(*args)
    return tuple(o.reshape(t.shape) for o, t in zip(out, (u, y, mu), strict=True))


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    _, y, mu, mask = inputs
    _, u, li = output
    ctx.save_for_backward(y, mu, u, li, mask)
    ctx.mark_non_differentiable(u, li)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_w: Tensor | None, *_: None) -> Any:
    if grad_w is None:
        return None, None, None, None
    return (*_op_bwd(grad_w, *ctx.saved_tensors), None)


_op_bwd = Op(
    "ridge_solve_bwd(Tensor grad_w, Tensor y, Tensor mu, Tensor u, Tensor li, Tensor? mask) "
    "-> (Tensor, Tensor, Tensor)",
    kernels={"cpp": _cpp_bwd, "triton": _triton_bwd},
    fake=_fake_bwd,
)
_op = Op(
    "ridge_solve(Tensor h, Tensor y, Tensor mu, Tensor? mask) -> (Tensor, Tensor, Tensor)",
    kernels={"cpp": _cpp, "triton": _triton},
    fake=_fake,
    save=_save,
    backward=_backward,
)
