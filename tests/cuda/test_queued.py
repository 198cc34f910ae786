"""On a GPU: nothing waits for the device, and what was captured in a CUDA graph gives the same when replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

import heterad
from heterad.data import TaskSet
from heterad.methods import RobustMeta
from heterad.testing import sample_inputs

pytestmark = pytest.mark.gpu

OPS = ("soft_threshold", "deviation_loss", "ridge_solve", "robust_ridge", "smoothed_auc")


@pytest.fixture
def _no_waiting() -> Iterator[None]:
    torch.cuda.synchronize()
    yield
    torch.cuda.set_sync_debug_mode("default")


def calls(op: str) -> list[tuple[list[Tensor], Callable[[], list[Tensor]]]]:
    """The leaves of each small sample, and a call that gives outputs and gradients."""
    found = []
    for sample in sample_inputs(op, device="cuda", size="small"):

        def call(sample=sample) -> list[Tensor]:
            outputs = getattr(heterad.ops, op)(*sample.args, **sample.kwargs)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            return [*outputs, *torch.autograd.grad(outputs, sample.leaves(), [torch.ones_like(o) for o in outputs])]

        found.append((sample.leaves(), call))
    return found


def training() -> tuple[TaskSet, RobustMeta]:
    draw = torch.Generator().manual_seed(0)
    y = torch.tensor([1] * 3 + [0] * 9 + [-1] * 20).repeat(6)
    tasks = TaskSet(torch.rand(len(y), 10, generator=draw), y, torch.arange(6).repeat_interleave(32), device="cuda")
    return tasks, RobustMeta(10, draw).cuda()


def loss_and_gradients(learner: RobustMeta, episodes) -> list[Tensor]:
    loss = learner.loss(episodes).mean()
    return [loss, *torch.autograd.grad(loss, list(learner.parameters()))]


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize("op", OPS)
def test_no_op_waits(op):
    for _, call in calls(op):
        torch.cuda.set_sync_debug_mode("default")
        call()
        torch.cuda.set_sync_debug_mode("error")
        call()


@pytest.mark.usefixtures("_no_waiting")
def test_no_training_step_waits():
    tasks, learner = training()
    draw = torch.Generator("cuda").manual_seed(0)
    for mode in ("default", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        loss_and_gradients(learner, tasks.sample(4, draw, support_size=12))


def replayed(leaf: Tensor, call: Callable[[], list[Tensor]]) -> list[Tensor]:
    """What a graph of the call gives once the leaf has other values."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = call()
    with torch.no_grad():
        leaf.mul_(1.25)
    graph.replay()
    return [t.detach().clone() for t in results]


@pytest.mark.parametrize("op", OPS)
def test_ops_in_a_graph(op):
    leaves, call = calls(op)[-1]
    for got, expected in zip(replayed(leaves[0], call), call(), strict=True):
        torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-7)


def test_many_scores_in_a_graph():
    pos, neg = (torch.randn(n, device="cuda").requires_grad_() for n in (20_000, 30_000))

    def call() -> list[Tensor]:
        value = heterad.ops.smoothed_auc(pos, neg)
        return [value, *torch.autograd.grad(value, (pos, neg))]

    for got, expected in zip(replayed(pos, call), call(), strict=True):
        assert torch.equal(got, expected.detach())


def test_a_training_step_in_a_graph():
    tasks, learner = training()
    episodes = tasks.sample(4, torch.Generator("cuda").manual_seed(0), support_size=12)
    leaf = next(learner.parameters())
    got = replayed(leaf, lambda: loss_and_gradients(learner, episodes))
    for a, b in zip(got, loss_and_gradients(learner, episodes), strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-4, atol=1e-6)
