"""The CUDA kernels of robust_ridge run as they are written, thread by thread, on a small emulation of CUDA."""

from __future__ import annotations

import ctypes

import pytest
import torch
from emulation import address, emulated
from torch import Tensor

import heterad
from heterad.testing import assert_accurate, relative_error, sample_inputs
from heterad.testing.samples import Sample

BUDGET = 1 << 28


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return emulated("robust_ridge", tmp_path_factory.mktemp("emulated"), "-DHETERAD_SUMS_BLOCKS=7")


class Emulated(torch.autograd.Function):
    """The op as the emulation computes it, of tasks in one batch dimension."""

    @staticmethod
    def forward(ctx, library, budget, n_iter, mask, x, h, a0, lam, mu):
        ctx.library, ctx.budget, ctx.args = library, budget, (n_iter, mask, x, h, a0, lam, mu)
        ctx.set_materialize_grads(False)
        return tuple(run(library, budget, *ctx.args, None, None)[:2])

    @staticmethod
    def backward(ctx, grad_w, grad_a):
        grads = (None if g is None else g.contiguous() for g in (grad_w, grad_a))
        return None, None, None, None, *run(ctx.library, ctx.budget, *ctx.args, *grads)[2:]


def run(library, budget, n_iter, mask, x, h, a0, lam, mu, grad_w, grad_a) -> list[Tensor]:
    (tasks, n, d), j = x.shape, h.shape[-1]
    inputs = [t.detach().contiguous() for t in (x, h, a0, lam, mu)]
    w, u, li = x.new_full((tasks, d, j), 7), torch.full_like(inputs[1], 7), x.new_full((tasks, j, j), 7)
    outputs = [w, torch.full_like(inputs[0], 7), u, li, *(torch.full_like(t, 7) for t in inputs)]
    function = library.robust_ridge_f64 if x.dtype == torch.float64 else library.robust_ridge_f32
    sizes = map(ctypes.c_int64, (tasks, n, d, j, n_iter))
    pointers = map(address, (*inputs, mask, grad_w, grad_a, *outputs))
    error = function(*sizes, *pointers, ctypes.c_size_t(budget))
    assert error is None, error
    return [*outputs[:2], *outputs[4:]]


def robust_ridge(library, x, h, a0, lam, mu, *, n_iter=10, mask=None, budget=BUDGET) -> tuple[Tensor, Tensor]:
    """As ``heterad.ops.robust_ridge``."""
    batch = x.shape[:-2]
    size = batch.numel()
    flat = [t.reshape(size, *t.shape[-2:]) for t in (x, h, a0)]
    flat += [t.expand(batch).reshape(size) for t in (lam, mu)]
    mask = None if mask is None else mask.expand(x.shape[:-1]).reshape(size, -1).contiguous()
    w, a = Emulated.apply(library, budget, n_iter, mask, *flat)
    return w.reshape(*batch, *w.shape[1:]), a.reshape(x.shape)


def some(tasks: int, n: int, d: int, j: int, dtype=torch.float64) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(n + d + j)
    x, h, a0 = (torch.randn(tasks, *s, generator=draw, dtype=torch.float64) for s in ((n, d), (n, j), (n, d)))
    lam, mu = (torch.linspace(low, 1, tasks, dtype=torch.float64) for low in (0.5, 0.1))
    return tuple(t.to(dtype).requires_grad_() for t in (x, h * 0.7, a0, lam, mu))


