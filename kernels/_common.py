"""What the kernels share: block sizes, the compute dtype, tiles, rows that are real, the soft threshold."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_J = 128  # the ridge kernels hold J x J float64 in one program's registers; beyond: wide.py


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """What a kernel computes in: half precision is upcast on load."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def float_of(t: Tensor) -> tl.dtype:
    """`compute_dtype` of a tensor, as Triton names it."""
    return tl.float64 if t.dtype == torch.float64 else tl.float32


def as_numbers(mask: Tensor | None, x: Tensor) -> Tensor | None:
    """The mask as 0 and 1 in the compute dtype: Triton 3.6 does not compile a float64 `tl.dot` that a byte enters."""
    return None if mask is None else mask.to(compute_dtype(x.dtype))


def pow2(n: int, low: int, high: int) -> int:
    """The power of two that covers n, within bounds."""
    return min(max(triton.next_power_of_2(n), low), high)


def blocks(n: int, d: int, j: int, x: Tensor) -> dict[str, int]:
    """Tile sizes of the ridge kernels, the largest that do not spill.

    Without tensor cores `tl.dot` holds its operands in registers along the whole inner dimension: at J = 32 rows in
    blocks of 64 took 255 registers, 860 bytes of spills and 20 s to compile, these 128, none and 5 s. On an H200 four
    warps take 0.66 to 0.80 of the time of eight for 4,096 tasks. With three TF32 products for each float32 one the
    same blocks took 1.0 to 1.2 times as long, twice the rows 0.7 to 1.1, and one gradient was wrong by 2.1e-6 (allowed
    1.9e-6).
    """
    large = 16 if j > 32 or x.dtype == torch.float64 else 32
    return {
        "BLOCK_N": pow2(n, 16, large),
        "BLOCK_J": pow2(j, 16, MAX_J),
        "BLOCK_D": pow2(d, 16, large),
        "num_warps": 4,
    }


@triton.jit
def real_rows(p_mask, i_b, o_n, N):
    """Which rows of task i_b exist and are real."""
    m_n = o_n < N
    if p_mask is not None:
        m_n = m_n & (tl.load(p_mask + i_b * N + o_n, mask=m_n, other=0) != 0)
    return m_n


@triton.jit
def rsqrt_rows(p_mask, i_b, N, BLOCK_N: tl.constexpr):
    """1/sqrt(N) over the real rows of task i_b, in float64; 1 where none is real."""
    b_n = tl.zeros([BLOCK_N], tl.int32)
    for i_n in range(0, N, BLOCK_N):
        b_n += real_rows(p_mask, i_b, i_n + tl.arange(0, BLOCK_N), N).to(tl.int32)
    return 1.0 / tl.sqrt(tl.maximum(tl.sum(b_n, 0), 1).to(tl.float64))


@triton.jit
def tile(p, o_r, o_c, C, m, FLOAT: tl.constexpr):
    """Rows o_r and columns o_c of a row-major matrix with C columns, upcast; 0 outside the mask."""
    return tl.load(p + o_r.to(tl.int64)[:, None] * C + o_c[None, :], mask=m, other=0.0).to(FLOAT)


@triton.jit
def put(p, o_r, o_c, C, m, b):
    """Write a tile of a row-major matrix with C columns, cast to what is stored."""
    tl.store(p + o_r.to(tl.int64)[:, None] * C + o_c[None, :], b.to(p.dtype.element_ty), mask=m)


@triton.jit
def dot(a, b):
    """Matrix product without TF32."""
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def shrink(r, t):
    """sgn(r) relu(|r| - t); NaN in either stays NaN."""
    return tl.where(tl.abs(r) <= t, r - r, r - tl.where(r > 0, t, -t))
