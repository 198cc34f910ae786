"""ridge_solve: accuracy, gradients, masks that change nothing, extremes."""

import contract
import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

import heterad
from heterad.ops import reference, ridge_solve
from heterad.testing import assert_accurate, available_backends, relative_error, sample_inputs

BACKENDS = available_backends("ridge_solve")
COMPILED = BACKENDS[1:]


@pytest.fixture(params=BACKENDS)
def backend(request):
    with heterad.ops.backend(request.param):
        yield request.param


def problem(*batch, n=12, j=5, d=7, seed=0, dtype=torch.float64, mu=0.1):
    generator = torch.Generator().manual_seed(seed)
    h, y = (torch.randn(*batch, n, k, generator=generator, dtype=torch.float64) for k in (j, d))
    return [t.to(dtype).requires_grad_() for t in (h, y, torch.full(batch, mu))]


def results(args, **kwargs):
    w = ridge_solve(*args, **kwargs)
    return [w.detach(), *torch.autograd.grad(w.sin().sum(), args)]


def test_dtypes_are_promoted_to_the_largest(backend):
    h, y, mu = problem(3)
    expected = ridge_solve(h, y, mu.detach().float().double())
    torch.testing.assert_close(ridge_solve(h, y, mu.detach().float()), expected)


@pytest.mark.parametrize("dtype", contract.FLOATS, ids=str)
def test_accuracy(backend, dtype):
    for sample in sample_inputs("ridge_solve", dtype):
        assert_accurate("ridge_solve", sample)


def test_the_reference_is_the_closed_form():
    rng = np.random.default_rng(0)
    for _ in range(300):
        n, d, j = rng.integers(1, 12, 3)
        h, y, mu = rng.normal(size=(n, j)), rng.normal(size=(n, d)), rng.uniform(0.02, 1)
        expected = (y.T @ h / n) @ np.linalg.inv(h.T @ h / n + mu * np.eye(j))
        got = reference.ridge_solve(*(torch.as_tensor(v, dtype=torch.float64) for v in (h, y, mu)))
        assert relative_error(got, torch.as_tensor(expected)) <= 1e-12


def test_equals_scikit_learn(backend):
    h, y, mu = (t.detach() for t in problem(n=30, j=6, d=4))
    model = Ridge(alpha=30 * mu.item(), fit_intercept=False, solver="cholesky").fit(h.numpy(), y.numpy())
    assert relative_error(ridge_solve(h, y, mu), torch.as_tensor(model.coef_)) <= 1e-12


