"""Meta-training and adaptation as a user writes them from the paper: Algorithm 1 and the prototypical network.

Kumagai et al. (2023), sections 3 and D. Both get what is free for the user: a fused Adam and torch's own kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from heterad.data import Episodes, TaskSet
from heterad.methods import RobustMeta, Sampling, meta_fit
from heterad.train import Settings, Vector
from rivals import ridge
from rivals.auc import broadcast
from rivals.base import Call

# Mnist-r: 4 domains x 10 digits; a tenth of 30 labelled rows anomalous; a support set of half of 100 normals
D, TASKS, ANOMALIES, NORMALS, UNLABELLED, SUPPORT, TEST = 256, 40, 3, 27, 100, 50, 100
STEPS = 10  # steps a call of the throughput row
HETERAD_STEPS = {"cpu": STEPS, "cuda": 1_000}  # heterad's; on a GPU the recording of a graph is among them
STILL = 0.0  # learning rate of the step on one episode: once it is learnt, its gradients are denormal, which is slow


@dataclass
class Meta:
    """Source tasks, one drawn episode, and a target task's support and test rows."""

    tasks: TaskSet
    episode: Episodes
    support: Tensor
    test: Tensor

    def learner(self) -> RobustMeta:
        return RobustMeta(self.support.shape[-1], torch.Generator().manual_seed(0)).to(self.support.device)

    def to(self, dtype: torch.dtype) -> Meta:
        """The episode and the target task in another dtype."""
        episode = replace(self.episode, rows=self.episode.rows.to(dtype))
        return Meta(self.tasks, episode, self.support.to(dtype), self.test.to(dtype))


