"""Every variant is an option of one model: what it reduces to, and which parameters it has and learns."""

from __future__ import annotations

import pytest
import torch

from heterad.data import TaskSet, toy_tasks
from heterad.methods import RobustMeta
from heterad.nn import RobustAutoencoder

D, N = 6, 9
ALL = {
    "task_encoder.f",
    "task_encoder.g",
    "autoencoder.h",
    "autoencoder.v",
    "autoencoder.log_lam",
    "autoencoder.log_mu",
}
WITHOUT_TASK = {name for name in ALL if not name.startswith("task_encoder")}
VARIANTS = {
    "all": ({}, ALL),
    "w/o A": ({"attributes": False}, ALL - {"autoencoder.v", "autoencoder.log_lam"}),
    "w/o Initial": ({"learned_start": False}, ALL - {"autoencoder.v"}),
    "w/o Iter": ({"n_iter": 1}, ALL - {"autoencoder.log_lam"}),
    "w/o hTask": ({"task_in_h": False}, ALL),
    "w/o ATask": ({"task_in_start": False}, ALL),
    "w/o Task": ({"task_in_h": False, "task_in_start": False}, WITHOUT_TASK),
    "w/o hTask and Initial": ({"task_in_h": False, "learned_start": False}, WITHOUT_TASK - {"autoencoder.v"}),
    "svdd": ({"formulation": "svdd"}, ALL),
    "sum": ({"encoder": "sum"}, ALL),
    "cross-entropy": ({"outer": "cross-entropy"}, ALL),
    "lambdas": ({"per_feature": True}, ALL),
}


def learner(**options) -> RobustMeta:
    options = {"lam_init": 0.5, "task_dim": 4, **options}
    return RobustMeta(D, torch.Generator().manual_seed(0), **options).double()


def rows(seed: int = 0, n: int = N) -> torch.Tensor:
    return torch.randn(2, n, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def episodes():
    toy = toy_tasks(3, 40, n_features=D)
    return TaskSet(toy.x, toy.y, toy.groups, dtype=torch.float64).sample(3, torch.Generator().manual_seed(0))


def scores(model: RobustMeta, mask: torch.Tensor | None = None) -> torch.Tensor:
    with torch.no_grad():
        return model.score(rows(1), model.adapt(rows(), mask))


def scores_after_copying(model: RobustMeta, source: RobustMeta) -> tuple[torch.Tensor, torch.Tensor]:
    model.load_state_dict({name: t for name, t in source.state_dict().items() if name in model.state_dict()})
    return scores(model), scores(source)


@pytest.mark.parametrize("name", VARIANTS)
def test_the_gradient_reaches_exactly_the_parameters_that_matter(name: str) -> None:
    options, expected = VARIANTS[name]
    model = learner(**options)
    model.loss(episodes()).sum().backward()
    learned = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert {".".join(n.split(".")[:2]) for n in learned} == expected
    left = {n for n, _ in model.named_parameters()} - learned
    assert left == ({"autoencoder.log_lam"} if name == "w/o Iter" else set())


def test_without_a_is_an_infinite_lambda_from_zero() -> None:
    torch.testing.assert_close(*scores_after_copying(learner(attributes=False), learner(lam_init=1e9, n_iter=2)))


def test_without_initial_is_a_start_that_says_zero() -> None:
    full = learner()
    with torch.no_grad():
        for p in full.autoencoder.v.rest[-1].parameters():
            p.zero_()
    torch.testing.assert_close(*scores_after_copying(learner(learned_start=False), full))


@pytest.mark.parametrize("options", [{"task_in_h": False}, {"task_in_start": False}])
def test_without_the_task_is_a_layer_that_does_not_listen(options: dict) -> None:
    full = learner()
    with torch.no_grad():
        (full.autoencoder.h if "task_in_h" in options else full.autoencoder.v).context.weight.zero_()
    torch.testing.assert_close(*scores_after_copying(learner(**options), full))


def test_svdd_without_attributes_is_ridge_regression_to_the_centre() -> None:
    model = learner(formulation="svdd", attributes=False)
    with torch.no_grad():
        x, new = rows()[0], rows(1)[0]
        z = model.task_encoder(x)
        h = model.autoencoder.h(x, z)
        c = torch.ones(32, dtype=torch.float64)
        w = c[:, None] * (h.mean(0) @ torch.linalg.inv(h.T @ h / N + 0.1 * torch.eye(32, dtype=torch.float64)))
        expected = (c - model.autoencoder.h(new, z) @ w.T).square().sum(-1)
    torch.testing.assert_close(scores(model)[0], expected)


def test_svdd_attributes_keep_outliers_from_the_centre() -> None:
    model = learner(formulation="svdd", lam_init=0.2)
    adapted = model.adapt(rows())
    a = model.autoencoder.attributes(rows(), *adapted)
    assert adapted.w.shape == (2, 32, 32)
    assert a.shape == (2, N, 32)


def test_lambdas_all_alike_are_one_lambda() -> None:
    model, one = learner(per_feature=True), learner()
    state = {**one.state_dict(), "autoencoder.log_lam": one.autoencoder.log_lam.detach().expand(D).clone()}
    model.load_state_dict(state)
    torch.testing.assert_close(scores(model), scores(one))
    adapted = model.adapt(rows())
    found, expected = (m.autoencoder.attributes(rows(), *adapted) for m in (model, one))
    torch.testing.assert_close(found, expected)


def test_each_feature_has_the_lambda_of_its_own() -> None:
    """Feature by feature the objective is that of a model with that lambda alone."""
    net = RobustAutoencoder(D, 3, torch.Generator().manual_seed(0), per_feature=True).double()
    with torch.no_grad():
        net.log_lam.copy_(torch.linspace(-3, 1, D))
    z = torch.ones(2, 3, dtype=torch.float64)
    w, a = net.solve(rows(), z)
    for d in range(D):
        single = RobustAutoencoder(D, 3, torch.Generator().manual_seed(0)).double()
        with torch.no_grad():
            single.log_lam.fill_(net.log_lam[d])
        expected_w, expected_a = single.solve(rows(), z)
        torch.testing.assert_close(w[:, d], expected_w[:, d])
        torch.testing.assert_close(a[..., d], expected_a[..., d])


@pytest.mark.parametrize("encoder", ["mean", "sum", "set-transformer"])
def test_padding_changes_no_score(encoder: str) -> None:
    model = learner(encoder=encoder)
    mask = torch.arange(N) < torch.tensor([[N], [5]])
    with torch.no_grad():
        alone = model.score(rows(1)[1:], model.adapt(rows()[1:, :5]))
    torch.testing.assert_close(scores(model, mask)[1:], alone)


def test_cross_entropy_is_that_of_the_labels() -> None:
    model = learner(outer="cross-entropy")
    drawn = episodes()
    with torch.no_grad():
        s = model.score(drawn.query, model.adapt(drawn.support))
        p = (1e-8 + s) / (1 + s)
        truth = torch.zeros_like(p)
        truth[:, : drawn.n_anomalies] = 1
        expected = torch.nn.functional.binary_cross_entropy(p, truth, reduction="none").mean(-1)
    assert drawn.anomaly_mask is None
    torch.testing.assert_close(model.loss(drawn), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("option", ["formulation", "encoder", "outer"])
def test_unknown_options_are_refused(option: str) -> None:
    with pytest.raises(ValueError, match=f"{option}: expected one of .*, got 'what'"):
        learner(**{option: "what"})
