"""Adapting and scoring in one call gives what the parts give, in every derivative, and steps aside when told."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from heterad import ops
from heterad.methods import RobustMeta
from heterad.nn import MLP, fused_scores
from heterad.ops import _backend
from heterad.train import Vector

D, N, M = 7, 13, 5
OPTIONS = [{}, {"encoder": "sum"}, {"task_in_h": False}, {"task_in_start": False}, {"n_iter": 1}]
OTHERS = [
    {"formulation": "svdd"},
    {"encoder": "set-transformer"},
    {"attributes": False},
    {"learned_start": False},
    {"per_feature": True},
    {"task_in_h": False, "task_in_start": False},
]

compiled = pytest.mark.skipif(_backend.why_not("cpp") is not None, reason="the C++ extension is not built")


def made(options: dict, tasks: int, masked: bool, dtype: torch.dtype = torch.float64) -> tuple[RobustMeta, tuple]:
    g = torch.Generator().manual_seed(1)
    learner = RobustMeta(D, torch.Generator().manual_seed(0), **options).to(dtype)
    rows = torch.randn(tasks, N + M, D, generator=g, dtype=dtype)
    mask = torch.rand(tasks, N, generator=g) > 0.3 if masked else None
    return learner, (learner.task_encoder, learner.autoencoder, rows, N, mask)


def values(function, learner: RobustMeta, arguments: tuple) -> list[Tensor]:
    scores = function(*arguments)
    upstream = torch.randn(scores.shape, generator=torch.Generator().manual_seed(2), dtype=scores.dtype)
    return [scores, *torch.autograd.grad(scores, list(learner.parameters()), upstream)]


def fused(arguments: tuple) -> bool:
    return "_Fused" in type(fused_scores.query_scores(*arguments).grad_fn).__name__


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got.detach() - expected.detach()).norm() / expected.detach().norm().clamp(min=1e-30))


@compiled
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_equals_the_parts(options, tasks, masked) -> None:
    learner, arguments = made(options, tasks, masked)
    assert fused(arguments)
    ours, parts = (values(f, learner, arguments) for f in (fused_scores.query_scores, fused_scores.plain))
    for got, expected in zip(ours, parts, strict=True):
        assert relative(got, expected) < 1e-12
    with torch.no_grad():
        assert torch.equal(fused_scores.query_scores(*arguments), ours[0])


@compiled
@pytest.mark.parametrize("masked", [False, True])
def test_float32_is_as_near_to_float64_as_the_parts_are(masked) -> None:
    learner, arguments = made({}, 3, masked, torch.float32)
    ours, parts = (values(f, learner, arguments) for f in (fused_scores.query_scores, fused_scores.plain))
    encoder, autoencoder, rows, n, mask = arguments
    exact = values(fused_scores.plain, learner.double(), (encoder, autoencoder, rows.double(), n, mask))
    for got, plain, e in zip(ours, parts, exact, strict=True):
        assert relative(got.double(), e) <= 2 * relative(plain.double(), e) + 1e-6


@compiled
def test_a_masked_task_gives_what_it_gives_alone() -> None:
    _, (encoder, autoencoder, rows, n, mask) = made({}, 3, True)
    rows = torch.where(torch.nn.functional.pad(mask, (0, M), value=True)[..., None], rows, 1e6)
    together = fused_scores.query_scores(encoder, autoencoder, rows, n, mask)
    for i in range(3):
        real = torch.cat([rows[i, :n][mask[i]], rows[i, n:]])[None]
        alone = fused_scores.query_scores(encoder, autoencoder, real, int(mask[i].sum()), None)
        torch.testing.assert_close(alone[0], together[i], rtol=1e-12, atol=0)


@compiled
@pytest.mark.parametrize("options", OTHERS, ids=str)
def test_other_forms_go_part_by_part(options) -> None:
    _, arguments = made(options, 2, False)
    assert not fused(arguments)
    assert fused_scores.query_scores(*arguments).shape == (2, M)


@compiled
def test_rows_that_need_a_gradient_get_one() -> None:
    _, (encoder, autoencoder, rows, n, mask) = made({}, 2, False)
    rows.requires_grad_()
    fused_scores.query_scores(encoder, autoencoder, rows, n, mask).sum().backward()
    assert rows.grad.abs().sum() > 0


@compiled
def test_second_derivatives() -> None:
    learner, arguments = made({}, 2, False)
    found = []
    for function in fused_scores.query_scores, fused_scores.plain:
        with ops.backend("reference" if function is fused_scores.plain else "auto"):
            scores = function(*arguments)
        weight = learner.autoencoder.h.first.weight
        with ops.backend("reference"):
            (first,) = torch.autograd.grad(scores.sum(), weight, create_graph=True)
            found += torch.autograd.grad(first.square().sum(), weight)
    torch.testing.assert_close(*found)


@compiled
def test_the_gradient_goes_to_the_vector_that_the_parameters_are_parts_of() -> None:
    learner, arguments = made({}, 2, True)
    fused_scores.query_scores(*arguments).sum().backward()
    expected = torch.cat([p.grad.flatten() for p in learner.parameters()])
    vector = Vector(learner)
    vector.clear()
    fused_scores.query_scores(*arguments, vector.leaf).sum().backward()
    assert all(p.grad is None for p in learner.parameters())
    assert torch.equal(vector.leaf.grad, expected)
    learner.autoencoder.h.first.weight.data = learner.autoencoder.h.first.weight.detach().clone()
    fused_scores.query_scores(*arguments, vector.leaf).sum().backward()
    assert learner.autoencoder.h.first.weight.grad is not None


def _another_encoder(learner: RobustMeta) -> None:
    learner.task_encoder.f = MLP(learner.task_encoder.f.sizes, torch.Generator().manual_seed(5)).double()


def _turned_where_it_lies(learner: RobustMeta) -> None:
    weight = learner.autoencoder.h.rest[0].weight
    weight.data = weight.data.T


def _no_start(learner: RobustMeta) -> None:
    learner.autoencoder.v = None


def _lambda_of_each_feature(learner: RobustMeta) -> None:
    learner.autoencoder.log_lam = torch.nn.Parameter(torch.linspace(-2, 0, D).double())


def _moved_in_memory(learner: RobustMeta) -> None:
    for parameter in learner.parameters():
        parameter.data = parameter.data * 1.1


def _no_lambda(learner: RobustMeta) -> None:
    learner.autoencoder.log_lam = None


CHANGES = [_no_lambda, _another_encoder, _turned_where_it_lies, _no_start, _lambda_of_each_feature, _moved_in_memory]


@compiled
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__[1:])
def test_a_model_that_changed_since_the_last_call(change) -> None:
    learner, arguments = made({}, 2, True)
    before = fused_scores.query_scores(*arguments)
    change(learner)
    got, expected = (function(*arguments) for function in (fused_scores.query_scores, fused_scores.plain))
    torch.testing.assert_close(got, expected)
    assert not torch.equal(got, before)


@compiled
def test_a_weight_of_another_shape_is_refused() -> None:
    learner, arguments = made({}, 2, False)
    fused_scores.query_scores(*arguments)
    learner.autoencoder.h.first.weight = torch.nn.Parameter(torch.randn(3, 2).double())
    with pytest.raises(RuntimeError, match="shape"):
        fused_scores.query_scores(*arguments)


@compiled
def test_rows_of_another_type_than_before() -> None:
    _, arguments = made({}, 2, False)
    fused_scores.query_scores(*arguments)
    encoder, autoencoder, rows, *rest = arguments
    with pytest.raises(RuntimeError, match="dtype"):
        fused_scores.query_scores(encoder, autoencoder, rows.float(), *rest)


@compiled
def test_a_system_that_cannot_be_solved_names_its_task() -> None:
    learner, arguments = made({}, 2, False, torch.float32)
    with torch.no_grad():
        learner.autoencoder.log_mu.fill_(-80)
        arguments[2][1, :N] = arguments[2][1, 0]
    with pytest.raises(torch.linalg.LinAlgError, match=r"mu: .* task 0"):
        fused_scores.query_scores(*arguments)


@compiled
def test_results_do_not_depend_on_the_number_of_threads() -> None:
    learner, arguments = made({}, 40, True, torch.float32)
    before, found = torch.get_num_threads(), []
    try:
        for threads in 1, 2:
            torch.set_num_threads(threads)
            found.append(values(fused_scores.query_scores, learner, arguments))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_reference_and_transforms_go_part_by_part() -> None:
    learner, arguments = made({}, 2, False)
    with ops.backend("reference"):
        assert not fused(arguments)
    state = dict(learner.named_parameters())

    def scores(state: dict) -> Tensor:
        return torch.func.functional_call(learner, state, (arguments[2],))

    learner.forward = lambda rows: fused_scores.query_scores(*arguments[:2], rows, *arguments[3:]).sum()
    grads = torch.func.grad(scores)(state)
    assert grads.keys() == state.keys()
