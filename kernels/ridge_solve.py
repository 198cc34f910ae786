r"""Ridge regression: W = Zᵀ L⁻¹/sqrt(N) with Z = uᵀY, and u and L⁻¹ from ridge_factor.

Backward, with V = L⁻¹ dWᵀ/sqrt(N): dY = u V, F = Y Vᵀ, S = V Zᵀ, summed over blocks of columns in a fixed order;
ridge_factor takes F and S to H and mu.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from heterad.kernels import wide
from heterad.kernels._common import MAX_J, as_numbers, blocks, dot, float_of, put, real_rows, rsqrt_rows, tile
from heterad.kernels.device import on
from heterad.kernels.ridge_factor import factor, pull_w, push_w


@triton.jit
def _ridge_solve_fwd(
    p_y, p_u, p_li, p_mask, p_w, N, D, J,
    FLOAT: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    columns = tl.cdiv(D, BLOCK_D)
    i_b, i_d = tl.program_id(0).to(tl.int64) // columns, tl.program_id(0) % columns
    o_d, o_j = i_d * BLOCK_D + tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_J)
    b_z = tl.zeros([BLOCK_J, BLOCK_D], FLOAT)
    for i_n in range(0, N, BLOCK_N):
        o_n = i_n + tl.arange(0, BLOCK_N)
        m_n = real_rows(p_mask, i_b, o_n, N)
        b_u = tile(p_u + i_b * N * J, o_n, o_j, J, m_n[:, None] & (o_j < J)[None, :], FLOAT)
        b_y = tile(p_y + i_b * N * D, o_n, o_d, D, m_n[:, None] & (o_d < D)[None, :], FLOAT)
        b_z += dot(tl.trans(b_u), b_y)
    b_scale = rsqrt_rows(p_mask, i_b, N, BLOCK_N).to(FLOAT)
    push_w(p_w + i_b * D * J, p_li + i_b * J * J, b_z, b_scale, o_d, o_j, D, J, FLOAT)


@triton.jit
def _ridge_solve_bwd(
    p_y, p_u, p_li, p_mask, p_grad_w, p_grad_y, p_f, p_s, B, N, D, J,
    FLOAT: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    columns = tl.cdiv(D, BLOCK_D)
    i_b, i_d = tl.program_id(0).to(tl.int64) // columns, tl.program_id(0) % columns
    o_d, o_j = i_d * BLOCK_D + tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_J)
    m_d, m_j = o_d < D, o_j < J
    b_scale = rsqrt_rows(p_mask, i_b, N, BLOCK_N).to(FLOAT)
    b_v = pull_w(p_grad_w + i_b * D * J, p_li + i_b * J * J, b_scale, o_d, o_j, D, J, FLOAT, BLOCK_D, BLOCK_J)
    b_z = tl.zeros([BLOCK_J, BLOCK_D], FLOAT)
    for i_n in range(0, N, BLOCK_N):
        o_n = i_n + tl.arange(0, BLOCK_N)
        m_n = real_rows(p_mask, i_b, o_n, N)
        b_u = tile(p_u + i_b * N * J, o_n, o_j, J, m_n[:, None] & m_j[None, :], FLOAT)
        b_y = tile(p_y + i_b * N * D, o_n, o_d, D, m_n[:, None] & m_d[None, :], FLOAT)
        b_dy = tl.where(m_n[:, None], dot(b_u, b_v), 0.0)
        put(p_grad_y + i_b * N * D, o_n, o_d, D, (o_n < N)[:, None] & m_d[None, :], b_dy)
        m_f = (o_n < N)[:, None] & m_j[None, :]
        put(p_f + (i_d * B + i_b) * N * J, o_n, o_j, J, m_f, dot(b_y, tl.trans(b_v)))
        b_z += dot(tl.trans(b_u), b_y)
    put(p_s + (i_d * B + i_b) * J * J, o_j, o_j, J, m_j[:, None] & m_j[None, :], dot(b_v, tl.trans(b_z)))


def ridge_solve_fwd(h: Tensor, y: Tensor, mu: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """h [B, N, J], y [B, N, D], mu [B], mask [B, N], contiguous -> w [B, D, J], u and li."""
    mask = as_numbers(mask, y)
    (b, n, d), j = y.shape, h.shape[-1]
    if j > MAX_J:
        return wide.ridge_solve_fwd(h, y, mu, mask)
    u, li = factor(h, mu, mask)
    w = y.new_empty(b, d, j)
    sizes = blocks(n, d, j, y)
    grid = (b * triton.cdiv(d, sizes["BLOCK_D"]),)
    with on(y):
        _ridge_solve_fwd[grid](y, u, li, mask, w, n, d, j, FLOAT=float_of(y), **sizes)
    return w, u, li


def ridge_solve_bwd(
    grad_w: Tensor, y: Tensor, mu: Tensor, u: Tensor, li: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of h, y and mu."""
    mask = as_numbers(mask, y)
    (b, n, d), j = y.shape, u.shape[-1]
    if j > MAX_J:
        return wide.ridge_solve_bwd(grad_w, y, mu, u, li, mask)
    sizes = blocks(n, d, j, y)
    columns = triton.cdiv(d, sizes["BLOCK_D"])
    grad_y = torch.empty_like(y)
    f, s = u.new_empty(columns, b, n, j), u.new_empty(columns, b, j, j)
    with on(y):
        _ridge_solve_bwd[(b * columns,)](y, u, li, mask, grad_w, grad_y, f, s, b, n, d, j, FLOAT=float_of(y), **sizes)
    grad_h, grad_mu = wide.factor_bwd(f.sum(0), s.sum(0), u, li, mask, y.dtype, mu.dtype)
    return grad_h, grad_y, grad_mu
