r"""The factor of ridge regression that no label enters, and its derivative.

With C = HᵀH/N + mu I = L Lᵀ over the N real rows of a task: li = L⁻¹ and u = H L⁻ᵀ/sqrt(N), so that U Uᵀ is the hat
matrix and W = Yᵀ U L⁻¹/sqrt(N). Both are computed in float64 whatever the input: it costs little here, and the
hat matrix is then as exact as its storage.

Backward (wide.factor_bwd), where u received F and L⁻¹ the part that S sums (see robust_ridge): Ψ = ½ (uᵀF + S),
dH = (F - 2 u Ψ) L⁻¹/sqrt(N), dmu = -tr(L⁻ᵀ Ψ L⁻¹).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from heterad.kernels._common import MAX_J, compute_dtype, dot, pow2, put, real_rows, rsqrt_rows, tile
from heterad.kernels.device import on


@triton.jit
def _cholesky_inverse(p_h, p_mu, p_mask, p_li, N, J, BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr):
    i_b = tl.program_id(0).to(tl.int64)
    o_j = tl.arange(0, BLOCK_J)
    b_mu = tl.load(p_mu + i_b).to(tl.float64)
    b_scale = rsqrt_rows(p_mask, i_b, N, BLOCK_N)
    b_c = tl.zeros([BLOCK_J, BLOCK_J], tl.float64)
    for i_n in range(0, N):
        o_n = i_n + tl.zeros([BLOCK_J], tl.int64)
        m_h = (o_j < J) & real_rows(p_mask, i_b, o_n, N)
        b_h = tl.load(p_h + (i_b * N + o_n) * J + o_j, mask=m_h, other=0.0).to(tl.float64) * b_scale
        b_c += b_h[:, None] * b_h[None, :]
    b_c += tl.where(o_j[:, None] == o_j[None, :], b_mu, 0.0)

    # Gauss elimination without a second matrix: after step k columns 0..k hold L⁻¹, the others what is left of C.
    for k in range(0, J):
        m_k = o_j == k
        b_row = tl.sum(tl.where(m_k[:, None], b_c, 0.0), 0)
        b_col = tl.sum(tl.where(m_k[None, :], b_c, 0.0), 1)
        b_d = tl.sum(tl.where(m_k, b_row, 0.0), 0)
        b_s = 1.0 / tl.sqrt(tl.where(b_d < b_mu, b_mu, b_d))  # exact pivots are never below mu; NaN stays
        b_row = tl.where(m_k, 1.0, b_row) * b_s
        b_col = tl.where(o_j > k, b_col * b_s, 0.0)
        b_c = tl.where(m_k[None, :], 0.0, b_c) - b_col[:, None] * b_row[None, :]
        b_c = tl.where(m_k[:, None], tl.where(o_j <= k, b_row, 0.0)[None, :], b_c)

    m_li = (o_j[:, None] < J) & (o_j[None, :] < J)
    tl.store(p_li + i_b * J * J + o_j[:, None] * J + o_j[None, :], b_c, mask=m_li)


@triton.jit
def _project(p_h, p_li, p_mask, p_u, N, J, BLOCK_N: tl.constexpr, BLOCK_J: tl.constexpr):
    blocks = tl.cdiv(N, BLOCK_N)
    i_b = tl.program_id(0).to(tl.int64) // blocks
    o_n = (tl.program_id(0) % blocks) * BLOCK_N + tl.arange(0, BLOCK_N)
    o_j = tl.arange(0, BLOCK_J)
    m_n, m_j = real_rows(p_mask, i_b, o_n, N), o_j < J
    b_u = tl.zeros([BLOCK_N, BLOCK_J], tl.float64)
    for k in range(0, J):
        b_h = tl.load(p_h + (i_b * N + o_n) * J + k, mask=m_n, other=0.0).to(tl.float64)
        b_li = tl.load(p_li + (i_b * J + o_j) * J + k, mask=m_j, other=0.0)
        b_u += b_h[:, None] * b_li[None, :]
    b_u = b_u * rsqrt_rows(p_mask, i_b, N, BLOCK_N)
    o_u = (i_b * N + o_n)[:, None] * J + o_j[None, :]
    tl.store(p_u + o_u, b_u.to(p_u.dtype.element_ty), mask=(o_n < N)[:, None] & m_j[None, :])


@triton.jit
def push_w(p_w, p_li, b_z, b_scale, o_d, o_j, D, J, FLOAT: tl.constexpr):
    """W = Zᵀ L⁻¹/sqrt(N) for a block of columns d, written 16 columns j at a time."""
    for i_k in range(0, J, 16):
        o_k = i_k + tl.arange(0, 16)
        b_li = tile(p_li, o_j, o_k, J, (o_j < J)[:, None] & (o_k < J)[None, :], FLOAT)
        put(p_w, o_d, o_k, J, (o_d < D)[:, None] & (o_k < J)[None, :], dot(tl.trans(b_z), b_li) * b_scale)


@triton.jit
def pull_w(p_grad_w, p_li, b_scale, o_d, o_j, D, J, FLOAT: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_J: tl.constexpr):
    """What the gradient of W gives Z: L⁻¹ dWᵀ/sqrt(N) for a block of columns d."""
    b_b = tl.zeros([BLOCK_J, BLOCK_D], FLOAT)
    for i_k in range(0, J, 16):
        o_k = i_k + tl.arange(0, 16)
        b_li = tile(p_li, o_j, o_k, J, (o_j < J)[:, None] & (o_k < J)[None, :], FLOAT)
        b_grad_w = tile(p_grad_w, o_d, o_k, J, (o_d < D)[:, None] & (o_k < J)[None, :], FLOAT)
        b_b += dot(b_li, tl.trans(b_grad_w))
    return b_b * b_scale


def factor(h: Tensor, mu: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """h [B, N, J] and mu [B] contiguous, mask [B, N] of 0 and 1 -> u [B, N, J] (0 in rows not real), li [B, J, J]."""
    b, n, j = h.shape
    dtype = compute_dtype(h.dtype)
    u = torch.empty(b, n, j, dtype=dtype, device=h.device)
    li = torch.empty(b, j, j, dtype=torch.float64, device=h.device)
    block_j = pow2(j, 16, MAX_J)
    block_n = pow2(n, 16, 32)
    with on(h):
        _cholesky_inverse[(b,)](h, mu, mask, li, n, j, BLOCK_N=32, BLOCK_J=block_j, num_warps=max(1, block_j // 8))
        grid = (b * triton.cdiv(n, block_n),)
        _project[grid](h, li, mask, u, n, j, BLOCK_N=block_n, BLOCK_J=block_j, num_warps=4)
    return u, li.to(dtype)
