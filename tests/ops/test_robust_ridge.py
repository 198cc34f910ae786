"""robust_ridge: accuracy, gradients, masks that change nothing, extremes, and the descent that the method rests on."""

import contract
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import heterad
from heterad.ops import reference, robust_ridge
from heterad.testing import assert_accurate, available_backends, relative_error, sample_inputs

BACKENDS = available_backends("robust_ridge")
COMPILED = BACKENDS[1:]


@pytest.fixture(params=BACKENDS)
def backend(request):
    with heterad.ops.backend(request.param):
        yield request.param


def problem(*batch, n=12, j=5, d=7, seed=0, dtype=torch.float64, lam=0.6, mu=0.1):
    generator = torch.Generator().manual_seed(seed)
    x, h, a0 = (torch.randn(*batch, n, k, generator=generator, dtype=torch.float64) for k in (d, j, d))
    leaves = x, h, a0 * 0.3, torch.full(batch, lam), torch.full(batch, mu)
    return [t.to(dtype).requires_grad_() for t in leaves]


def results(args, **kwargs):
    """w, a, and the gradients of a generic function of both."""
    w, a = robust_ridge(*args, **kwargs)
    loss = (w * torch.linspace(-1, 1, w.numel(), dtype=w.dtype).view_as(w)).sum() + (a * a.detach().cos()).sum()
    return [w.detach(), a.detach(), *torch.autograd.grad(loss, args)]


@pytest.mark.parametrize("dtype", contract.FLOATS, ids=str)
def test_accuracy(backend, dtype):
    for sample in sample_inputs("robust_ridge", dtype):
        assert_accurate("robust_ridge", sample)


@pytest.mark.parametrize("batch", [(), (3,)])
def test_dtypes_are_promoted_to_the_largest(backend, batch):
    args = problem(*batch)
    with torch.no_grad():
        args[3:] = [t.float().requires_grad_() for t in args[3:]]
    largest = [t.detach().double().requires_grad_() for t in args]
    for got, expected in zip(results(args), results(largest), strict=True):
        torch.testing.assert_close(got.double(), expected, rtol=1e-6, atol=1e-8)


def test_what_serves_very_many_embeddings_is_exact_under_autocast():
    from heterad.kernels import wide

    args = [t.detach() for t in problem(2, dtype=torch.float32)]
    plain = wide.robust_ridge_fwd(*args, 3, None)
    with torch.autocast("cpu", torch.bfloat16):
        found = wide.robust_ridge_fwd(*args, 3, None)
    assert all(torch.equal(a, b) for a, b in zip(found, plain, strict=True))
    assert all(t.is_contiguous() for t in plain[2:])


def test_the_reference_is_the_loop_of_the_paper():
    rng = np.random.default_rng(0)
    for _ in range(300):
        n, d, j = rng.integers(1, 12, 3)
        x, h, a0 = rng.normal(size=(n, d)), rng.normal(size=(n, j)), 0.3 * rng.normal(size=(n, d))
        lam, mu = rng.uniform(0, 1.5), rng.uniform(0.02, 1)
        a = a0
        for _ in range(5):
            w = ((x + a).T @ h / n) @ np.linalg.inv(h.T @ h / n + mu * np.eye(j))
            r = h @ w.T - x
            a = np.where(r > lam / 2, r - lam / 2, np.where(r < -lam / 2, r + lam / 2, 0.0))
        got = reference.robust_ridge(*(torch.as_tensor(v, dtype=torch.float64) for v in (x, h, a0, lam, mu)), 5)
        for g, e in zip(got, (w, a), strict=True):
            assert relative_error(g, torch.as_tensor(e)) <= 1e-12


def distance_to_kinks(x, h, a0, lam, mu, n_iter, mask=None):
    gaps = []
    for i in range(1, n_iter + 1):
        w, _ = reference.robust_ridge(x, h, a0, lam, mu, i, mask)
        gap = ((h @ w.mT - x).abs() - lam[..., None, None] / 2).abs()
        gaps.append(gap.min() if mask is None else gap[mask].min())
    return min(gaps)


