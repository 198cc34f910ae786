r"""Robust ridge regression: all alternations for a block of columns of a task in one kernel.

With u = H L⁻ᵀ/sqrt(N) (see ridge_factor) and t = lambda/2, columns never meet, and from one iteration to the next only
Z = uᵀY, [J, D], has to be carried: Y is rebuilt from it, a block of rows at a time, so N is not limited.

    Z_0 = uᵀ(X + A0);   R_i = u Z_i - X;   A_i = shrink(R_i, t);   Z_{i+1} = uᵀ(X + A_i);   W = Z_lastᵀ L⁻¹/sqrt(N)

Backward: with the masks m_i = not (|R_i| <= t) and V_last = uᵀ dR_last + L⁻¹ dWᵀ/sqrt(N), from the last iteration

    dR_last = m dA;   dR_i = m_i u V_{i+1};   V_i = uᵀ dR_i;   dX = sum_i (u V_i - dR_i);   dA0 = u V_0
    dt = -sum sgn(R_i) dR_i;   F = sum_i (dR_i Z_iᵀ + Y_i V_iᵀ);   S = L⁻¹ dWᵀ Z_lastᵀ/sqrt(N)

in three kernels: the forward again, keeping Z; the chain of V, keeping it; the sums over iterations, which that leaves
independent for each tile. F is summed over blocks of columns in a fixed order; ridge_factor takes it to H and mu.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from heterad.kernels import wide
from heterad.kernels._common import (
    MAX_J,
    as_numbers,
    blocks,
    dot,
    float_of,
    put,
    real_rows,
    rsqrt_rows,
    shrink,
    tile,
)
from heterad.kernels.device import on
from heterad.kernels.ridge_factor import factor, pull_w, push_w

SCRATCH_BYTES = 2**28  # Z and V of this many bytes at a time: more tasks are walked in chunks


@triton.jit
def _robust_ridge_fwd(
    p_x, p_a0, p_u, p_li, p_lam, p_mask, p_w, p_a, p_z, N, D, J, n_iter,
    KEEP: tl.constexpr, FLOAT: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    columns = tl.cdiv(D, BLOCK_D)
    i_b = tl.program_id(0).to(tl.int64) // columns
    o_d = (tl.program_id(0) % columns) * BLOCK_D + tl.arange(0, BLOCK_D)
    o_j = tl.arange(0, BLOCK_J)
    m_d, m_j = o_d < D, o_j < J
    p_x, p_a0, p_u = p_x + i_b * N * D, p_a0 + i_b * N * D, p_u + i_b * N * J
    b_t = tl.load(p_lam + i_b).to(FLOAT) * 0.5

    b_z = tl.zeros([BLOCK_J, BLOCK_D], FLOAT)
    for i_n in range(0, N, BLOCK_N):
        o_n = i_n + tl.arange(0, BLOCK_N)
        m_n = real_rows(p_mask, i_b, o_n, N)
        m_x = m_n[:, None] & m_d[None, :]
        b_u = tile(p_u, o_n, o_j, J, m_n[:, None] & m_j[None, :], FLOAT)
        b_y = tile(p_x, o_n, o_d, D, m_x, FLOAT) + tile(p_a0, o_n, o_d, D, m_x, FLOAT)
        b_z += dot(tl.trans(b_u), b_y)

    for i in range(0, n_iter - 1):
        if KEEP:
            put(p_z + (i_b * n_iter + i) * J * D, o_j, o_d, D, m_j[:, None] & m_d[None, :], b_z)
        b_next = tl.zeros([BLOCK_J, BLOCK_D], FLOAT)
        for i_n in range(0, N, BLOCK_N):
            o_n = i_n + tl.arange(0, BLOCK_N)
            m_n = real_rows(p_mask, i_b, o_n, N)
            b_u = tile(p_u, o_n, o_j, J, m_n[:, None] & m_j[None, :], FLOAT)
            b_x = tile(p_x, o_n, o_d, D, m_n[:, None] & m_d[None, :], FLOAT)
            b_next += dot(tl.trans(b_u), b_x + shrink(dot(b_u, b_z) - b_x, b_t))
        b_z = b_next

    if KEEP:
        put(p_z + (i_b * n_iter + n_iter - 1) * J * D, o_j, o_d, D, m_j[:, None] & m_d[None, :], b_z)
    else:
        b_scale = rsqrt_rows(p_mask, i_b, N, BLOCK_N).to(FLOAT)
        push_w(p_w + i_b * D * J, p_li + i_b * J * J, b_z, b_scale, o_d, o_j, D, J, FLOAT)
        for i_n in range(0, N, BLOCK_N):
            o_n = i_n + tl.arange(0, BLOCK_N)
            m_n = real_rows(p_mask, i_b, o_n, N)
            b_u = tile(p_u, o_n, o_j, J, m_n[:, None] & m_j[None, :], FLOAT)
            b_x = tile(p_x, o_n, o_d, D, m_n[:, None] & m_d[None, :], FLOAT)
            b_a = tl.where(m_n[:, None], shrink(dot(b_u, b_z) - b_x, b_t), 0.0)
            put(p_a + i_b * N * D, o_n, o_d, D, (o_n < N)[:, None] & m_d[None, :], b_a)


@triton.jit
def _robust_ridge_bwd_chain(
    p_x, p_u, p_li, p_lam, p_mask, p_grad_w, p_grad_a, p_z, p_v, p_s, B, N, D, J, n_iter,
    FLOAT: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    columns = tl.cdiv(D, BLOCK_D)
    i_b, i_d = tl.program_id(0).to(tl.int64) // columns, tl.program_id(0) % columns
    o_d, o_j = i_d * BLOCK_D + tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_J)
    m_d, m_j = o_d < D, o_j < J
    m_z = m_j[:, None] & m_d[None, :]
    p_x, p_u, p_grad_a = p_x + i_b * N * D, p_u + i_b * N * J, p_grad_a + i_b * N * D
    b_t = tl.load(p_lam + i_b).to(FLOAT) * 0.5
    b_scale = rsqrt_rows(p_mask, i_b, N, BLOCK_N).to(FLOAT)

    b_b = pull_w(p_grad_w + i_b * D * J, p_li + i_b * J * J, b_scale, o_d, o_j, D, J, FLOAT, BLOCK_D, BLOCK_J)
    b_z = tile(p_z + (i_b * n_iter + n_iter - 1) * J * D, o_j, o_d, D, m_z, FLOAT)
    put(p_s + (i_d * B + i_b) * J * J, o_j, o_j, J, m_j[:, None] & m_j[None, :], dot(b_b, tl.trans(b_z)))

    b_v = tl.zeros([BLOCK_J, BLOCK_D], FLOAT)
    for back in range(0, n_iter):
        i = i_b * n_iter + n_iter - 1 - back
        b_z = tile(p_z + i * J * D, o_j, o_d, D, m_z, FLOAT)
        b_next = tl.where(back == 0, b_b, 0.0)
        for i_n in range(0, N, BLOCK_N):
            o_n = i_n + tl.arange(0, BLOCK_N)
            m_n = real_rows(p_mask, i_b, o_n, N)
            m_x = m_n[:, None] & m_d[None, :]
            b_u = tile(p_u, o_n, o_j, J, m_n[:, None] & m_j[None, :], FLOAT)
            b_r = dot(b_u, b_z) - tile(p_x, o_n, o_d, D, m_x, FLOAT)
            b_da = tl.where(back == 0, tile(p_grad_a, o_n, o_d, D, m_x, FLOAT), dot(b_u, b_v))
            b_next += dot(tl.trans(b_u), tl.where(tl.abs(b_r) <= b_t, 0.0, b_da))
        b_v = b_next
        put(p_v + i * J * D, o_j, o_d, D, m_z, b_v)


@triton.jit
def _robust_ridge_bwd_sums(
    p_x, p_a0, p_u, p_lam, p_mask, p_grad_a, p_z, p_v, p_grad_x, p_grad_a0, p_f, p_grad_t, B, N, D, J, n_iter,
    FLOAT: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    columns, rows = tl.cdiv(D, BLOCK_D), tl.cdiv(N, BLOCK_N)
    i_d = tl.program_id(0) % columns
    i_n = tl.program_id(0) // columns % rows
    i_b = tl.program_id(0).to(tl.int64) // columns // rows
    o_d, o_n = i_d * BLOCK_D + tl.arange(0, BLOCK_D), i_n * BLOCK_N + tl.arange(0, BLOCK_N)
    o_j = tl.arange(0, BLOCK_J)
    m_d, m_j, m_n = o_d < D, o_j < J, real_rows(p_mask, i_b, o_n, N)
    m_x, m_z = m_n[:, None] & m_d[None, :], m_j[:, None] & m_d[None, :]
    m_out = (o_n < N)[:, None] & m_d[None, :]
    b_t = tl.load(p_lam + i_b).to(FLOAT) * 0.5
    b_u = tile(p_u + i_b * N * J, o_n, o_j, J, m_n[:, None] & m_j[None, :], FLOAT)
    b_x = tile(p_x + i_b * N * D, o_n, o_d, D, m_x, FLOAT)
    b_y = b_x + tile(p_a0 + i_b * N * D, o_n, o_d, D, m_x, FLOAT)
    b_da = tile(p_grad_a + i_b * N * D, o_n, o_d, D, m_x, FLOAT)
    b_v = tile(p_v + i_b * n_iter * J * D, o_j, o_d, D, m_z, FLOAT)
    b_dy = dot(b_u, b_v)
    put(p_grad_a0 + i_b * N * D, o_n, o_d, D, m_out, tl.where(m_n[:, None], b_dy, 0.0))

    b_dx = b_dy
    b_dt = tl.zeros([BLOCK_N, BLOCK_D], FLOAT)
    b_f = tl.zeros([BLOCK_N, BLOCK_J], FLOAT)
    for i in range(0, n_iter):
        b_f += dot(b_y, tl.trans(b_v))
        b_z = tile(p_z + (i_b * n_iter + i) * J * D, o_j, o_d, D, m_z, FLOAT)
        b_v = tile(p_v + (i_b * n_iter + (i + 1) % n_iter) * J * D, o_j, o_d, D, m_z, FLOAT)
        b_v = tl.where(n_iter == i + 1, 0.0, b_v)
        b_r = dot(b_u, b_z) - b_x
        b_dy = dot(b_u, b_v)
        b_dr = tl.where(tl.abs(b_r) <= b_t, 0.0, tl.where(n_iter == i + 1, b_da, b_dy))
        b_dx += b_dy - b_dr
        b_dt -= tl.where(b_r > 0, b_dr, -b_dr)
        b_f += dot(b_dr, tl.trans(b_z))
        b_y = b_x + shrink(b_r, b_t)
    put(p_grad_x + i_b * N * D, o_n, o_d, D, m_out, tl.where(m_n[:, None], b_dx, 0.0))
    put(p_f + (i_d * B + i_b) * N * J, o_n, o_j, J, (o_n < N)[:, None] & m_j[None, :], b_f)
    tl.store(p_grad_t + (i_b * rows + i_n) * columns + i_d, tl.sum(tl.sum(b_dt, 1), 0))


def _forward(
    x: Tensor, a0: Tensor, u: Tensor, li: Tensor, lam: Tensor, mask: Tensor | None, n_iter: int,
    w: Tensor | None, a: Tensor | None, z: Tensor | None,
) -> None:  # fmt: skip
    """Fill w and a; or, where z is given, z alone."""
    (b, n, d), j = x.shape, u.shape[-1]
    sizes = blocks(n, d, j, x)
    grid = (b * triton.cdiv(d, sizes["BLOCK_D"]),)
    _robust_ridge_fwd[grid](
        x, a0, u, li, lam, mask, w, a, z, n, d, j, n_iter, KEEP=z is not None, FLOAT=float_of(x), **sizes
    )


def _backward(
    grad_w: Tensor, grad_a: Tensor, x: Tensor, a0: Tensor, lam: Tensor, u: Tensor, li: Tensor, n_iter: int,
    mask: Tensor | None, grad_x: Tensor, grad_a0: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Fill grad_x and grad_a0; f [B, N, J], s [B, J, J] and the gradient of lambda/2, [B]."""
    (b, n, d), j = x.shape, u.shape[-1]
    sizes = blocks(n, d, j, x)
    columns, rows = triton.cdiv(d, sizes["BLOCK_D"]), triton.cdiv(n, sizes["BLOCK_N"])
    z, v = u.new_empty(2, b, n_iter, j, d)
    f, s, t = u.new_empty(columns, b, n, j), u.new_empty(columns, b, j, j), u.new_empty(b, rows * columns)
    shape = (b, n, d, j, n_iter)
    _forward(x, a0, u, li, lam, mask, n_iter, None, None, z)
    _robust_ridge_bwd_chain[(b * columns,)](
        x, u, li, lam, mask, grad_w, grad_a, z, v, s, *shape, FLOAT=float_of(x), **sizes
    )
    _robust_ridge_bwd_sums[(b * rows * columns,)](
        x, a0, u, lam, mask, grad_a, z, v, grad_x, grad_a0, f, t, *shape, FLOAT=float_of(x), **sizes
    )
    return f.sum(0), s.sum(0), t.sum(-1)


