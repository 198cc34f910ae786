"""Robust ridge regression: the closed-form alternation at the heart of robust meta-learning."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from heterad.ops import _backend, _checks, reference
from heterad.ops._library import Op, address, room
from heterad.ops.ridge_solve import factored, flat, not_positive


def robust_ridge(
    x: Tensor,
    h: Tensor,
    a0: Tensor,
    lam: Tensor,
    mu: Tensor,
    *,
    n_iter: int = 10,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Alternate ridge regression and soft thresholding, from given anomalous attributes.

    Minimises :math:`\frac1N\sum_n \|x_n + a_n - W h_n\|^2 + \frac\lambda N \sum_n \|a_n\|_1 + \mu \|W\|_F^2` by

    .. math::
        W &\leftarrow \tfrac1N (X + A)^\top H (\tfrac1N H^\top H + \mu I)^{-1} \\
        A &\leftarrow \mathrm{sgn}(H W^\top - X)\,[|H W^\top - X| - \lambda/2]_+

    Args:
        x: rows of the task, contaminated by anomalies ``[..., N, D]``.
        h: the rows, embedded ``[..., N, J]``.
        a0: anomalous attributes to start from, in the units of ``x``; ``[..., N, D]``.
        lam: weight of the l1 norm, >= 0, in the units of ``x``; ``[]`` or ``[...]``.
        mu: weight of the ridge, > 0, in the units of ``h`` squared; ``[]`` or ``[...]``.
        n_iter: alternations, >= 1, W first.
        mask: bool ``[..., N]``, True for real rows; None: all are. Rows that are not real change nothing and have
            ``a`` = 0: a masked batch gives exactly what each task alone gives.

    Returns:
        ``(w, a)``: the last W-update ``[..., D, J]`` and the A-update after it ``[..., N, D]``.

    Raises:
        TypeError: an argument is not a floating tensor (``mask``: not a boolean one), or ``n_iter`` is not an int.
        ValueError: shapes do not match, ``n_iter`` < 1, or ``lam`` < 0 or ``mu`` <= 0 (values are looked at on the
            CPU only).
        torch.linalg.LinAlgError: ``mu`` is so small beside ``h`` that a task's system is numerically singular (on the
            CPU; elsewhere the task's results are of no use, and nothing says so).

    Cost:
        O(n_iter N D min(N, 2 J) + J² (N + J)) time a task, twice that and more for the backward, which runs the
        alternations again; memory beyond the results: N J + J² numbers a task, and for the backward on a GPU 256 MiB or
        (2 n_iter + 1) J D + N J numbers of one task. Differentiable once.

    Source:
        Kumagai et al. (2023), Eqs. (3) to (5) and Algorithm 1, lines 7 to 9.

    Example:
        >>> import torch, heterad
        >>> x = torch.tensor([[1.0], [1.0], [1.0], [9.0]])
        >>> h, a0, lam, mu = torch.ones(4, 1), torch.zeros(4, 1), torch.tensor(0.2), torch.tensor(1e-4)
        >>> w, a = heterad.ops.robust_ridge(x, h, a0, lam, mu, n_iter=200)
        >>> bool(w < 1.2), int(a.abs().argmax())
        (True, 3)
    """
    dtype = _checks.floating(x=x, h=h, a0=a0, lam=lam, mu=mu)
    _checks.at_least(2, "[..., N, D]", x=x)
    _checks.at_least(2, "[..., N, J]", h=h)
    batch, n = tuple(x.shape[:-2]), x.shape[-2]
    _checks.shape("h", h, (*batch, n, h.shape[-1]), "x [..., N, D]")
    _checks.shape("a0", a0, tuple(x.shape), "x")
    mask = _checks.mask("mask", mask, (*batch, n), x)
    if not isinstance(n_iter, int) or isinstance(n_iter, bool):
        raise TypeError(f"n_iter: expected an int, got {type(n_iter).__name__}")
    if n_iter < 1:
        raise ValueError(f"n_iter: expected at least 1, got {n_iter}")
    _checks.not_negative("lam", lam)
    _checks.not_negative("mu", mu, zero=False)
    backend = _backend.choose("robust_ridge", x.device.type)
    work = _backend.work_dtype(dtype, backend)
    x, h, a0 = (t if t.dtype == work else t.to(work) for t in (x, h, a0))
    of_tasks = torch.promote_types(work, torch.float32)  # of one that tasks share the gradient is a sum over them
    lam, mu = (t if t.dtype == of_tasks else t.to(of_tasks) for t in (lam, mu))
    lam, mu = _checks.per_task("lam", lam, batch), _checks.per_task("mu", mu, batch)
    if backend == "reference":
        w, a = reference.robust_ridge(x, h, a0, lam, mu, n_iter, mask)
    else:
        w, a, _, _ = _op(x, h, a0, lam, mu, n_iter, mask)
    return (w, a) if work == dtype else (w.to(dtype), a.to(dtype))


