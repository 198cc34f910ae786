"""The CUDA sources compile without a warning where there is a compiler; on a GPU they give the CPU's results.

The build compiles for every architecture; one shows the warnings.
"""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import heterad
from heterad.testing import assert_accurate, relative_error, sample_inputs

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("source", sorted(p.name for p in (ROOT / "csrc/cuda").glob("*.cu")))
def test_compiles_without_a_warning(source, tmp_path):
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return
    quick = ["-ptx", "-Xcicc", "-O0"]  # warnings come before the optimiser
    command = [nvcc, "-std=c++17", "-Xcompiler", "-Wall,-Wextra", "-arch=sm_90", "-I", ROOT / "csrc", *quick]
    done = subprocess.run(
        [*command, ROOT / "csrc/cuda" / source, "-o", tmp_path / "out.ptx"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("op", ["smoothed_auc", "robust_ridge"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_on_a_gpu(op, dtype):
    for sample in sample_inputs(op, dtype, "cuda"):
        with heterad.ops.backend("cuda"):
            assert_accurate(op, sample)


@pytest.mark.gpu
def test_many_ridges_on_a_gpu():
    """More tasks than the workspace holds, in chunks of which the last is smaller; then more embeddings."""
    draw = torch.Generator().manual_seed(0)
    for tasks, n, d, j in ((511, 50, 256, 32), (300, 20, 300, 50)):
        x, h, a0 = (torch.randn(tasks, *s, generator=draw) for s in ((n, d), (n, j), (n, d)))
        lam, mu = torch.full((tasks,), 0.5), torch.full((tasks,), 0.1)
        found = []
        for device, dtype in (("cpu", torch.float64), ("cuda", torch.float32)):
            leaves = [t.to(device, dtype).requires_grad_() for t in (x, h, a0, lam, mu)]
            with heterad.ops.backend("auto" if device == "cpu" else "cuda"):
                w, a = heterad.ops.robust_ridge(*leaves)
                grads = torch.autograd.grad(w.square().sum() + a.square().sum(), leaves)
            found.append([t.detach().cpu() for t in (w, a, *grads)])
        for exact, got in zip(*found, strict=True):
            assert relative_error(got, exact) < 1e-4


@pytest.mark.gpu
def test_many_scores_on_a_gpu():
    draw = torch.Generator().manual_seed(0)
    pos, neg = (torch.randn(n, generator=draw) * 3 for n in (300_001, 200_003))
    results = []
    for device in ("cpu", "cuda", "cuda"):
        leaves = [v.to(device).requires_grad_() for v in (pos, neg)]
        value = heterad.ops.smoothed_auc(*leaves)
        results.append([v.detach().cpu() for v in (value, *torch.autograd.grad(value, leaves))])
    for cpu, first, second in zip(*results, strict=True):
        assert ((cpu - first).norm() <= 1e-6 * cpu.norm()).item()
        assert torch.equal(first, second)


@pytest.mark.gpu
def test_no_task_on_a_gpu():
    pos, neg = (torch.ones(0, n, device="cuda").requires_grad_() for n in (3, 5))
    value = heterad.ops.smoothed_auc(pos, neg)
    assert [g.shape for g in torch.autograd.grad(value.sum(), (pos, neg))] == [pos.shape, neg.shape]


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU")
@pytest.mark.parametrize("op", ["soft_threshold", "deviation_loss", "ridge_solve", "robust_ridge", "smoothed_auc"])
def test_a_gpu_that_is_not_the_current_one(op):
    for sample in sample_inputs(op, device="cuda:1", size="small")[:3]:
        assert_accurate(op, sample)