@pytest.mark.parametrize(("batch", "n", "j", "d"), [((), 4, 3, 3), ((), 9, 2, 3), ((2,), 5, 2, 2), ((), 2, 4, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(backend, batch, n, j, d, masked):
    mask = (torch.arange(n) % 3 != 1).expand(*batch, n) if masked else None
    args = problem(*batch, n=n, j=j, d=d)
    assert torch.autograd.gradcheck(lambda *a: ridge_solve(*a, mask=mask), args, eps=1e-6, atol=1e-5, rtol=1e-3)


def test_contract(backend):
    contract.compiles("ridge_solve")
    if backend != "reference":  # which has no registration, and whose matmul rounds by layout
        contract.is_registered("ridge_solve")
        contract.takes_any_layout("ridge_solve")


def test_instruction_sets():
    contract.instruction_sets_are_accurate("ridge_solve")


@pytest.mark.parametrize(
    ("batch", "n", "j", "d"),
    [((0,), 3, 2, 2), ((), 0, 2, 3), ((), 3, 2, 0), ((), 3, 0, 2), ((2,), 0, 0, 0), ((2, 0), 4, 1, 1)],
)
def test_nothing_to_solve(backend, batch, n, j, d):
    args = problem(*batch, n=n, j=j, d=d)
    w, *grads = results(args)
    assert w.shape == (*batch, d, j)
    assert not w.any() or n > 0
    assert [g.shape for g in grads] == [a.shape for a in args]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("n", "j", "d"), [(50, 32, 70), (9, 3, 5)])
def test_a_masked_batch_is_each_task_alone(backend, dtype, n, j, d):
    args = problem(4, n=n, j=j, d=d, dtype=dtype)
    share = torch.tensor([[0.2], [0.5], [0.8], [0.0]])
    mask = torch.rand(4, n, generator=torch.Generator().manual_seed(5)) < share
    hidden = [a.detach().clone() for a in args]
    for t in hidden[:2]:
        t[~mask] = torch.nan
    w, grad_h, grad_y, grad_mu = results([t.requires_grad_() for t in hidden], mask=mask)
    assert not grad_h[~mask].any()
    assert not grad_y[~mask].any()
    for b in range(4):
        alone = [args[0].detach()[b][mask[b]], args[1].detach()[b][mask[b]], args[2].detach()[b]]
        expected = results([t.clone().requires_grad_() for t in alone])
        got = w[b], grad_h[b][mask[b]], grad_y[b][mask[b]], grad_mu[b]
        for g, e in zip(got, expected, strict=True):
            assert torch.equal(g, e) if backend == "cpp" else relative_error(g, e) <= 200 * torch.finfo(dtype).eps


def test_runs_are_bitwise_equal(backend):
    args = problem(3, n=40, j=32, d=130, dtype=torch.float32)
    first = results(args)
    assert all(contract.equal(first, results(args)) for _ in range(9))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_of_y(backend, scale):
    h, y, mu = (t.detach() for t in problem(n=40, j=8, d=20, dtype=torch.float32))
    assert relative_error(ridge_solve(h, y * scale, mu) / scale, ridge_solve(h, y, mu)) <= 1e-5


@pytest.mark.parametrize("scale", [1e-15, 1e30])
def test_scales_of_h(scale):
    """In float32 plain torch overflows at the larger one."""
    h, y, mu = (t.detach() for t in problem(n=40, j=8, d=20, dtype=torch.float32))
    exact = reference.ridge_solve(h.double() * scale, y.double(), mu.double())
    for name in COMPILED:
        with heterad.ops.backend(name):
            assert relative_error(ridge_solve(h * scale, y, mu), exact) <= 1e-5


def test_many_systems(backend):
    h, y, mu = (t.detach() for t in problem(300, n=32, j=32, d=64, dtype=torch.float32))
    expected = reference.ridge_solve(h.double(), y.double(), mu.double())
    assert relative_error(ridge_solve(h, y, mu), expected) <= 1e-5


def test_not_positive_definite(backend):
    h, y, mu = (t.detach().clone() for t in problem(3, n=8, j=2, d=3))
    h[1], mu[1] = 1.0, 1e-40
    expected = r"mu: expected .*task 1 .*got 1e-40" if backend == "cpp" else None
    with pytest.raises(torch.linalg.LinAlgError, match=expected):
        ridge_solve(h, y, mu)


def test_nan_shows_where_it_belongs(backend):
    h, y, mu = (t.detach().clone() for t in problem(2, n=20, j=4, d=40))
    clean = ridge_solve(h, y, mu)
    y[0, 3, 35] = torch.nan
    w = ridge_solve(h, y, mu)
    assert w[0, 35].isnan().all()
    assert w.isnan().sum() == 4
    h[0, 2, 1] = torch.nan
    w = ridge_solve(h, y, mu)
    assert w[0].isnan().all()
    assert torch.equal(w[1], clean[1])


def test_a_second_derivative_raises():
    args = problem()
    for name in COMPILED:
        with heterad.ops.backend(name):
            (grad,) = torch.autograd.grad(ridge_solve(*args).square().sum(), args[0], create_graph=True)
            with pytest.raises(RuntimeError, match="ridge_solve cannot be differentiated twice"):
                grad.sum().backward()
