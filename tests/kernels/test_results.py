"""What the Triton kernels compute: on a GPU where there is one, on the CPU where Triton interprets."""

from __future__ import annotations

import pytest
import torch

import heterad
from heterad.kernels import robust_ridge as launchers
from heterad.ops import _backend, reference
from heterad.ops.deviation_loss import PRIOR
from heterad.testing import Sample, assert_accurate, relative_error, sample_inputs

INTERPRETED = _backend.interpreted()
DEVICE = "cpu" if INTERPRETED else "cuda"
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]

pytestmark = [] if INTERPRETED else [pytest.mark.gpu]


@pytest.fixture(autouse=True)
def _triton():
    with heterad.ops.backend("triton"):
        yield


def samples():
    """Every sample where a GPU runs them; the interpreter gets three alternations, and all samples in float32 alone."""
    for op in ("soft_threshold", "deviation_loss", "ridge_solve", "robust_ridge"):
        ridge = op.endswith(("solve", "ridge"))
        for dtype in DTYPES:
            chosen = sample_inputs(op, dtype, size="small" if INTERPRETED else "all")
            if INTERPRETED and ridge:
                chosen = (
                    chosen
                    if dtype == torch.float32
                    else [chosen[1], chosen[-1]]
                    if op == "robust_ridge"
                    else [chosen[1], chosen[5]]
                )
                for s in chosen if op == "robust_ridge" else []:
                    s.kwargs.setdefault("n_iter", 3)
            for s in chosen:
                yield pytest.param(op, s, id=f"{op}-{str(dtype)[6:]}-{s.name}")