def make(device: str, d: int = D, n_tasks: int = TASKS) -> Meta:
    """Random tasks of the sizes of Mnist-r: times depend on the sizes only."""
    generator = torch.Generator().manual_seed(0)
    y = torch.tensor([1] * ANOMALIES + [0] * NORMALS + [-1] * UNLABELLED).repeat(n_tasks)
    groups = torch.arange(n_tasks).repeat_interleave(len(y) // n_tasks)
    tasks = TaskSet(torch.rand(len(y), d, generator=generator), y, groups, device=device)
    draw = torch.Generator(device).manual_seed(0)
    episode = tasks.episodes(torch.zeros(1, dtype=torch.long, device=device), draw, support_size=SUPPORT)
    support, test = (torch.rand(n, d, generator=generator).to(device) for n in (SUPPORT, TEST))
    return Meta(tasks, episode, support, test)


def mlp(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Algorithm1(nn.Module):
    """The paper's model, one task at a time, every concatenation and solve as written."""

    def __init__(self, d: int, k: int = 32, j: int = 32) -> None:
        super().__init__()
        self.f, self.g = mlp(d, 32, 32, 32), mlp(32, 32, k)
        self.h, self.v = mlp(d + k, 32, 32, j), mlp(d + k, 32, 32, 32, d)
        self.log_lam, self.log_mu = (nn.Parameter(torch.tensor(0.1).log()) for _ in range(2))

    def like(self, learner: RobustMeta) -> Algorithm1:
        """Take over the weights of heterad's learner, so that both must give the same loss."""
        encoder, autoencoder = learner.task_encoder, learner.autoencoder
        with torch.no_grad():
            for own, other in (
                (self.f, encoder.f),
                (self.g, encoder.g),
                (self.h, autoencoder.h),
                (self.v, autoencoder.v),
            ):
                first = other.first.weight
                if other.context is not None:
                    first = torch.cat([first, other.context.weight], 1)
                rest = [p for layer in other.rest for p in (layer.weight, layer.bias)]
                for mine, value in zip(own.parameters(), [first, other.first.bias, *rest], strict=True):
                    mine.copy_(value)
            self.log_lam.copy_(autoencoder.log_lam)
            self.log_mu.copy_(autoencoder.log_mu)
        return self

    def scores(self, support: Tensor, rows: Tensor) -> Tensor:
        z = self.g(self.f(support).mean(0))
        xz = torch.cat([support, z.expand(len(support), -1)], 1)
        w, _ = ridge.eager(support, self.h(xz), self.v(xz), self.log_lam.exp(), self.log_mu.exp())
        return (rows - self.h(torch.cat([rows, z.expand(len(rows), -1)], 1)) @ w.mT).square().sum(1)


class Proto(nn.Module):
    """The distance to the mean of the embedded support set."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.embed = mlp(d, 32, 32, 32, 32)

    def scores(self, support: Tensor, rows: Tensor) -> Tensor:
        return (self.embed(rows) - self.embed(support).mean(0)).square().sum(1)


def _seeded(model: Callable[[int], Any], inputs: Meta) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return model(inputs.support.shape[-1]).to(inputs.support)


def algorithm1(inputs: Meta) -> Algorithm1:
    return _seeded(Algorithm1, inputs).like(inputs.learner())


def proto(inputs: Meta) -> Proto:
    return _seeded(Proto, inputs)


def _train(model: nn.Module, loss: Callable[[], Tensor]) -> Call:
    optimizer = torch.optim.Adam(model.parameters(), lr=STILL, fused=True)

    def step() -> list[Tensor]:
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        return [value.detach()]

    return step


def rival_step(model: Any, inputs: Meta) -> Call:
    """One step on the drawn episode."""
    support, query = inputs.episode.support[0], inputs.episode.query[0]

    def loss() -> Tensor:
        scores = model.scores(support, query)
        return 1 - broadcast(scores[:ANOMALIES], scores[ANOMALIES:])

    return _train(model, loss)


def heterad_step(inputs: Meta) -> Call:
    """The same as the public training loop takes it."""
    learner = inputs.learner()
    vector = Vector(learner)
    learner.vector = vector.leaf
    optimizer = torch.optim.Adam([vector.leaf], lr=STILL, fused=True)

    def step() -> list[Tensor]:
        value = learner.loss(inputs.episode).mean()
        vector.clear()
        value.backward()
        vector.gather()
        optimizer.step()
        return [value.detach()]

    return step


def rival_training(inputs: Meta) -> Call:
    """STEPS steps of Algorithm 1, sampling included."""
    model, x = algorithm1(inputs), inputs.tasks.x.view(len(inputs.tasks), -1, inputs.support.shape[-1])
    labelled = ANOMALIES + NORMALS

    def loss() -> Tensor:
        task = x[int(torch.randint(len(x), (), generator=generator))]
        support = task[labelled + torch.randperm(UNLABELLED, generator=generator)[:SUPPORT]]
        scores = model.scores(support, task[:labelled])
        return 1 - broadcast(scores[:ANOMALIES], scores[ANOMALIES:])

    generator = torch.Generator().manual_seed(0)
    step = _train(model, loss)
    return lambda: [step() for _ in range(STEPS)][-1]


def heterad_training(inputs: Meta, tasks_per_step: int = 32) -> Call:
    """Steps of the public training loop, sampling included; on a GPU replayed from a graph."""
    learner = inputs.learner()
    generator = torch.Generator(inputs.support.device).manual_seed(0)
    sampling = Sampling(tasks_per_step, support_size=SUPPORT)
    steps = HETERAD_STEPS[inputs.support.device.type]
    settings = Settings(max_iter=steps, eval_every=steps, graph=inputs.support.is_cuda)

    def run() -> list[Tensor]:
        loop = meta_fit(learner, inputs.tasks, generator, sampling=sampling, settings=settings)
        return [torch.tensor(loop.history["loss"][-1])]

    return run


def rival_adaptation(model: Any, inputs: Meta) -> Call:
    def run() -> list[Tensor]:
        with torch.no_grad():
            return [model.scores(inputs.support, inputs.test)]

    return run


def heterad_adaptation(inputs: Meta) -> Call:
    learner = inputs.learner()

    def run() -> list[Tensor]:
        with torch.no_grad():
            rows = torch.cat([inputs.support, inputs.test])[None]
            return [learner.query_scores(rows, len(inputs.support))[0]]

    return run


def detector_adaptation(inputs: Meta) -> Call:
    """The same through the scikit-learn face, with its checks and float64."""
    from heterad.detectors import RobustMetaDetector

    rows = inputs.tasks.x.cpu().numpy()
    groups = torch.arange(len(inputs.tasks)).repeat_interleave(len(rows) // len(inputs.tasks)).numpy()
    detector = RobustMetaDetector(max_iter=1, patience=None).fit(rows, groups=groups)
    support, test = inputs.support.cpu().numpy(), inputs.test.cpu().numpy()
    return lambda: [detector.adapt(support).decision_function(test)]
