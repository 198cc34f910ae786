"""Ridge problems of more embeddings than a kernel holds, in torch products; `factor_bwd` serves the Triton kernels too.

The products are large enough for cuBLAS, and nothing here synchronises. Arguments and results are those of the kernels'
launchers in robust_ridge and ridge_solve.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

Results = TypeVar("Results")


def _exact(function: Callable[..., Results]) -> Callable[..., Results]:
    """Autocast would have the products in half precision."""

    @functools.wraps(function)
    def run(*args: Tensor | int | None) -> Results:
        assert isinstance(args[0], Tensor)
        with torch.autocast(args[0].device.type, enabled=False):
            return function(*args)

    return run


def rows_rsqrt(mask: Tensor | None, n: int, like: Tensor) -> Tensor:
    """1/sqrt(N) over the real rows of each task, [B or 1, 1, 1]."""
    if mask is None:
        return like.new_full((1, 1, 1), max(n, 1) ** -0.5)
    return mask.to(like.dtype).sum(-1).clamp(min=1).rsqrt()[:, None, None]


def real(t: Tensor, mask: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Upcast, 0 in rows that are not real."""
    return t.to(dtype) if mask is None else torch.where(mask[..., None] != 0, t, 0).to(dtype)


def factor(h: Tensor, mu: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """u and L⁻¹, from float64."""
    dtype = torch.promote_types(h.dtype, torch.float32)
    h = real(h, mask, torch.float64)
    h = h * rows_rsqrt(mask, h.shape[1], h)
    eye = torch.eye(h.shape[2], dtype=h.dtype, device=h.device)
    lower, _ = torch.linalg.cholesky_ex(h.mT @ h + mu.double()[:, None, None] * eye)
    li = torch.linalg.solve_triangular(lower, eye.expand_as(lower), upper=False)
    return (h @ li.mT).to(dtype), li.to(dtype).contiguous()


def factor_bwd(
    f: Tensor, s: Tensor, u: Tensor, li: Tensor, mask: Tensor | None, dtype: torch.dtype, mu_dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """f [B, N, J], s [B, J, J] -> grad_h [B, N, J], grad_mu [B], by a few small float64 products; see ridge_factor."""
    f, s, u, li = f.double(), s.double(), u.double(), li.double()
    q = (u.mT @ f + s) @ li
    grad_h = (f @ li - u @ q) * rows_rsqrt(mask, u.shape[1], u)
    grad_mu = (q * li).sum((-2, -1)) / -2
    return grad_h.to(dtype), grad_mu.to(mu_dtype)


def shrink(r: Tensor, t: Tensor) -> Tensor:
    return torch.where(r.abs() <= t, r - r, r - torch.where(r > 0, t, -t))


def chain(x: Tensor, a0: Tensor, u: Tensor, t: Tensor, n_iter: int) -> tuple[list[Tensor], list[Tensor]]:
    """Z and R = u Z - X of every iteration."""
    zs, rs, y = [], [], x + a0
    for _ in range(n_iter):
        zs.append(u.mT @ y)
        rs.append(u @ zs[-1] - x)
        y = x + shrink(rs[-1], t)
    return zs, rs


@_exact
def robust_ridge_fwd(
    x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, n_iter: int, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    u, li = factor(h, mu, mask)
    dtype, t = x.dtype, lam.to(u.dtype)[:, None, None] / 2
    x, a0 = real(x, mask, u.dtype), real(a0, mask, u.dtype)
    zs, rs = chain(x, a0, u, t, n_iter)
    w = zs[-1].mT @ li * rows_rsqrt(mask, x.shape[1], u)
    return w.to(dtype), real(shrink(rs[-1], t), mask, u.dtype).to(dtype), u, li


@_exact
def robust_ridge_bwd(
    grad_w: Tensor, grad_a: Tensor, x: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, u: Tensor, li: Tensor,
    n_iter: int, mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    dtype = x.dtype
    x, a0, dy = (real(v, mask, u.dtype) for v in (x, a0, grad_a))
    t = lam.to(u.dtype)[:, None, None] / 2
    zs, rs = chain(x, a0, u, t, n_iter)
    b = li @ grad_w.to(u.dtype).mT * rows_rsqrt(mask, x.shape[1], u)
    dx, f, dt = torch.zeros_like(x), torch.zeros_like(u), torch.zeros_like(lam, dtype=u.dtype)
    for i in reversed(range(n_iter)):
        dr = torch.where(rs[i].abs() <= t, 0, dy)
        v = u.mT @ dr + (b if i == n_iter - 1 else 0)
        dy = u @ v
        dx += dy - dr
        dt -= torch.where(rs[i] > 0, dr, -dr).sum((-2, -1))
        y = x + (shrink(rs[i - 1], t) if i else a0)
        f += dr @ zs[i].mT + y @ v.mT
    grad_h, grad_mu = factor_bwd(f, b @ zs[-1].mT, u, li, mask, dtype, mu.dtype)
    grad_x, grad_a0 = (real(v, mask, u.dtype).to(dtype) for v in (dx, dy))
    return grad_x, grad_h, grad_a0, (dt / 2).to(lam.dtype), grad_mu


@_exact
def ridge_solve_fwd(h: Tensor, y: Tensor, mu: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    u, li = factor(h, mu, mask)
    w = real(y, mask, u.dtype).mT @ u @ li * rows_rsqrt(mask, y.shape[1], u)
    return w.to(y.dtype), u, li


@_exact
def ridge_solve_bwd(
    grad_w: Tensor, y: Tensor, mu: Tensor, u: Tensor, li: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    dtype, y = y.dtype, real(y, mask, u.dtype)
    v = li @ grad_w.to(u.dtype).mT * rows_rsqrt(mask, y.shape[1], u)
    grad_h, grad_mu = factor_bwd(y @ v.mT, v @ (y.mT @ u), u, li, mask, dtype, mu.dtype)
    return grad_h, (u @ v).to(dtype), grad_mu