def _fake(x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, n_iter: int, mask: Tensor | None) -> Any:
    """(w, a, u, li): u = H L^-T / sqrt(N) with zero rows where masked, li = L^-1, where L L^T = H^T H / N + mu I."""
    batch, (d, j) = x.shape[:-2], (x.shape[-1], h.shape[-1])
    kept = torch.promote_types(x.dtype, torch.float32)
    w, a = x.new_empty((*batch, d, j)), x.new_empty(x.shape)
    return w, a, h.new_empty(h.shape, dtype=kept), h.new_empty((*batch, j, j), dtype=kept)


def _fake_bwd(
    grad_w: Tensor | None,
    grad_a: Tensor | None,
    x: Tensor,
    a0: Tensor,
    lam: Tensor,
    mu: Tensor,
    u: Tensor,
    li: Tensor,
    n_iter: int,
    mask: Tensor | None,
) -> Any:
    return tuple(x.new_empty(t.shape) for t in (x, u, x)) + tuple(t.new_empty(t.shape) for t in (lam, mu))


def _cpp(x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, n_iter: int, mask: Tensor | None) -> Any:
    from heterad import _C

    x, h, a0, lam, mu = x.contiguous(), h.contiguous(), a0.contiguous(), lam.contiguous(), mu.contiguous()
    mask = None if mask is None else mask.contiguous()
    (n, d), j = x.shape[-2:], h.shape[-1]
    w, a = room((*x.shape[:-2], d, j), x.dtype), room(x.shape, x.dtype, zero=mask is not None)
    u, li = factored(h, mask)
    failed = _C.robust_ridge_fwd(
        x.dtype == torch.float64,
        x.data_ptr(),
        h.data_ptr(),
        a0.data_ptr(),
        lam.data_ptr(),
        mu.data_ptr(),
        address(mask),
        w.data_ptr(),
        a.data_ptr(),
        u.data_ptr(),
        li.data_ptr(),
        mu.numel(),
        n,
        d,
        j,
        n_iter,
        torch.get_num_threads(),
    )
    if failed >= 0:
        raise not_positive(failed, mu)
    return w, a, u, li


