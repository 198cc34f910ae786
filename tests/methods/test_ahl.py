"""AHL against a plain loop over its base models, and that it learns what it should from what it may see."""

from __future__ import annotations

import copy
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from torch.func import functional_call

from heterad.data.augment import KINDS
from heterad.data.mixture import Batch
from heterad.methods.ahl import AHL, AHLRecipe
from heterad.nn.devnet import DevNet
from heterad.nn.dra import DRA
from heterad.nn.scorer import Scorer
from heterad.ops import roc_auc

TINY = AHLRecipe(epochs=2, batches=3, batch_size=9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(n_anomalies: int = 6) -> tuple[torch.Tensor, np.ndarray, torch.Tensor, torch.Tensor]:
    """Three clusters of normals; anomalies between them, seen to one side and unseen to the other."""
    g = generator(5)
    centres = 4 * torch.eye(3, 6)
    y = np.repeat([0, 1], [60, n_anomalies])
    normal = centres[torch.arange(110) % 3] + 0.5 * torch.randn(110, 6, generator=g)
    away = torch.tensor([[0.0] * 3 + [3.0, 0, 0], [0.0] * 3 + [0.0, 3.0, 0]])
    odd = centres[torch.arange(n_anomalies + 50) % 3] + 0.5 * torch.randn(n_anomalies + 50, 6, generator=g)
    odd[: n_anomalies + 25] += away[0]
    odd[n_anomalies + 25 :] += away[1]
    test = torch.cat([normal[60:], odd[n_anomalies:]])
    return torch.cat([normal[:60], odd[:n_anomalies]]), y, test, torch.tensor([0] * 50 + [1] * 50)


def learner(model, recipe: AHLRecipe = TINY, *, n_anomalies: int = 6, seed: int = 0, shape=(6,)) -> AHL:
    x, y, *_ = vectors(n_anomalies)
    if len(shape) == 3:
        x = x[:, : shape[0], None, None] + torch.randn(len(x), *shape, generator=generator(8))
    built = model(shape, generator(seed))
    return AHL(built, x, y, generator(seed), np.random.default_rng(seed), recipe)


def adam_by_hand(model: Scorer, theta: dict, batches: list[Batch], i: int, lr: float, *, exact: bool) -> dict:
    """One base model's steps, from torch's own Adam in the first order and written out in the second."""
    if not exact:
        own = copy.deepcopy(model)
        own.load_state_dict(theta, strict=False)
        optimizer = torch.optim.Adam(own.parameters(), lr=lr)
        for batch in batches:
            optimizer.zero_grad()
            own.loss(own(batch.x[i]), batch.kind[i]).mean().backward()
            optimizer.step()
        return {name: p.detach() for name, p in own.named_parameters()}
    (batch,) = batches  # Adam's first step is lr g / (|g| + eps)
    loss = model.loss(functional_call(model, theta, (batch.x[i],)), batch.kind[i]).mean()
    slopes = torch.autograd.grad(loss, list(theta.values()), create_graph=True)
    return {n: p - lr * g / (g.abs() + 1e-8) for (n, p), g in zip(theta.items(), slopes, strict=True)}


@pytest.mark.parametrize("shape", [(6,), (4, 5, 3)])
@pytest.mark.parametrize("model", [DevNet, DRA])
def test_the_stack_is_what_a_loop_over_models_gives(model, shape) -> None:
    ahl = learner(model, shape=shape)
    ahl.model.double()
    batches = [Batch(b.x.double(), b.kind) for b in (ahl.support.draw(generator(1)), ahl.support.draw(generator(2)))]
    judged = Batch(*ahl.query.draw(generator(3)))
    theta = ahl.adapt(batches)
    losses = ahl.losses(theta, Batch(judged.x.double(), judged.kind))
    start = {name: p.detach() for name, p in ahl.model.named_parameters()}
    by_hand = []
    for i in range(7):
        own = adam_by_hand(ahl.model, start, batches, i, ahl.recipe.inner_lr, exact=False)
        torch.testing.assert_close(theta[i], torch.cat([p.flatten() for p in own.values()]), rtol=1e-6, atol=1e-7)
        leaves = {name: p.requires_grad_() for name, p in own.items()}
        loss = ahl.model.loss(functional_call(ahl.model, leaves, (judged.x[i].double(),)), judged.kind[i]).mean()
        by_hand.append((loss, torch.autograd.grad(loss, list(leaves.values()))))
    torch.testing.assert_close(losses, torch.stack([loss for loss, _ in by_hand]), rtol=1e-6, atol=1e-6)
    (ahl.weights * losses).sum().backward()
    for p, *slopes in zip(ahl.model.parameters(), *(slopes for _, slopes in by_hand), strict=True):
        torch.testing.assert_close(p.grad, torch.stack(slopes).mean(0), rtol=1e-4, atol=1e-5)


def test_second_order_goes_through_the_steps() -> None:
    recipe = AHLRecipe(batch_size=9, inner_lr=0.05, second_order=True)
    ahl = learner(DevNet, recipe)
    ahl.model.double()
    support, judged = (
        Batch(b.x.double(), b.kind) for b in (ahl.support.draw(generator(1)), ahl.query.draw(generator(2)))
    )
    (ahl.weights * ahl.losses(ahl.adapt([support]), judged)).sum().backward()
    theta = {name: p.detach().requires_grad_() for name, p in ahl.model.named_parameters()}
    total = torch.zeros((), dtype=torch.float64)
    for i in range(7):
        own = adam_by_hand(ahl.model, theta, [support], i, 0.05, exact=True)
        heads = functional_call(ahl.model, own, (judged.x[i],))
        total = total + ahl.model.loss(heads, judged.kind[i]).mean() / 7
    for p, slope in zip(ahl.model.parameters(), torch.autograd.grad(total, list(theta.values())), strict=True):
        torch.testing.assert_close(p.grad, slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("second_order", [False, True])
def test_every_batch_is_a_step_and_history_tells_of_every_epoch(second_order: bool) -> None:
    ahl = learner(DRA, AHLRecipe(epochs=5, batches=2, batch_size=9, window=2, second_order=second_order))
    looks = []
    loop = ahl.fit(callback=lambda loop: looks.append(loop.step))
    assert loop.step == 10
    assert looks == loop.history["step"] == [2, 4, 6, 8, 10]
    w, r = loop.history["w"], loop.history["r"]
    assert r[:2] == [None, None]
    assert all(w[t] == pytest.approx([1 / 7] * 7) for t in range(3))
    for errors, weights in pairwise([*r[2:], None]):
        assert len(errors) == 7
        assert weights is None or weights != errors
    for errors, weights in zip(r[2:-1], w[3:], strict=True):
        assert sum(weights) == pytest.approx(1)
        assert np.argsort(errors).tolist() == np.argsort(weights)[::-1].tolist()
    assert not ahl.model.training


def test_support_and_query_get_other_pseudo_anomalies_and_every_kind_its_turn() -> None:
    ahl = learner(DRA)
    sides = [
        [tuple(kind for kind, made in side._made.items() if made[place].any()) for side in (ahl.support, ahl.query)]
        for place in range(7)
    ]
    assert {(*support, *query) for support, query in sides[:-1]} == set(permutations(KINDS, 2))
    support, query = sides[-1]  # the holistic set
    assert sorted(support + query) == sorted(KINDS)
    assert len(support) == 1


def test_a_lone_holistic_set_is_judged_by_more_than_one_kind() -> None:
    ahl = learner(DRA, AHLRecipe(batch_size=9, n_clusters=1))
    assert len(ahl.distributions) == 1
    assert sum(bool(made.any()) for made in ahl.query._made.values()) == 2


def test_the_second_order_tells_from_two_steps_on() -> None:
    def slope(n_steps: int, *, exact: bool) -> torch.Tensor:
        ahl = learner(DevNet, AHLRecipe(batch_size=9, second_order=exact, inner_lr=0.01))
        ahl.model.double()
        *support, judged = (
            Batch(b.x.double(), b.kind) for b in (ahl.support.draw(generator(i)) for i in range(n_steps + 1))
        )
        ahl.losses(ahl.adapt(support), judged).sum().backward()
        return ahl.model.score.first.weight.grad

    one, two = ([slope(n, exact=exact) for exact in (False, True)] for n in (1, 2))
    torch.testing.assert_close(*one, rtol=1e-5, atol=1e-5)
    assert (two[0] - two[1]).norm() > 1e-3 * two[0].norm()


@pytest.mark.parametrize(("model", "n_anomalies"), [(DRA, 0), (DRA, 1), (DRA, 6), (DevNet, 6)])
def test_it_learns_from_many_few_and_no_anomalies(model, n_anomalies: int) -> None:
    _, _, test, truth = vectors(n_anomalies)
    ahl = learner(model, AHLRecipe(epochs=4, batches=15, lr=1e-2, window=2), n_anomalies=n_anomalies)
    loop = ahl.fit()
    assert loop.history["loss"][-1] < loop.history["loss"][0]
    with torch.no_grad():
        assert roc_auc(ahl.model.total(ahl.model(test)), truth) > 0.8


def test_ablations_learn_from_what_they_name() -> None:
    random = learner(DevNet, AHLRecipe(clusters="random", batch_size=9))
    kmeans = learner(DevNet)
    assert {len(d.support_normal) for d in random.distributions[:-1]} == {20}
    members = [d.support_normal % 3 for d in kmeans.distributions[:-1]]
    assert all(len(set(m)) == 1 for m in members)
    for recipe in (AHLRecipe(epochs=1, batches=2, batch_size=9, learn_on="support"), AHLRecipe(epochs=1, window=None)):
        loop = learner(DevNet, recipe).fit()
        assert loop.history["r"] == [None]


def test_one_seed_gives_one_model_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    models = [learner(DRA, AHLRecipe(epochs=4, batches=2, batch_size=9, window=2), seed=3) for _ in range(2)]
    for ahl in models:
        ahl.fit()
    for p, q in zip(*(ahl.model.parameters() for ahl in models), strict=True):
        assert torch.equal(p, q)
    assert torch.equal(before, torch.get_rng_state())