def draw(*shape: int, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    t = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale
    return t.to(dtype).to(DEVICE).requires_grad_()


def problem(b: int, n: int, j: int, d: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    x, h, a0 = (
        draw(b, n, d, dtype=dtype),
        draw(b, n, j, seed=1, scale=0.7, dtype=dtype),
        draw(b, n, d, seed=2, dtype=dtype),
    )
    lam, mu = (torch.linspace(low, 1, b, dtype=dtype, device=DEVICE).requires_grad_() for low in (0.5, 0.1))
    return [x, h, a0, lam, mu]


def results(args: list[torch.Tensor], op=heterad.ops.robust_ridge, **kwargs) -> list[torch.Tensor]:
    """w, a and the gradient of a sum over both in every argument."""
    w, a = op(*args, **kwargs)
    return [w, a, *torch.autograd.grad((w * w.detach().cos()).sum() + (a * 0.3).sum() + a.square().sum(), args)]


def exact(args: list[torch.Tensor], **kwargs) -> list[torch.Tensor]:
    return results([t.detach().double().requires_grad_() for t in args], reference.robust_ridge, **kwargs)


@pytest.mark.parametrize(("op", "sample"), list(samples()) if INTERPRETED or torch.cuda.is_available() else [])
def test_as_accurate_as_torch(op, sample):
    on_device = [v.detach().to(DEVICE).requires_grad_(v.requires_grad) for v in sample.args]
    sample.args = tuple(on_device)
    sample.kwargs = {k: v.to(DEVICE) if isinstance(v, torch.Tensor) else v for k, v in sample.kwargs.items()}
    assert_accurate(op, sample)


@pytest.mark.parametrize("lam", [0.0, float("inf")])
def test_extreme_lambda(lam):
    args = problem(1, 9, 4, 7)
    args[3] = torch.full((1,), lam, device=DEVICE, requires_grad=True)
    for got, expected in zip(results(args, n_iter=3), exact(args, n_iter=3), strict=True):
        assert torch.isfinite(got).all()
        assert relative_error(got, expected) < 1e-5


@pytest.mark.parametrize(
    ("n", "j", "d"), [(37, 40, 18), (3, 128, 2), (2, 20, 70)] if INTERPRETED else [(1024, 128, 65), (300, 100, 1000)]
)
def test_large_tiles(n, j, d):
    args = problem(1, n, j, d)
    plain = results(args, reference.robust_ridge, n_iter=2)
    for got, torchs, expected in zip(results(args, n_iter=2), plain, exact(args, n_iter=2), strict=True):
        assert relative_error(got, expected) <= 2 * relative_error(torchs, expected) + 1e-6


@pytest.mark.parametrize("masked", [False, True])
def test_more_embeddings_than_a_program_holds(masked):
    args = problem(2, 9, launchers.MAX_J + 1, 5)
    mask = torch.tensor([[True] * 9, [True, False, True] * 3], device=DEVICE) if masked else None
    kwargs = {"mask": mask} if masked else {}
    assert_accurate("robust_ridge", Sample("wide", tuple(args), kwargs))
    assert_accurate("ridge_solve", Sample("wide", (args[1], args[0], args[4]), kwargs))


def test_rows_that_are_not_real_say_nothing():
    args = problem(2, 6, 3, 5)
    mask = torch.tensor([[1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1]], dtype=torch.bool, device=DEVICE)
    clean = results(args, n_iter=3, mask=mask)
    with torch.no_grad():
        for t in args[:3]:
            t[~mask] = float("nan")
    spoilt = results(args, n_iter=3, mask=mask)
    for got, expected in zip(spoilt, clean, strict=True):
        assert torch.equal(got, expected)
    for t in (spoilt[1], *spoilt[2:5]):
        assert (t[~mask] == 0).all()
    for i in range(2):
        alone = results([t[i : i + 1, mask[i]] if t.ndim > 1 else t[i : i + 1] for t in args], n_iter=3)
        for got, expected in zip(spoilt, alone, strict=True):
            here = got[i : i + 1, mask[i]] if got.shape[1:2] == (6,) else got[i : i + 1]
            assert relative_error(here, expected) < 1e-6


def test_a_task_without_a_real_row():
    args = problem(2, 4, 3, 5)
    mask = torch.tensor([[True] * 4, [False] * 4], device=DEVICE)
    for t in results(args, n_iter=2, mask=mask):
        assert torch.isfinite(t).all()
        assert not t[1].any()


def test_nan_stays_in_its_task():
    args = problem(2, 5, 3, 4)
    with torch.no_grad():
        args[0][0, 2, 1] = float("nan")
    w, a = heterad.ops.robust_ridge(*args, n_iter=2)
    assert torch.isnan(w[0]).any()
    assert torch.isnan(a[0]).any()
    assert torch.isfinite(w[1]).all()
    assert torch.isfinite(a[1]).all()
    for i in (3, 4):
        broken = [t.detach().clone() for t in args]
        broken[i][1] = float("nan")
        w, _ = heterad.ops.robust_ridge(*broken, n_iter=2)
        assert torch.isnan(w[1]).any()


def test_tiny_mu_with_fewer_rows_than_embeddings():
    args = problem(1, 4, 9, 6, dtype=torch.float64)
    args[4] = torch.full((1,), 1e-18, dtype=torch.float64, device=DEVICE, requires_grad=True)
    for t in heterad.ops.robust_ridge(*args, n_iter=2):
        assert torch.isfinite(t).all()


def test_same_bits_every_time_and_in_any_chunks(monkeypatch):
    args = problem(3, 7, 4, 9)
    before = [t.detach().clone() for t in args]
    first, again = results(args, n_iter=2), results(args, n_iter=2)
    monkeypatch.setattr(launchers, "SCRATCH_BYTES", 1)
    chunked = results(args, n_iter=2)
    for a, b, c in zip(first, again, chunked, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)
    for t, kept in zip(args, before, strict=True):
        assert torch.equal(t, kept)


@pytest.mark.parametrize("shape", [(0, 3, 2, 4), (2, 3, 2, 0), (2, 0, 2, 4)])
def test_empty(shape):
    b, n, j, d = shape
    args = problem(b, n, j, d)
    for got, expected in zip(results(args, n_iter=2), exact(args, n_iter=2), strict=True):
        assert got.shape == expected.shape
        assert not got.any()


def test_scalar_ops_on_special_values():
    r = torch.tensor(
        [0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1.0, -1.0], device=DEVICE, requires_grad=True
    )
    t = torch.tensor(0.5, device=DEVICE, requires_grad=True)
    expected = reference.soft_threshold(r, t)
    torch.testing.assert_close(heterad.ops.soft_threshold(r, t), expected, equal_nan=True)
    assert torch.isnan(heterad.ops.soft_threshold(r, torch.tensor(float("nan"), device=DEVICE))).all()
    y = torch.tensor([0, 1, 0, 1, 0, 1, 1], device=DEVICE)
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.float16, torch.float64):
        got = heterad.ops.deviation_loss(r, y.to(dtype), reduction="none")
        want = reference.deviation_loss(r, y, 5.0, PRIOR, "none")
        torch.testing.assert_close(got, want, equal_nan=True)
    empty = torch.zeros(0, device=DEVICE, requires_grad=True)
    assert heterad.ops.deviation_loss(empty, empty, reduction="sum") == 0
    assert heterad.ops.soft_threshold(empty, t).shape == (0,)