def _cpp_bwd(
    grad_w: Tensor | None,
    grad_a: Tensor | None,
    x: Tensor,
    a0: Tensor,
    lam: Tensor,
    mu: Tensor,
    u: Tensor,
    li: Tensor,
    n_iter: int,
    mask: Tensor | None,
) -> Any:
    from heterad import _C

    x, a0, lam, u, li = x.contiguous(), a0.contiguous(), lam.contiguous(), u.contiguous(), li.contiguous()
    grad_w, grad_a, mask = (None if t is None else t.contiguous() for t in (grad_w, grad_a, mask))
    (n, d), j = x.shape[-2:], u.shape[-1]
    grad_x, grad_h, grad_a0 = (room(t.shape, x.dtype, zero=mask is not None) for t in (x, u, x))
    grad_lam, grad_mu = torch.empty(lam.shape, dtype=x.dtype), torch.empty(mu.shape, dtype=x.dtype)
    _C.robust_ridge_bwd(
        x.dtype == torch.float64,
        address(grad_w),
        address(grad_a),
        x.data_ptr(),
        a0.data_ptr(),
        lam.data_ptr(),
        u.data_ptr(),
        li.data_ptr(),
        address(mask),
        grad_x.data_ptr(),
        grad_h.data_ptr(),
        grad_a0.data_ptr(),
        grad_lam.data_ptr(),
        grad_mu.data_ptr(),
        mu.numel(),
        n,
        d,
        j,
        n_iter,
        torch.get_num_threads(),
    )
    return grad_x, grad_h, grad_a0, grad_lam, grad_mu


def _for_triton(n: int, j: int) -> bool:
    """Whether the CUDA kernels leave tasks of n rows and j embeddings to Triton's, where both are at hand.

    On an H200 forward and backward of 250 x 115 took Triton 2.1 ms for 64 tasks and 67 for 4,096, the CUDA kernels 4.5
    and 98. On up to 64 rows they are 1.0 to 3.6 times as fast as Triton's; more than 32 embeddings were not timed.
    """
    return (n > 64 or j > 32) and _backend.may("triton")


def _cuda(x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, n_iter: int, mask: Tensor | None) -> Any:
    from heterad import _cuda as cuda
    from heterad.kernels import device, wide

    batch, (n, d), j = x.shape[:-2], x.shape[-2:], h.shape[-1]
    if _for_triton(n, j):
        return _triton(x, h, a0, lam, mu, n_iter, mask)
    size = math.prod(batch)
    f64 = x.dtype == torch.float64
    if j > cuda.robust_ridge_most(f64):
        return _flat(wide.robust_ridge_fwd, x, h, a0, lam, mu, n_iter, mask)
    x, h, a0, lam, mu = x.contiguous(), h.contiguous(), a0.contiguous(), lam.contiguous(), mu.contiguous()
    mask = None if mask is None else mask.contiguous()
    w, a, u, li = x.new_empty((*batch, d, j)), torch.empty_like(x), torch.empty_like(h), x.new_empty((*batch, j, j))
    with device.on(x):
        cuda.robust_ridge_fwd(
            f64, (size, n, d, j, n_iter), *(t.data_ptr() for t in (x, h, a0, lam, mu)), address(mask),
            *(t.data_ptr() for t in (w, a, u, li)), device.stream(x),
        )  # fmt: skip
    return w, a, u, li


def _cuda_bwd(
    grad_w: Tensor | None,
    grad_a: Tensor | None,
    x: Tensor,
    a0: Tensor,
    lam: Tensor,
    mu: Tensor,
    u: Tensor,
    li: Tensor,
    n_iter: int,
    mask: Tensor | None,
) -> Any:
    from heterad import _cuda as cuda
    from heterad.kernels import device, wide

    (n, d), j, size = x.shape[-2:], u.shape[-1], mu.numel()
    if _for_triton(n, j):
        return _triton_bwd(grad_w, grad_a, x, a0, lam, mu, u, li, n_iter, mask)
    f64 = x.dtype == torch.float64
    if j > cuda.robust_ridge_most(f64):
        return _flat_bwd(wide.robust_ridge_bwd, grad_w, grad_a, x, a0, lam, mu, u, li, n_iter, mask)
    x, a0, lam, u, li = x.contiguous(), a0.contiguous(), lam.contiguous(), u.contiguous(), li.contiguous()
    grad_w, grad_a, mask = (None if t is None else t.contiguous() for t in (grad_w, grad_a, mask))
    grads = [torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, u, a0, lam, mu)]
    sizes = size, n, d, j, n_iter
    with device.on(x):
        workspace = torch.empty(cuda.robust_ridge_workspace(f64, sizes), dtype=torch.uint8, device=x.device)
        cuda.robust_ridge_bwd(
            f64, sizes, *(t.data_ptr() for t in (x, a0, lam)), address(mask), u.data_ptr(), li.data_ptr(),
            address(grad_w), address(grad_a), *(t.data_ptr() for t in grads), workspace.data_ptr(), device.stream(x),
        )  # fmt: skip
    return tuple(grads)


