"""The compiled forms of the networks give what torch's own ops give, in every derivative, and step aside when told."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from heterad import ops
from heterad.nn import MLP, fused_mlp, reconstruction
from heterad.ops import _backend

WIDTHS = [(5, 8, 3), (16, 16), (115, 33, 17, 1), (256, 32, 32, 32), (617, 32, 32, 32, 617)]
ATOL = {torch.float64: 1e-12, torch.float32: 1e-6}  # sums of 700 rows in another order
BATCHES = [((), 1), ((3,), 13), ((2, 2), 7), ((1,), 700)]

compiled = pytest.mark.skipif(_backend.why_not("cpp") is not None, reason="the C++ extension is not built")


def mlp_inputs(widths: tuple[int, ...], batch: tuple[int, ...], n: int, context: int, dtype: torch.dtype) -> list:
    g = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=g, dtype=dtype) / shape[-1] ** 0.5).requires_grad_()

    layers = [t for a, b in pairwise(widths) for t in (draw(b, a), draw(b))]
    z, v = (draw(*batch, context), draw(widths[1], context)) if context else (None, None)
    return [draw(*batch, n, widths[0]), z, v, *layers]


def values(function, inputs: list) -> list[Tensor]:
    """The output and the gradient of every tensor."""
    out = function(*inputs)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return [out, *torch.autograd.grad(out, [t for t in inputs if t is not None], upstream)]


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got.detach() - expected.detach()).norm() / expected.detach().norm().clamp(min=1e-30))


def double(inputs: list) -> list:
    return [None if t is None else t.detach().double().requires_grad_() for t in inputs]


@compiled
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("context", [0, 4])
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("widths", WIDTHS)
def test_the_network_equals_torchs_ops(widths, batch, context, dtype) -> None:
    inputs = mlp_inputs(widths, *batch, context, dtype)
    assert fused_mlp.serves(*inputs)
    exact = values(fused_mlp.plain, double(inputs))
    for got, plain, e in zip(values(fused_mlp.mlp, inputs), values(fused_mlp.plain, inputs), exact, strict=True):
        assert relative(got, e) <= 2 * relative(plain, e) + ATOL[dtype]


@compiled
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("batch", "n", "d", "j"), [((), 1, 1, 1), ((3,), 50, 617, 32), ((2, 2), 100, 115, 20)])
def test_the_error_equals_torchs_ops(batch, n, d, j, dtype) -> None:
    g = torch.Generator().manual_seed(0)
    shapes = (*batch, n, d), (*batch, n, j), (*batch, d, j)
    inputs = [torch.randn(s, generator=g, dtype=dtype).requires_grad_() for s in shapes]
    exact = values(reconstruction.plain, double(inputs))
    for got, plain, e in zip(
        values(reconstruction.reconstruction_error, inputs), values(reconstruction.plain, inputs), exact, strict=True
    ):
        assert relative(got, e) <= 2 * relative(plain, e) + ATOL[dtype]


@pytest.mark.parametrize("function", [fused_mlp.mlp, reconstruction.reconstruction_error])
def test_second_derivatives_and_numerical_ones(function) -> None:
    if function is fused_mlp.mlp:
        inputs = mlp_inputs((3, 4, 2), (2,), 3, 2, torch.float64)
    else:
        g = torch.Generator().manual_seed(0)
        inputs = [torch.randn(s, generator=g, dtype=torch.float64).requires_grad_() for s in ((3, 4), (3, 2), (4, 2))]
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


def test_only_the_gradients_asked_for_are_given() -> None:
    inputs = mlp_inputs((5, 8, 3), (2,), 4, 3, torch.float32)
    frozen = [None if t is None else t.detach() for t in inputs]
    frozen[3] = inputs[3]
    (grad,) = torch.autograd.grad(fused_mlp.mlp(*frozen).sum(), [inputs[3]])
    (expected,) = torch.autograd.grad(fused_mlp.plain(*frozen).sum(), [inputs[3]])
    torch.testing.assert_close(grad, expected)
    with torch.no_grad():
        assert not fused_mlp.mlp(*inputs).requires_grad


def test_a_task_vector_without_weights_is_no_context() -> None:
    x, z, _, *layers = mlp_inputs((5, 8, 3), (2,), 4, 3, torch.float32)
    assert torch.equal(fused_mlp.mlp(x, z, None, *layers), fused_mlp.mlp(x, None, None, *layers))


@compiled
def test_nan_is_not_hidden() -> None:
    inputs = mlp_inputs((5, 8, 8, 3), (2,), 4, 3, torch.float32)
    inputs[0].data[1, 2] = torch.nan
    out = fused_mlp.mlp(*inputs)
    assert out[1, 2].isnan().all()
    assert out[0].isfinite().all()


@compiled
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    inputs = mlp_inputs((256, 32, 32, 32), (40,), 50, 32, torch.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = values(fused_mlp.mlp, inputs)
        torch.set_num_threads(2)
        two = values(fused_mlp.mlp, inputs)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_transforms_modes_and_the_reference_see_torchs_ops(monkeypatch) -> None:
    def refuse(*_):
        raise AssertionError("the compiled form was called")

    net = MLP((3, 4, 2), torch.Generator().manual_seed(0), context=2)
    x, z = torch.rand(5, 6, 3), torch.rand(5, 2)
    expected = net(x, z)
    monkeypatch.setattr(fused_mlp, "_apply", refuse)
    monkeypatch.setattr(fused_mlp, "_forward", refuse)
    torch.testing.assert_close(torch.func.vmap(net)(x, z), expected)
    with ops.backend("reference"):
        torch.testing.assert_close(net(x, z), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(x, z).dtype == torch.bfloat16
    torch.testing.assert_close(torch.compile(net, backend="eager", fullgraph=True)(x, z), expected)