def results(function, args, **kwargs) -> list[Tensor]:
    w, a = function(*args, **kwargs)
    return [w, a, *torch.autograd.grad((w * w.detach().cos()).sum() + (a * 0.3).sum() + a.square().sum(), args)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_as_accurate_as_torch(library, dtype) -> None:
    for sample in sample_inputs("robust_ridge", dtype, size="small"):
        x, h, *_ = sample.args
        if h.shape[-1] <= (64 if dtype == torch.float32 else 32) and x.numel() < 2000:
            sample.kwargs.setdefault("n_iter", 3)
            assert_accurate("robust_ridge", sample, lambda *args, **kw: robust_ridge(library, *args, **kw))


@pytest.mark.parametrize(
    ("tasks", "n", "d", "j", "n_iter", "masked"),
    [
        (2, 5, 70, 3, 4, True),
        (1, 16, 131, 16, 1, False),
        (2, 17, 33, 17, 2, True),
        (1, 70, 5, 32, 3, True),
        (1, 130, 40, 20, 2, False),
        (3, 1, 1, 1, 5, False),
    ],
)
def test_value_and_gradients(library, tasks, n, d, j, n_iter, masked) -> None:
    args = some(tasks, n, d, j)
    mask = torch.rand(tasks, n, generator=torch.Generator().manual_seed(0)) < 0.7 if masked else None
    with heterad.ops.backend("reference"):
        expected = results(heterad.ops.robust_ridge, args, n_iter=n_iter, mask=mask)
    for budget in (BUDGET, 0):  # all tasks at once, one by one
        got = results(lambda *a, **kw: robust_ridge(library, *a, **kw), args, n_iter=n_iter, mask=mask, budget=budget)
        for g, e in zip(got, expected, strict=True):
            assert relative_error(g, e) <= 1e-11


def test_a_last_chunk_of_fewer_tasks(library) -> None:
    """Seven of thirteen tasks fit in the budget; the six left would have their sums shared out twice as far."""
    args = some(13, 63, 64, 32)
    with heterad.ops.backend("reference"):
        expected = results(heterad.ops.robust_ridge, args, n_iter=1)
    got = results(lambda *a, **kw: robust_ridge(library, *a, **kw), args, n_iter=1, budget=900_000)
    for g, e in zip(got, expected, strict=True):
        assert relative_error(g, e) <= 1e-11


def test_many_embeddings_in_float32(library) -> None:
    sample = Sample("many", tuple(some(2, 40, 70, 50, torch.float32)), {"n_iter": 3})
    assert_accurate("robust_ridge", sample, lambda *args, **kw: robust_ridge(library, *args, **kw))


def test_rows_that_are_not_real_are_not_read(library) -> None:
    x, h, a0, lam, mu = (t.detach() for t in some(2, 9, 35, 4))
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    for t in (x, h, a0):
        t[~mask] = float("nan")
    args = tuple(t.requires_grad_() for t in (x, h, a0, lam, mu))
    got = results(lambda *a, **kw: robust_ridge(library, *a, **kw), args, n_iter=3, mask=mask)
    assert all(t.isfinite().all() for t in got)
    for t in (got[1], *got[2:5]):
        assert (t[~mask] == 0).all()


def test_one_gradient_from_above_and_what_is_not_a_number(library) -> None:
    args = some(1, 9, 12, 4)
    for part in range(2):
        with heterad.ops.backend("reference"):
            expected = torch.autograd.grad(heterad.ops.robust_ridge(*args, n_iter=3)[part].sum(), args)
        got = torch.autograd.grad(robust_ridge(library, *args, n_iter=3)[part].sum(), args)
        for g, e in zip(got, expected, strict=True):
            assert relative_error(g, e) <= 1e-11
    x = args[0].detach().clone()
    x[0, 2, 3] = float("nan")
    w, a = robust_ridge(library, x, *args[1:], n_iter=3)
    assert w[0, 3].isnan().all()
    assert w[0, [0, 1, 2, *range(4, 12)]].isfinite().all()
    assert a[0, 2, 3].isnan()


def test_nothing_to_do(library) -> None:
    for shape in ((0, 3, 4, 2), (1, 3, 0, 2), (1, 0, 4, 2)):
        args = some(*shape)
        w, a = robust_ridge(library, *args)
        assert (w == 0).all()
        assert all(g.isfinite().all() for g in torch.autograd.grad(w.sum() + a.sum(), args))