def _triton(*args: Any) -> Any:
    from heterad.kernels import robust_ridge as kernel

    return _flat(kernel.robust_ridge_fwd, *args)


def _triton_bwd(*args: Any) -> Any:
    from heterad.kernels import robust_ridge as kernel

    return _flat_bwd(kernel.robust_ridge_bwd, *args)


def _flat(
    function: Callable[..., tuple[Tensor, ...]],
    x: Tensor,
    h: Tensor,
    a0: Tensor,
    lam: Tensor,
    mu: Tensor,
    n_iter: int,
    mask: Tensor | None,
) -> Any:
    """A forward that takes one batch dimension."""
    size = math.prod(x.shape[:-2])
    matrices = (flat(t, size, 2) for t in (x, h, a0))
    out = function(*matrices, flat(lam, size, 0), flat(mu, size, 0), n_iter, flat(mask, size, 1))
    return tuple(o.reshape(*x.shape[:-2], *o.shape[1:]) for o in out)


def _flat_bwd(
    function: Callable[..., tuple[Tensor, ...]],
    grad_w: Tensor | None,
    grad_a: Tensor | None,
    x: Tensor,
    a0: Tensor,
    lam: Tensor,
    mu: Tensor,
    u: Tensor,
    li: Tensor,
    n_iter: int,
    mask: Tensor | None,
) -> Any:
    """A backward that takes one batch dimension and both gradients from above."""
    size = math.prod(x.shape[:-2])
    if grad_w is None:
        grad_w = x.new_zeros((*x.shape[:-2], x.shape[-1], u.shape[-1]))
    grad_a = torch.zeros_like(x) if grad_a is None else grad_a
    args = [flat(t, size, 2) for t in (grad_w, grad_a, x, a0)]
    args += [flat(t, size, r) for t, r in ((lam, 0), (mu, 0), (u, 2), (li, 2))]
    out = function(*args, n_iter, flat(mask, size, 1))
    return tuple(o.reshape(t.shape) for o, t in zip(out, (x, u, x, lam, mu), strict=True))


def _save(ctx: Any, inputs: Any, output: Any) -> None:
    x, _, a0, lam, mu, ctx.n_iter, mask = inputs
    _, _, u, li = output
    ctx.save_for_backward(x, a0, lam, mu, u, li, mask)
    ctx.mark_non_differentiable(u, li)
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad_w: Tensor | None, grad_a: Tensor | None, *_: None) -> Any:
    if grad_w is None and grad_a is None:
        return (None,) * 7
    *saved, mask = ctx.saved_tensors
    return (*_op_bwd(grad_w, grad_a, *saved, ctx.n_iter, mask), None, None)


_op_bwd = Op(
    "robust_ridge_bwd(Tensor? grad_w, Tensor? grad_a, Tensor x, Tensor a0, Tensor lam, Tensor mu, Tensor u, Tensor li, "
    "int n_iter, Tensor? mask) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    kernels={"cpp": _cpp_bwd, "cuda": _cuda_bwd, "triton": _triton_bwd},
    fake=_fake_bwd,
)
_op = Op(
    "robust_ridge(Tensor x, Tensor h, Tensor a0, Tensor lam, Tensor mu, int n_iter, Tensor? mask) "
    "-> (Tensor, Tensor, Tensor, Tensor)",
    kernels={"cpp": _cpp, "cuda": _cuda, "triton": _triton},
    fake=_fake,
    save=_save,
    backward=_backward,
)
