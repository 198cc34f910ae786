"""The methods that learn from the target alone: by definition, one task at a time, and that they detect."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from heterad.methods import MetaLearner
from heterad.methods.baselines import AE, BASELINES, DAGM, IsolationForest, OneClassSVM, RobustAE
from heterad.methods.baselines.stacked import run, stack
from heterad.ops import roc_auc, soft_threshold


def plain(net) -> torch.nn.Sequential:
    layers = [net.first, *net.rest]
    copies = [torch.nn.Linear(layer.in_features, layer.out_features, dtype=torch.float64) for layer in layers]
    for copy, layer in zip(copies, layers, strict=True):
        copy.load_state_dict(layer.state_dict())
    return torch.nn.Sequential(*[m for copy in copies for m in (copy, torch.nn.ReLU())][:-1])


@pytest.mark.parametrize("lam", [None, 1.0, 1e6])
def test_autoencoders_are_each_trained_alone_by_the_definition(lam: float | None) -> None:
    """Adam on mean ||x + a - r(x)||² with a by soft threshold, or none."""
    generator = torch.Generator().manual_seed(0)
    learner = AE(5, generator, n_iter=20) if lam is None else RobustAE(5, generator, lam=lam, n_iter=20)
    learner.double()
    supports = torch.randn(2, 20, 5, generator=generator, dtype=torch.float64)
    tests = torch.randn(2, 7, 5, generator=generator, dtype=torch.float64)
    mask = torch.arange(20) < torch.tensor([[20], [11]])
    found = learner.score(tests, learner.adapt(supports, mask))
    for t, n in enumerate((20, 11)):
        x, network = supports[t, :n], plain(learner.start)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for _ in range(20):
            fit = network(x)
            a = 0 if lam is None else soft_threshold(fit.detach() - x, lam / 2)
            loss = (x + a - fit).square().sum() / n
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(found[t], (tests[t] - network(tests[t])).square().sum(-1), atol=1e-9, rtol=1e-9)


def test_dagm_energy_is_that_of_its_gaussian_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    learner = DAGM(5, generator, n_iter=3, embed_dim=2, floor=1e-2).double()
    x = torch.randn(1, 40, 5, generator=generator, dtype=torch.float64)
    weights, mixture = learner.adapt(x)
    rows, code = x[0].numpy(), run(weights[:4], x)
    fit = run(weights[4:8], code)[0].numpy()
    relative = np.linalg.norm(rows - fit, axis=1) / np.linalg.norm(rows, axis=1)
    cosine = (rows * fit).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(fit, axis=1)
    z = np.column_stack([code[0].numpy(), relative, cosine])
    member = run(weights[8:], torch.as_tensor(z)[None])[0].softmax(-1).numpy()
    logs = []
    for k in range(2):
        covariance = np.cov(z.T, aweights=member[:, k], ddof=0) + 1e-2 * np.eye(4)
        mean = np.average(z, axis=0, weights=member[:, k])
        logs.append(math.log(member[:, k].mean()) + multivariate_normal(mean, covariance).logpdf(z))
    energy = learner.score(x, (weights, mixture))[0].numpy()
    np.testing.assert_allclose(energy, -logsumexp(logs, axis=0), rtol=1e-8)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_dagm_tells_a_reconstruction_by_its_direction_at_every_scale(scale: float) -> None:
    learner = DAGM(5, torch.Generator().manual_seed(0))
    x = scale * torch.randn(1, 9, 5, generator=torch.Generator().manual_seed(1))
    weights = tuple(w for net in learner.nets() for w in stack(net, (1,)))
    with torch.no_grad():
        z, _ = learner._describe(weights, x)
        fit = run(weights[4:8], run(weights[:4], x))
    expected = torch.nn.functional.cosine_similarity(x.double(), fit.double(), -1)
    torch.testing.assert_close(z[..., -1].double(), expected, atol=1e-5, rtol=0)


def test_dagm_bears_a_component_that_no_row_belongs_to() -> None:
    learner = DAGM(5, torch.Generator().manual_seed(0), n_iter=3)
    learner.estimator.rest[-1].bias.copy_(torch.tensor([300.0, -300.0]))
    x = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(1))
    assert learner.score(x, learner.adapt(x)).isfinite().all()


@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e6])
def test_dagm_bears_rows_of_any_scale(scale: float) -> None:
    learner = DAGM(50, torch.Generator().manual_seed(0), n_iter=3)
    x = scale * torch.randn(1, 40, 50, generator=torch.Generator().manual_seed(1))
    assert learner.score(x, learner.adapt(x)).isfinite().all()


@pytest.mark.parametrize("name", ["ae", "rae", "dagm"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
def test_many_learners_at_once_are_as_each_alone(name: str, dtype: torch.dtype, tolerance: float) -> None:
    """The whole grid, two seeds and a width of their own, on ragged tasks; float32 steps of Adam amplify rounding."""
    generator = torch.Generator().manual_seed(0)
    method: Any = BASELINES[name]
    grid = [{**hyper, "n_iter": hyper["n_iter"] // 50} for hyper in method.GRID]
    choices = [*((hyper, seed) for hyper in grid for seed in (1, 2)), ({"hidden": 8, "n_iter": 3}, 1)]
    learners = [method(5, torch.Generator().manual_seed(seed), **h).to(dtype) for h, seed in choices]
    support, tests = (torch.randn(2, n, 5, generator=generator, dtype=dtype) for n in (20, 7))
    mask = torch.arange(20) < torch.tensor([[20], [11]])
    for learner, adapted in zip(learners, method.adapt_all(learners, support, mask), strict=True):
        for t, n in enumerate((20, 11)):
            alone = learner.score(tests[t], learner.adapt(support[t, :n]))
            found = learner.score(tests, adapted)[t]
            torch.testing.assert_close(found, alone, atol=tolerance, rtol=tolerance)


def test_learners_that_differ_in_steps_alone_are_trained_once() -> None:
    told = []
    learners = [RobustAE(5, torch.Generator().manual_seed(0), lam=lam, n_iter=n) for lam in (0.1, 1.0) for n in (3, 9)]
    RobustAE.adapt_all(learners, torch.ones(2, 4, 5), callback=lambda *step: told.append(step))
    assert told == [(step, 9) for step in range(1, 10)]


@pytest.mark.parametrize(("learner", "estimator"), [(OneClassSVM, "OneClassSVM"), (IsolationForest, "IsolationForest")])
def test_shallow_scores_are_scikit_learns(learner: type[MetaLearner], estimator: str) -> None:
    from sklearn import ensemble, svm

    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    model = learner(4, torch.Generator().manual_seed(0))
    if estimator == "OneClassSVM":
        reference = svm.OneClassSVM(nu=0.5)
    else:
        reference = ensemble.IsolationForest(random_state=model.seed)
    expected = -reference.fit(x.numpy()).score_samples(x.numpy())
    np.testing.assert_allclose(model.score(x, model.adapt(x)).numpy(), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["osvm", "if", "ae", "rae", "dagm"])
def test_they_detect(name: str) -> None:
    """Normals near a line through the origin, anomalies off it, a tenth of them in the support."""
    rng = np.random.default_rng(0)
    line = rng.normal(size=(2, 1, 6))

    def draw(n_normal: int, n_anomalous: int) -> torch.Tensor:
        normal = rng.normal(size=(2, n_normal, 1)) * line + 0.1 * rng.normal(size=(2, n_normal, 6))
        return torch.as_tensor(
            np.concatenate([normal, 3 * rng.normal(size=(2, n_anomalous, 6))], 1), dtype=torch.float32
        )

    learner = BASELINES[name](6, torch.Generator().manual_seed(0))
    scores = learner.score(draw(50, 50), learner.adapt(draw(45, 5)))
    truth = torch.tensor([0, 1]).repeat_interleave(50).expand(2, -1)
    assert roc_auc(scores, truth).min() > 0.9
