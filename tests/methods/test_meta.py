"""The shared outer objective and meta-training, on a learner simple enough to reckon by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from heterad.data import TaskSet
from heterad.methods import MetaLearner, Sampling, meta_fit
from heterad.train import Settings


class Distance(MetaLearner):
    """Scores a row by its squared distance from the support mean, each feature with a weight."""

    def __init__(self, n_features: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_features))
        self.unit = n_features

    def adapt(self, support: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return support.mean(-2)
        return torch.where(mask[..., None], support, 0).sum(-2) / mask.sum(-1, keepdim=True)

    def score(self, x: Tensor, adapted: Tensor) -> Tensor:
        return ((x - adapted.unsqueeze(-2)).square() * self.weight).sum(-1)


def tasks(n_tasks: int = 4, *, without: tuple[int, ...] = (), seed: int = 0) -> TaskSet:
    """Anomalies stand out in feature 0 only, while feature 1 is louder; tasks in ``without`` have none labelled."""
    rng = np.random.default_rng(seed)
    x, y, groups = [], [], []
    for task in range(n_tasks):
        n = 12 + task
        label = np.where(np.arange(n) < 6, np.arange(n) < (0 if task in without else 2), -1)
        x.append(rng.normal(size=(n, 2)) * [0.3, 2] + 1.5 * (label == 1)[:, None] * [1, 0])
        y.append(label)
        groups.append(np.full(n, task))
    return TaskSet(np.concatenate(x), np.concatenate(y), np.concatenate(groups), dtype=torch.float64)


def episodes(source: TaskSet):
    return source.episodes(torch.arange(len(source)), torch.Generator().manual_seed(0))


def each_task(source: TaskSet):
    """(anomalies, normals) scores of each task alone."""
    learner = Distance().double()
    for task in range(len(source)):
        drawn = source.episodes(torch.tensor([task]), torch.Generator().manual_seed(0))
        scores = learner.score(drawn.query, learner.adapt(drawn.support))[0].detach()
        yield scores[: drawn.n_anomalies], scores[drawn.n_anomalies :]


def test_loss_is_one_minus_the_smoothed_auc_of_each_task() -> None:
    source = tasks()
    loss = Distance().double().loss(episodes(source))
    by_hand = [1 - torch.sigmoid(p[:, None] - n).mean() for p, n in each_task(source)]
    torch.testing.assert_close(loss, torch.stack(by_hand))


@pytest.mark.parametrize("without", [(1,), (0, 2), (0, 1, 2, 3)])
def test_tasks_without_anomalies_have_their_reconstruction_error(without: tuple[int, ...]) -> None:
    source = tasks(without=without)
    loss = Distance().double().loss(episodes(source))
    for task, (anomalies, normals) in enumerate(each_task(source)):
        wanted = normals.mean() / 2 if task in without else 1 - torch.sigmoid(anomalies[:, None] - normals).mean()
        torch.testing.assert_close(loss[task], wanted)


def test_gradients_of_mixed_tasks_are_finite() -> None:
    learner = Distance().double()
    learner.loss(episodes(tasks(without=(1,)))).sum().backward()
    assert learner.weight.grad.isfinite().all()
    assert learner.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("trim", "kept"), [(0.0, 6), (0.1, 6), (0.2, 5), (0.5, 3), (0.99, 1)])
def test_trim_leaves_out_the_worst_normals(trim: float, kept: int) -> None:
    source = tasks(without=(0, 1, 2, 3))
    loss = Distance().double().loss(episodes(source), trim=trim)
    by_hand = [normals.sort().values[:kept].mean() / 2 for _, normals in each_task(source)]
    torch.testing.assert_close(loss, torch.stack(by_hand))


def test_auc_is_sklearns_and_nan_without_anomalies() -> None:
    source = tasks(without=(2,))
    auc = Distance().double().auc(episodes(source))
    assert auc.dtype == torch.float64
    for task, (anomalies, normals) in enumerate(each_task(source)):
        if task == 2:
            assert auc[task].isnan()
        else:
            truth = [1] * len(anomalies) + [0] * len(normals)
            assert auc[task].item() == pytest.approx(roc_auc_score(truth, torch.cat([anomalies, normals])))


def fit(learner: Distance, **options):
    settings = Settings(max_iter=60, lr=0.05, eval_every=20)
    options = {"source": tasks(), "generator": torch.Generator().manual_seed(0), "settings": settings, **options}
    return meta_fit(learner, **options)


def test_meta_fit_learns_which_feature_matters() -> None:
    learner = Distance().double()
    loop = fit(learner, validation=tasks(seed=1), sampling=Sampling(tasks_per_step=3, support_size=5, query_size=5))
    assert learner.weight[0] > 1.3 > 0.7 > learner.weight[1]
    assert loop.best_value == max(loop.history["validation"])
    assert loop.best_value > 0.9


def test_validation_is_the_mean_auc_of_the_tasks_that_have_one() -> None:
    validation = tasks(without=(0,), seed=1)
    learner = Distance().double()
    value = fit(learner, validation=validation, settings=Settings(max_iter=1)).best_value
    assert value == pytest.approx(learner.auc(episodes(validation))[1:].mean().item())


def test_validation_without_anomalies_is_minus_the_loss() -> None:
    validation = tasks(without=(0, 1, 2, 3), seed=1)
    learner = Distance().double()
    value = fit(learner, validation=validation, settings=Settings(max_iter=1)).best_value
    assert value == pytest.approx(-learner.loss(episodes(validation)).mean().item())


def test_one_task_a_step_is_the_default() -> None:
    seen = []

    class Spy(Distance):
        def loss(self, episodes, *, trim: float = 0.0) -> Tensor:
            seen.append(len(episodes.tasks))
            return super().loss(episodes, trim=trim)

    learner = Spy().double()
    meta_fit(learner, tasks(), torch.Generator().manual_seed(0), settings=Settings(max_iter=3))
    assert seen == [1, 1, 1]


def test_the_global_generators_are_left_alone() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    fit(Distance().double(), validation=tasks(seed=1))
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_before == np.random.get_state()[1]).all()  # noqa: NPY002


def test_nothing_validated_keeps_the_last_weights() -> None:
    loop = fit(Distance().double())
    assert loop.best_value == -math.inf
    assert loop.best_step == loop.step == 60