@pytest.mark.parametrize(("batch", "n", "j", "d"), [((), 4, 3, 3), ((), 9, 2, 3), ((2,), 5, 2, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_gradcheck(backend, batch, n, j, d, masked):
    mask = (torch.arange(n) % 3 != 1).expand(*batch, n) if masked else None
    for seed in range(100):
        args = problem(*batch, n=n, j=j, d=d, seed=seed)
        if distance_to_kinks(*args, 4, mask) >= 1e-3:
            break
    assert torch.autograd.gradcheck(
        lambda *a: robust_ridge(*a, n_iter=4, mask=mask), args, eps=1e-6, atol=1e-5, rtol=1e-3
    )


def test_contract(backend):
    contract.compiles("robust_ridge")
    if backend != "reference":  # which has no registration, and whose matmul rounds by layout
        contract.is_registered("robust_ridge")
        contract.takes_any_layout("robust_ridge")


def test_instruction_sets():
    contract.instruction_sets_are_accurate("robust_ridge")


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([(), (1,), (3,), (2, 2), (0,)]),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 70),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
)
def test_any_shape(batch, n, j, d, n_iter, masked, transposed):
    args = problem(*batch, n=n, j=j, d=d, seed=n * d + j)
    mask = torch.rand(*batch, n, generator=torch.Generator().manual_seed(d)) < 0.6 if masked else None
    expected = reference.robust_ridge(*args, n_iter, mask)
    expected_grads = torch.autograd.grad(sum(e.sum() for e in expected), args)
    leaves = [t.detach().mT.contiguous().mT.requires_grad_() if transposed and t.ndim > 1 else t for t in args]
    for name in COMPILED:
        with heterad.ops.backend(name):
            got = robust_ridge(*leaves, n_iter=n_iter, mask=mask)
            got_grads = torch.autograd.grad(sum(g.sum() for g in got), leaves)
        for g, e in zip((*got, *got_grads), (*expected, *expected_grads), strict=True):
            assert g.shape == e.shape
            # against the terms, of order one, not against what is left where a sum of them cancels
            assert (g - e).norm() <= 1e-11 * max(e.norm().item(), e.numel() ** 0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("n", "j", "d"), [(50, 32, 70), (150, 32, 33), (9, 3, 5)])
def test_a_masked_batch_is_each_task_alone(backend, dtype, n, j, d):
    generator = torch.Generator().manual_seed(5)
    args = problem(4, n=n, j=j, d=d, dtype=dtype)
    mask = torch.rand(4, n, generator=generator) < torch.tensor([[0.2], [0.5], [0.8], [0.0]])
    hidden = [a.detach().clone() for a in args]
    for t in hidden[:3]:
        t[~mask] = torch.nan
    together = results([t.requires_grad_() for t in hidden], mask=mask)
    for b in range(4):
        real = mask[b]
        alone = [a.detach()[b] for a in args]
        alone = [t[real].clone() if t.ndim else t for t in alone]
        w, a = robust_ridge(*(t.requires_grad_() for t in alone))
        weight = torch.linspace(-1, 1, together[0].numel(), dtype=dtype).view_as(together[0])[b]
        grads = torch.autograd.grad((w * weight).sum() + (a * a.detach().cos()).sum(), alone)
        for got, expected in zip(together, (w.detach(), a.detach(), *grads), strict=True):
            per_row = got[b].shape[:1] == (n,) and got[b].ndim == 2 and expected.shape[0] == real.sum()
            rows = got[b][real] if per_row else got[b]
            assert not per_row or not got[b][~real].any()
            if backend == "cpp":
                assert torch.equal(rows, expected)
            else:
                assert relative_error(rows, expected) <= 200 * torch.finfo(dtype).eps


def test_gradients_of_one_output_alone(backend):
    args = problem(2, n=20, j=4, d=40)
    both = robust_ridge(*args)
    for i in (0, 1):
        expected = torch.autograd.grad(reference.robust_ridge(*args)[i].square().sum(), args)
        got = torch.autograd.grad(both[i].square().sum(), args, retain_graph=True)
        for g, e in zip(got, expected, strict=True):
            assert relative_error(g, e) <= 1e-11


def test_runs_are_bitwise_equal(backend):
    args = problem(3, n=40, j=32, d=130, dtype=torch.float32)
    first = results(args)
    assert all(contract.equal(first, results(args)) for _ in range(9))


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_scales_of_x(backend, scale):
    args = problem(n=40, j=8, d=20, dtype=torch.float32)
    w, a = robust_ridge(*args)
    x, h, a0, lam, mu = (t.detach() for t in args)
    scaled_w, scaled_a = robust_ridge(x * scale, h, a0 * scale, lam * scale, mu)
    assert relative_error(scaled_w / scale, w) <= 1e-5
    assert relative_error(scaled_a / scale, a) <= 1e-5


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scales_of_h(scale):
    """mu is in the units of h squared; in float32 plain torch overflows here."""
    args = problem(n=40, j=8, d=20, dtype=torch.float32)
    exact = reference.robust_ridge(args[0].double(), args[1].double() * scale, *(t.double() for t in args[2:]))
    for name in COMPILED:
        with heterad.ops.backend(name):
            w, a = robust_ridge(args[0], args[1] * scale, *args[2:])
        assert relative_error(a, exact[1]) <= 1e-5
        assert scale < 1 or relative_error(w, exact[0]) <= 1e-5


def test_lam_of_infinity_is_plain_ridge_regression(backend):
    x, h, a0, _, mu = problem(n=30, j=6, d=50, dtype=torch.float32)
    w, a = robust_ridge(x, h, a0, torch.tensor(torch.inf), mu)
    assert not a.any()
    expected = reference.ridge_solve(h.double(), x.double(), mu.double())
    assert relative_error(w, expected) <= 1e-5


def test_lam_of_zero_and_tiny_mu(backend):
    args = problem(n=30, j=6, d=9, lam=0.0)
    w, a = robust_ridge(*args)
    x, h = args[:2]
    assert relative_error(a, h @ w.mT - x) <= 1e-13
    args = problem(n=30, j=6, d=9, mu=1e-13)
    assert relative_error(robust_ridge(*args)[0], reference.robust_ridge(*args)[0]) <= 1e-9


def test_duplicate_rows_and_constant_features(backend):
    args = problem(n=24, j=6, d=9)
    x, h, a0, lam, mu = (t.detach().clone() for t in args)
    x[1::2], h[1::2], a0[1::2] = x[::2].clone(), h[::2].clone(), a0[::2].clone()
    h[:, :2] = 1.0
    leaves = [t.requires_grad_() for t in (x, h, a0, lam, mu)]
    got = results(leaves)
    with heterad.ops.backend("reference"):
        expected = results(leaves)
    assert all(relative_error(g, e) <= 1e-10 for g, e in zip(got, expected, strict=True))
    assert torch.equal(got[1][::2], got[1][1::2])


def test_not_positive_definite(backend):
    args = problem(3, n=8, j=2, d=3)
    x, h, a0, lam, mu = (t.detach().clone() for t in args)
    h[1], mu[1] = 1.0, 1e-40
    expected = r"mu: expected .*task 1 .*got 1e-40" if backend == "cpp" else None
    with pytest.raises(torch.linalg.LinAlgError, match=expected):
        robust_ridge(x, h, a0, lam, mu)


def test_nan_shows_where_it_belongs(backend):
    args = problem(2, n=20, j=4, d=40)
    clean = [t.detach() for t in robust_ridge(*args)]
    x, h, a0, lam, mu = (t.detach().clone() for t in args)
    x[0, 3, 35] = torch.nan
    leaves = [t.requires_grad_() for t in (x, h, a0, lam, mu)]
    w, a = robust_ridge(*leaves)
    assert w[0, 35].isnan().all()
    assert a[0, :, 35].isnan().all()
    others = torch.arange(40) != 35
    assert torch.equal(w[:, others], clean[0][:, others]) or relative_error(w[:, others], clean[0][:, others]) <= 1e-13
    grads = torch.autograd.grad(w.nansum() + a.sum(), leaves)
    if backend != "reference":  # torch.sign has no slope at NaN either, and hides it
        assert grads[0][0, :, 35].isnan().any()
    assert grads[1][0].isnan().any()
    assert not grads[1][1].isnan().any()


def test_nan_in_lambda_spoils_its_task_alone(backend):
    x, h, a0, _, mu = (t.detach() for t in problem(2, n=20, j=4, d=40))
    lam = torch.tensor([torch.nan, 0.5], dtype=x.dtype)
    w, a = robust_ridge(x, h, a0, lam, mu, n_iter=3)
    assert w[0].isnan().all()
    assert a[0].isnan().all()
    for got, alone in zip((w, a), robust_ridge(x[1], h[1], a0[1], lam[1], mu[1], n_iter=3), strict=True):
        assert torch.equal(got[1], alone) or relative_error(got[1], alone) <= 1e-13


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_h_that_is_not_finite_spoils_its_task_alone(backend, bad):
    x, h, a0, lam, mu = (t.detach() for t in problem(2, n=20, j=4, d=40))
    clean = robust_ridge(x, h, a0, lam, mu)
    h[0, 3, 1] = bad
    w, a = robust_ridge(x, h, a0, lam, mu)
    assert w[0].isnan().any(-1).all()
    assert a[0].isnan().any()
    assert torch.equal(w[1], clean[0][1])
    assert torch.equal(a[1], clean[1][1])


def test_a_second_derivative_raises():
    args = problem()
    for name in COMPILED:
        with heterad.ops.backend(name):
            w, _ = robust_ridge(*args)
            (grad,) = torch.autograd.grad(w.square().sum(), args[0], create_graph=True)
            with pytest.raises(RuntimeError, match="robust_ridge cannot be differentiated twice"):
                grad.sum().backward()


def objective(x, h, lam, mu, w, a):
    n = x.shape[-2]
    return ((x + a - h @ w.mT).square().sum() + lam * a.abs().sum()) / n + mu * w.square().sum()


def test_the_objective_never_rises(backend):
    for seed in range(5):
        args = problem(n=25, j=6, d=33, seed=seed)
        x, h, a0, lam, mu = args
        values, a = [], a0
        for i in range(1, 12):
            w, after = robust_ridge(*args, n_iter=i)
            values += [objective(x, h, lam, mu, w, a), objective(x, h, lam, mu, w, after)]
            a = after
        values = torch.stack(values)
        assert (values.diff() <= 1e-12 * values[:-1]).all()


def test_the_limit_is_a_minimum(backend):
    """Gradient in W zero; in A, a residual of lam/2 towards zero where A is not zero, and at most that where it is."""
    args = problem(n=25, j=4, d=10)
    x, h, _, lam, mu = args
    w, a = robust_ridge(*args, n_iter=3000)
    residual = x + a - h @ w.mT
    slope_w = -2 * residual.mT @ h / 25 + 2 * mu * w
    assert slope_w.abs().max() <= 1e-5
    inside = a == 0
    assert (residual[inside].abs() <= lam / 2 + 1e-5).all()
    assert (residual[~inside] + lam / 2 * a[~inside].sign()).abs().max() <= 1e-5
