"""soft_threshold: accuracy, both derivatives, and what happens at and beyond the kinks."""

import contract
import pytest
import torch

import heterad
from heterad.ops import soft_threshold
from heterad.testing import assert_accurate, available_backends, sample_inputs

BACKENDS = available_backends("soft_threshold")


@pytest.fixture(params=BACKENDS)
def backend(request):
    with heterad.ops.backend(request.param):
        yield request.param


@pytest.mark.parametrize("dtype", contract.FLOATS, ids=str)
def test_accuracy(backend, dtype):
    for sample in sample_inputs("soft_threshold", dtype):
        assert_accurate("soft_threshold", sample)


def test_values_at_and_around_the_threshold(backend):
    r = torch.tensor([-3.0, -1.0, -0.999, 0.0, 0.5, 1.0, 1.25], requires_grad=True)
    t = torch.tensor(1.0, requires_grad=True)
    out = soft_threshold(r, t)
    assert out.tolist() == [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25]
    out.backward(torch.arange(1.0, 8.0))
    assert r.grad.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 7.0]
    assert t.grad == 1.0 - 7.0


def test_a_number_is_a_threshold_too(backend):
    r = torch.randn(7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(soft_threshold(r, 0.5), soft_threshold(r, torch.tensor(0.5)))
    assert torch.equal(soft_threshold(r, 0), r)


def test_nan_infinity_and_extremes(backend):
    nan, inf = float("nan"), float("inf")
    out = soft_threshold(torch.tensor([nan, inf, -inf, 1e30, -1e-30]), 1.0)
    assert out[0].isnan()
    assert out[1:].tolist() == [inf, -inf, torch.tensor(1e30).item(), 0.0]
    assert soft_threshold(torch.tensor([3.0, -3.0]), inf).tolist() == [0.0, 0.0]
    assert soft_threshold(torch.tensor([3.0, 0.0, inf]), nan).isnan().all()
    assert soft_threshold(torch.empty(0, 3), 0.5).shape == (0, 3)


def test_both_derivatives(backend):
    generator = torch.Generator().manual_seed(1)
    r = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    assert (r.abs() - 0.4).abs().min() > 1e-3
    leaves = r.requires_grad_(), torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(soft_threshold, leaves)
    assert torch.autograd.gradgradcheck(soft_threshold, leaves)


def test_only_what_is_asked_for_gets_a_gradient(backend):
    r = torch.randn(5)
    t = torch.tensor(0.1, requires_grad=True)
    soft_threshold(r, t).sum().backward()
    assert r.grad is None
    assert t.grad is not None


def test_the_contract(backend):
    if backend != "reference":
        contract.is_registered("soft_threshold")
    contract.compiles("soft_threshold", exact=backend != "reference")
    contract.takes_any_layout("soft_threshold", exact=backend != "reference")


def test_instruction_sets():
    contract.instruction_sets_agree("soft_threshold", 32)


@pytest.mark.parametrize("name", BACKENDS[1:])
def test_the_same_bits_for_any_number_of_threads(name):
    before = torch.get_num_threads()
    r = torch.randn(300_001, generator=torch.Generator().manual_seed(2)).requires_grad_()
    t = torch.tensor(0.3, requires_grad=True)
    runs = []
    with heterad.ops.backend(name):
        try:
            for threads in (1, 2, 3, 2, 1):
                torch.set_num_threads(threads)
                out = soft_threshold(r, t)
                runs.append([out.detach(), *torch.autograd.grad(out.sum(), (r, t))])
        finally:
            torch.set_num_threads(before)
    assert all(contract.equal(runs[0], other) for other in runs[1:])
