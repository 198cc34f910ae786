"""The paper's model: Algorithm 1 written out, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heterad.data import TaskSet, toy_tasks
from heterad.methods import RobustMeta, Sampling, meta_fit
from heterad.train import Settings


def learner(n_features: int = 6, **options) -> RobustMeta:
    return RobustMeta(n_features, torch.Generator().manual_seed(0), **options)


def relu_net(net, x: np.ndarray, z: np.ndarray | None = None) -> np.ndarray:
    weights = {name: p.detach().numpy() for name, p in net.named_parameters()}
    y = x @ weights["first.weight"].T + weights["first.bias"]
    if z is not None:
        y = y + z @ weights["context.weight"].T
    for i in range(len(net.rest)):
        y = np.maximum(y, 0) @ weights[f"rest.{i}.weight"].T + weights[f"rest.{i}.bias"]
    return y


@pytest.mark.parametrize("n_iter", [1, 10])
def test_a_step_is_algorithm_1(n_iter: int) -> None:
    """Lines 5 to 10 for one task in NumPy, one equation a line."""
    model = learner(n_iter=n_iter, lam_init=0.5, task_dim=4).double()
    toy = toy_tasks(1, 30, n_features=6)
    source = TaskSet(toy.x, toy.y, toy.groups, dtype=torch.float64)
    drawn = source.sample(1, torch.Generator().manual_seed(0))
    s, q = drawn.support[0].numpy(), drawn.query[0].numpy()

    z = relu_net(model.task_encoder.g, relu_net(model.task_encoder.f, s).mean(0))
    h, a = relu_net(model.autoencoder.h, s, z), relu_net(model.autoencoder.v, s, z)
    n, lam, mu = len(s), 0.5, 0.1
    for _ in range(n_iter):
        w = (s + a).T @ h @ np.linalg.inv(h.T @ h / n + mu * np.eye(32)) / n
        a = np.sign(h @ w.T - s) * np.maximum(np.abs(h @ w.T - s) - lam / 2, 0)
    score = ((q - relu_net(model.autoencoder.h, q, z) @ w.T) ** 2).sum(1)
    pairs = score[: drawn.n_anomalies, None] - score[drawn.n_anomalies :]
    expected = 1 - np.mean(1 / (1 + np.exp(-pairs)))

    assert model.loss(drawn).item() == pytest.approx(expected, rel=1e-5)
    adapted = model.adapt(drawn.support)
    np.testing.assert_allclose(adapted.w[0].detach().numpy(), w, atol=1e-5)


def test_ragged_tasks_in_a_batch_are_as_each_alone() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), [8, 13, 21, 9])
    y = np.tile([1, 0, -1, -1, 0], 11)[: len(groups)]
    source = TaskSet(rng.normal(size=(len(y), 6)), y, groups, dtype=torch.float64)
    model = learner().double()
    generator = torch.Generator().manual_seed(0)
    together = model.loss(source.episodes(torch.arange(4), generator))
    alone = [model.loss(source.episodes(torch.tensor([t]), generator)) for t in range(4)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-9, rtol=0)


def test_every_parameter_gets_a_gradient() -> None:
    toy = toy_tasks(2, 30, n_features=6)
    model = learner()
    model.loss(TaskSet(toy.x, toy.y, toy.groups).sample(2, torch.Generator().manual_seed(0))).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("seed", range(3))
def test_it_learns(seed: int) -> None:
    toy = toy_tasks(20, 60, seed=seed)
    rows = TaskSet(toy.x, toy.y, toy.groups)
    fresh = toy_tasks(6, 60, seed=100 + seed)
    unseen = TaskSet(fresh.x, fresh.y, fresh.groups)
    model = RobustMeta(10, torch.Generator().manual_seed(seed))
    drawn = unseen.episodes(torch.arange(6), torch.Generator().manual_seed(0))
    before = model.auc(drawn).mean().item()
    meta_fit(
        model,
        rows,
        torch.Generator().manual_seed(seed),
        sampling=Sampling(tasks_per_step=8, support_size=32),
        settings=Settings(max_iter=90, lr=2e-3),
    )
    after = model.auc(drawn).mean().item()
    assert before < 0.75
    assert after > 0.93
