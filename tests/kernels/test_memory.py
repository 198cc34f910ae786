"""The watch over interpreted kernels sees an address outside and a race; test_interpreted.py runs this."""

from __future__ import annotations

import pytest
import torch
import triton
import triton.language as tl

WITHIN, READ_BEHIND, WRITE_BEFORE, SAME_PLACE, NEIGHBOUR = range(5)


@triton.jit
def _kernel(p, p_out, N, FAULT: tl.constexpr):
    o = tl.program_id(0) * 4 + tl.arange(0, 4)
    m = o < N
    if FAULT == 1:
        m = o < N + 1
    b = tl.load(p + o, mask=m, other=0.0)
    if FAULT == 4:
        b += tl.load(p_out + (o + 4) % N)
    if FAULT == 2:
        p_out -= 1
    if FAULT == 3:
        o %= 4
    tl.store(p_out + o, b, mask=m)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (WITHIN, None),
        (READ_BEHIND, "reads outside every tensor"),
        (WRITE_BEFORE, "writes outside every tensor"),
        (SAME_PLACE, "write the same address"),
        (NEIGHBOUR, "reads what another"),
    ],
)
def test_faults_are_seen(fault, message):
    x, out = torch.arange(10.0)[:7], torch.zeros(9)[1:8]
    if message is None:
        _kernel[(2,)](x, out, 7, FAULT=fault)
        assert torch.equal(x, out)
        return
    with pytest.raises(Exception, match=message):
        _kernel[(2,)](x, out, 7, FAULT=fault)