def robust_ridge_fwd(
    x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, n_iter: int, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, a0 [B, N, D], h [B, N, J], lam, mu [B], mask [B, N], contiguous -> w [B, D, J], a [B, N, D], u and li."""
    mask = as_numbers(mask, x)
    if h.shape[2] > MAX_J:
        return wide.robust_ridge_fwd(x, h, a0, lam, mu, n_iter, mask)
    u, li = factor(h, mu, mask)
    w, a = x.new_empty(x.shape[0], x.shape[2], h.shape[2]), torch.empty_like(x)
    with on(x):
        _forward(x, a0, u, li, lam, mask, n_iter, w, a, None)
    return w, a, u, li


def robust_ridge_bwd(
    grad_w: Tensor,
    grad_a: Tensor,
    x: Tensor,
    a0: Tensor,
    lam: Tensor,
    mu: Tensor,
    u: Tensor,
    li: Tensor,
    n_iter: int,
    mask: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of x, h, a0, lam and mu. Scratch beside them: `SCRATCH_BYTES`, or what one task needs."""
    mask = as_numbers(mask, x)
    (b, n, d), j = x.shape, u.shape[-1]
    if j > MAX_J:
        return wide.robust_ridge_bwd(grad_w, grad_a, x, a0, lam, mu, u, li, n_iter, mask)
    grad_x, grad_a0 = torch.empty_like(x), torch.empty_like(x)
    grad_h, grad_lam, grad_mu = x.new_empty(b, n, j), torch.empty_like(lam), torch.empty_like(mu)
    step = max(1, SCRATCH_BYTES // max(1, 2 * n_iter * j * d * u.element_size()))
    for start in range(0, b, step):
        part = slice(start, start + step)
        m = None if mask is None else mask[part]
        with on(x):
            f, s, t = _backward(
                grad_w[part], grad_a[part], x[part], a0[part], lam[part], u[part], li[part], n_iter, m,
                grad_x[part], grad_a0[part],
            )  # fmt: skip
        grad_h[part], grad_mu[part] = wide.factor_bwd(f, s, u[part], li[part], m, x.dtype, mu.dtype)
        grad_lam[part] = t / 2
    return grad_x, grad_h, grad_a0, grad_lam, grad_mu
