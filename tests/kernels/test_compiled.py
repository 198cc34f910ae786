"""Every kernel as launched, compiled for Ampere and Hopper: it fits, and a machine without a GPU can tell."""

from __future__ import annotations

import pytest
import torch
from ahead_of_time import recorded

from heterad.kernels import deviation_loss, ridge_solve, robust_ridge, soft_threshold

SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024}
SLOW = pytest.mark.slow

# dtype, N, D, J, alternations, masked, architecture; N = D = J = 1 turns every size into a constant
CASES = [
    (torch.float32, 50, 256, 32, 10, True, 80),
    (torch.float32, 50, 256, 32, 10, True, 90),
    (torch.float32, 1, 1, 1, 1, False, 80),
    (torch.bfloat16, 17, 3, 5, 3, False, 90),
    (torch.float64, 17, 3, 5, 3, True, 80),
    (torch.float64, 17, 3, 5, 3, False, 90),
    *(
        pytest.param(dtype, 70, 40, j, 10, masked, arch, marks=SLOW)
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
        for j, masked in ((32, False), (64, True), (128, True), (128, False))
        for arch in (80, 90)
    ),
]


def compile_all(launches, arch):
    assert launches
    for launch in launches.values():
        kernel = launch.compile(arch)
        assert kernel.asm["cubin"], launch
        assert kernel.metadata.shared <= SHARED_BYTES[arch], launch


@pytest.mark.parametrize(("dtype", "n", "d", "j", "n_iter", "masked", "arch"), CASES)
def test_ridge(dtype, n, d, j, n_iter, masked, arch):
    x, h, s = torch.zeros(2, n, d, dtype=dtype), torch.zeros(2, n, j, dtype=dtype), torch.ones(2, dtype=dtype)
    mask = torch.ones(2, n, dtype=torch.bool) if masked else None
    with recorded() as launches:
        w, a, u, li = robust_ridge.robust_ridge_fwd(x, h, x, s, s, n_iter, mask)
        robust_ridge.robust_ridge_bwd(w, a, x, x, s, s, u, li, n_iter, mask)
        w, u, li = ridge_solve.ridge_solve_fwd(h, x, s, mask)
        ridge_solve.ridge_solve_bwd(w, x, s, u, li, mask)
    assert len(launches) == 8
    compile_all(launches, arch)


@pytest.mark.parametrize(
    ("dtype", "arch"), [(torch.float32, 80), (torch.float64, 90), (torch.bfloat16, 90), (torch.float16, 80)]
)
def test_elementwise(dtype, arch):
    r, t = torch.zeros(1000, dtype=dtype), torch.ones((), dtype=dtype)
    with recorded() as launches:
        soft_threshold.soft_threshold_fwd(r, t)
        soft_threshold.soft_threshold_bwd(r, t, r)
        for y, reduction in ((r > 0, "mean"), (r.long(), "none"), (r, "sum")):
            deviation_loss.deviation_loss_fwd(r, y, 5.0, 0.0, 1.0, reduction)
            deviation_loss.deviation_loss_bwd(r, y, 5.0, 0.0, 1.0, reduction, r)
    compile_all(launches, arch)
