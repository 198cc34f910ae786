"""Recorded steps: without a GPU that each call takes one, on a GPU that they are those of the eager loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from heterad.data import TaskSet
from heterad.methods import RobustMeta, Sampling, meta_fit
from heterad.train import ALONE, Graph, Loop, Processes, Settings


class Device:
    """Stands in for a GPU: work given to it while it records is not done before it is replayed."""

    def __init__(self) -> None:
        self.done = 0
        self.recorded = 0
        self.recording = False
        self.result = torch.zeros(())

    def step(self) -> Tensor:
        if self.recording:
            self.recorded += 1
        else:
            self.replay()
        return self.result

    def replay(self) -> None:
        self.done += 1
        self.result.fill_(self.done)

    def register_generator_state(self, generator: object) -> None:
        assert not self.recording

    @contextmanager
    def record(self, graph: object) -> Iterator[None]:
        self.recording = True
        yield
        self.recording = False


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Device:
    fake = Device()
    stream = SimpleNamespace(wait_stream=lambda other: None)
    for name, value in {
        "CUDAGraph": lambda: fake,
        "graph": fake.record,
        "device": lambda device: nullcontext(),
        "stream": lambda stream: nullcontext(),
        "Stream": lambda: stream,
        "current_stream": lambda: stream,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return fake


def test_each_call_takes_the_step_once_and_keeps_its_result(device: Device) -> None:
    graph = Graph(device.step, SimpleNamespace(device=torch.device("cuda")))  # type: ignore[arg-type]
    results = [graph() for _ in range(6)]
    assert [r.item() for r in results] == [1, 2, 3, 4, 5, 6]
    assert (device.done, device.recorded) == (6, 1)


@pytest.mark.parametrize(
    ("processes", "message"),
    [
        (ALONE, "graph: expected a generator and a model on a GPU, got cpu"),
        (Processes(0, 2), "graph: expected one process, got 2"),
    ],
)
def test_what_cannot_be_recorded_is_said(processes: Processes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Loop(nn.Linear(1, 1), lambda g: torch.zeros(()), torch.Generator(), Settings(graph=True), processes=processes)


@pytest.mark.gpu
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_recorded_training_is_eager_training(schedule: str) -> None:
    draw = torch.Generator().manual_seed(0)
    y = torch.tensor([1] * 3 + [0] * 9 + [-1] * 20).repeat(6)
    tasks = TaskSet(torch.rand(len(y), 10, generator=draw), y, torch.arange(6).repeat_interleave(32), device="cuda")
    losses = []
    for graph in (False, True):
        learner = RobustMeta(10, torch.Generator().manual_seed(0)).cuda()
        settings = Settings(max_iter=40, eval_every=1, schedule=schedule, graph=graph)
        generator = torch.Generator("cuda").manual_seed(0)
        loop = meta_fit(learner, tasks, generator, sampling=Sampling(4, support_size=12), settings=settings)
        losses.append(torch.tensor(loop.history["loss"]))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-2, atol=1e-4)
    assert len(losses[1][4:].unique()) > 30  # each replay draws anew
