"""The baselines that meta-learn: each equation by hand, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity, softplus

from heterad.data import TaskSet, toy_tasks
from heterad.methods import MetaLearner, Sampling, meta_fit
from heterad.methods.baselines import BASELINES, MAML, NP, TNP, MetaCleaner, Proto, RobustProto
from heterad.train import Settings

ROWS = torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
TEST = torch.randn(4, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def make(method: type[MetaLearner], **options) -> MetaLearner:
    return method(5, torch.Generator().manual_seed(0), **options).double()


def test_np_is_a_conditioned_autoencoder() -> None:
    """The squared distance on a sphere of radius 2 is 8 times 1 - cosine."""
    learner = make(NP, radius=2.0)
    z = learner.task_encoder.g(learner.task_encoder.f(ROWS).mean(0))
    expected = 8 * (1 - cosine_similarity(TEST, learner.autoencoder(TEST, z), -1))
    torch.testing.assert_close(learner.score(TEST, learner.adapt(ROWS)), expected)


@pytest.mark.parametrize("lam", [0.1, 100.0])
def test_tnp_adds_the_error_of_the_normals(lam: float) -> None:
    toy = toy_tasks(3, 30, n_features=5)
    drawn = TaskSet(toy.x, toy.y, toy.groups, dtype=torch.float64).sample(3, torch.Generator().manual_seed(0))
    plain, learner = make(NP), make(TNP, lam=lam)
    normals = plain.score(drawn.query, plain.adapt(drawn.support))[:, drawn.n_anomalies :]
    torch.testing.assert_close(learner.loss(drawn), lam * plain.loss(drawn) + normals.mean(-1))


def test_tnp_in_ragged_tasks_is_as_in_each_alone() -> None:
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), [8, 13, 21])
    y = np.tile([1, 0, -1, -1, 0], 9)[: len(groups)]
    tasks = TaskSet(rng.normal(size=(len(y), 5)), y, groups, dtype=torch.float64)
    generator, learner = torch.Generator().manual_seed(0), make(TNP)
    together = learner.loss(tasks.episodes(torch.arange(3), generator))
    alone = [learner.loss(tasks.episodes(torch.tensor([t]), generator)) for t in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_maml_descends_the_cross_entropy_of_a_support_set_called_normal() -> None:
    """Against autograd through the module itself, the outer gradient too."""
    learner = make(MAML, step_size=0.3, n_iter=3)
    names = [name for name, _ in learner.classifier.named_parameters()]
    weights = [p for _, p in learner.classifier.named_parameters()]
    for _ in range(3):
        logit = torch.func.functional_call(learner.classifier, dict(zip(names, weights, strict=True)), (ROWS,))
        slopes = torch.autograd.grad(softplus(logit).mean(), weights, create_graph=True)
        weights = [w - 0.3 * g for w, g in zip(weights, slopes, strict=True)]
    expected = torch.func.functional_call(learner.classifier, dict(zip(names, weights, strict=True)), (TEST,))[:, 0]
    found = learner.score(TEST, learner.adapt(ROWS))
    torch.testing.assert_close(found, expected)
    parameters = list(learner.parameters())
    for a, b in zip(
        torch.autograd.grad(found.square().sum(), parameters),
        torch.autograd.grad(expected.square().sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("method", [Proto, RobustProto, MetaCleaner])
def test_prototypes_are_weighted_means_of_embeddings_on_a_sphere(method: type[Proto]) -> None:
    learner = make(method, radius=2.0)
    e = learner.embed(ROWS)
    torch.testing.assert_close(e.norm(dim=-1), torch.full((9,), 2.0, dtype=torch.float64))
    pairs = (e[:, None] - e).square().sum(-1)
    if method is Proto:
        weight = torch.ones(9, dtype=torch.float64)
    elif method is RobustProto:
        weight = torch.exp(-0.3 * pairs.mean(1))
    else:
        weight = torch.exp(learner.weight(ROWS, learner.task_encoder(ROWS))[:, 0])
    prototype = (weight / weight.sum()) @ e
    torch.testing.assert_close(learner.adapt(ROWS), prototype)
    expected = (learner.embed(TEST) - prototype).square().sum(-1)
    torch.testing.assert_close(learner.score(TEST, learner.adapt(ROWS)), expected)


def test_the_robust_prototype_is_moved_less_by_an_outlier() -> None:
    outlier = torch.full((1, 5), -9.0, dtype=torch.float64)
    crowd = ROWS[:1] + 0.05 * ROWS[1:]
    moved = []
    for method in (Proto, RobustProto):
        learner = make(method)
        moved.append((learner.adapt(torch.cat([crowd, outlier])) - learner.adapt(crowd)).norm())
    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize("name", ["np", "tnp", "maml", "proto", "rproto", "mc"])
def test_they_learn_what_an_anomaly_is(name: str) -> None:
    """Tasks differ in where their normals lie; anomalies leave in the first feature only, the second is as loud."""

    def tasks(seed: int) -> TaskSet:
        rng = np.random.default_rng(seed)
        x, y = 0.3 * rng.normal(size=(16, 40, 4)), np.tile(np.repeat([1, 0, 1, -1], [4, 8, 3, 25]), (16, 1))
        x += rng.normal(size=(16, 1, 4))
        x[..., 0] += 2 * (y == 1)
        x[..., 1] += 2 * rng.normal(size=(16, 40))
        y[:, 12:15] = -1
        return TaskSet(x.reshape(-1, 4), y.ravel(), np.repeat(np.arange(16), 40))

    learner = BASELINES[name](4, torch.Generator().manual_seed(0))
    unseen = tasks(1)
    drawn = unseen.episodes(torch.arange(16), torch.Generator().manual_seed(0))
    before = learner.auc(drawn).mean()
    meta_fit(
        learner,
        tasks(0),
        torch.Generator().manual_seed(0),
        sampling=Sampling(tasks_per_step=8),
        settings=Settings(max_iter=150, lr=3e-3),
    )
    after = learner.auc(drawn).mean()
    assert after > max(0.8, before + 0.05)
