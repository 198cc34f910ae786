"""The ops under torch.func, forward-mode derivatives, fake tensors and torch.jit.trace: right, or refused by name."""

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

import heterad
from heterad.testing import Sample, available_backends, relative_error, sample_inputs

OPS = ("deviation_loss", "ridge_solve", "robust_ridge", "roc_auc", "smoothed_auc", "soft_threshold")
DIFFERENTIABLE = tuple(op for op in OPS if op != "roc_auc")
pytestmark = pytest.mark.skipif(not available_backends("ridge_solve")[1:], reason="the reference is torch's own ops")


def leaves(op: str) -> tuple[Sample, list[torch.Tensor]]:
    """A sample with batch dimensions where the op has them, and plain copies of its leaves."""
    sample = next(s for s in sample_inputs(op, size="small") if s.args[0].ndim > 1 and not s.kwargs)
    return sample, [a.detach() for a in sample.args if a.requires_grad]


def function(op: str, sample: Sample):
    """The op as a function of its leaves alone."""

    def call(*leaves):
        given = iter(leaves)
        out = getattr(heterad.ops, op)(*(next(given) if a.requires_grad else a for a in sample.args), **sample.kwargs)
        return out if isinstance(out, tuple) else (out,)

    return call


def close(got, expected) -> bool:
    return all(relative_error(a, b) <= 1e-6 for a, b in zip(got, expected, strict=True))


def derivatives(call, values):
    values = [v.clone().requires_grad_() for v in values]
    return torch.autograd.grad(sum(o.sum() for o in call(*values)), values)


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_pullback_outlives_its_transform(op):
    sample, values = leaves(op)
    call = function(op, sample)
    outputs, pullback = torch.func.vjp(call, *values)
    assert close(pullback(tuple(map(torch.ones_like, outputs))), derivatives(call, values))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_vmap_is_a_call_for_each_slice(op):
    sample, values = leaves(op)
    call = function(op, sample)
    some = [torch.stack([v, v * 1.5]) for v in values]
    slices = [[s[i] for s in some] for i in range(2)]
    for got, expected in zip(torch.func.vmap(call)(*some), zip(*(call(*s) for s in slices), strict=True), strict=True):
        assert torch.equal(got, torch.stack(expected))
    each = torch.func.grad(lambda *v: sum(o.sum() for o in call(*v)), argnums=tuple(range(len(values))))
    for got, expected in zip(
        torch.func.vmap(each)(*some), zip(*(derivatives(call, s) for s in slices), strict=True), strict=True
    ):
        assert close(got, torch.stack(expected))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_jacobians_by_rows():
    sample, (h, y, mu) = leaves("ridge_solve")
    call = function("ridge_solve", sample)
    with heterad.ops.backend("reference"):
        (expected,) = torch.func.jacrev(call)(h.double(), y.double(), mu.double())
    assert relative_error(torch.func.jacrev(call)(h, y, mu)[0], expected) < 1e-5


@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_forward_mode_is_refused_and_not_dropped(op):
    sample, values = leaves(op)
    call = function(op, sample)
    refusal = pytest.raises(RuntimeError, match=f"heterad::{op} has no forward-mode derivative")
    with forward_ad.dual_level():
        dual = [forward_ad.make_dual(v, torch.ones_like(v)) for v in values]
        with refusal:
            call(*dual)
    with refusal:
        torch.func.jvp(call, tuple(values), tuple(map(torch.ones_like, values)))


@pytest.mark.parametrize("op", OPS)
def test_fake_tensors_and_make_fx(op):
    sample = sample_inputs(op, size="small")[2]
    values = [a.detach() for a in sample.args if isinstance(a, torch.Tensor)]

    def call(*args):
        out = getattr(heterad.ops, op)(*args, **sample.kwargs)
        return out if isinstance(out, tuple) else (out,)

    expected = call(*values)
    with FakeTensorMode() as mode:
        fake = call(*map(mode.from_tensor, values))
    assert [(f.shape, f.dtype) for f in fake] == [(e.shape, e.dtype) for e in expected]
    traced = make_fx(call)(*values)
    assert all(torch.equal(a, b) for a, b in zip(traced(*values), expected, strict=True))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_a_traced_module_computes_and_does_not_remember(op):
    sample, values = leaves(op)
    call = function(op, sample)
    traced = torch.jit.trace(call, tuple(values), check_trace=False)
    other = [v * 1.25 for v in values]
    assert all(torch.equal(a, b) for a, b in zip(traced(*other), call(*other), strict=True))
