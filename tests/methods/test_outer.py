"""What the outer loss is made of: other tasks' normals as anomalies, and the cross-entropy of log-odds."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from heterad.data import TaskSet, toy_tasks
from heterad.methods import RobustMeta, Sampling, meta_fit
from heterad.methods.baselines import BASELINES
from heterad.methods.meta import MetaLearner, with_foreign
from heterad.train import Settings

SIZES = [(2, 3, 4), (1, 5, 2), (2, 2, 6)]  # anomalies, normals, unlabelled rows of three tasks


def source(sizes=SIZES) -> TaskSet:
    y = [label for counts in sizes for label, n in zip((1, 0, -1), counts, strict=True) for _ in range(n)]
    groups = [t for t, counts in enumerate(sizes) for _ in range(sum(counts))]
    x = torch.randn(len(y), 4, generator=torch.Generator().manual_seed(0))
    return TaskSet(x, y, groups)


class Odds(MetaLearner):
    """Scores that are log-odds: the first feature."""

    log_odds = True
    outer = "cross-entropy"

    def adapt(self, support, mask=None):
        return None

    def score(self, x, adapted):
        return x[..., 0]


@pytest.mark.parametrize("n_tasks", [1, 2])
def test_foreign_normals_are_the_next_tasks(n_tasks: int) -> None:
    tasks = source()
    drawn = tasks.episodes(torch.arange(3), torch.Generator().manual_seed(0))
    more = with_foreign(drawn, n_tasks)
    assert torch.equal(more.support, drawn.support)
    for t in range(3):
        found = more.query[t, : more.n_anomalies][more.anomaly_mask[t]]
        own = drawn.query[t, : drawn.n_anomalies][drawn.anomaly_mask[t]]
        foreign = [
            drawn.query[o, drawn.n_anomalies :][drawn.normal_mask[o]] for o in ((t + 1 + i) % 3 for i in range(n_tasks))
        ]
        assert torch.equal(found, torch.cat([*foreign, own]))
        normals = more.query[t, more.n_anomalies :][more.normal_mask[t]]
        assert torch.equal(normals, drawn.query[t, drawn.n_anomalies :][drawn.normal_mask[t]])


def test_tasks_of_one_size_need_no_mask() -> None:
    drawn = source([SIZES[0]] * 3).episodes(torch.arange(3), torch.Generator().manual_seed(0))
    assert with_foreign(drawn, 2).anomaly_mask is None
    assert with_foreign(drawn, 2).n_anomalies == 2 * 3 + 2


def test_tasks_without_anomalies_rank_foreign_ones() -> None:
    tasks = source([(0, 3, 4)] * 3)
    drawn = with_foreign(tasks.episodes(torch.arange(3), torch.Generator().manual_seed(0)), 1)
    assert drawn.n_anomalies == 3
    learner = RobustMeta(4, torch.Generator().manual_seed(0))
    meta_fit(
        learner,
        tasks,
        torch.Generator().manual_seed(0),
        sampling=Sampling(tasks_per_step=3, foreign=2),
        settings=Settings(max_iter=2),
    )


def test_more_foreign_tasks_than_others_are_refused() -> None:
    drawn = source().episodes(torch.arange(3), torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="foreign: expected fewer than the 3 tasks of a step, got 3"):
        with_foreign(drawn, 3)


def test_cross_entropy_of_log_odds_in_ragged_tasks() -> None:
    drawn = source().episodes(torch.arange(3), torch.Generator().manual_seed(0))
    found = Odds().loss(drawn)
    for t, (p, n, _) in enumerate(SIZES):
        s = drawn.query[t, :, 0]
        s = torch.cat([s[:p], s[drawn.n_anomalies : drawn.n_anomalies + n]])
        truth = torch.tensor([1.0] * p + [0.0] * n)
        expected = torch.nn.functional.binary_cross_entropy_with_logits(s, truth)
        torch.testing.assert_close(found[t], expected)


@pytest.mark.parametrize("outer", ["auc", "cross-entropy"])
def test_a_classifier_of_tasks_without_anomalies_has_a_least_loss(outer: str) -> None:
    learner = Odds()
    learner.outer = outer
    lone = source([(0, 3, 4)] * 2).episodes(torch.arange(2), torch.Generator().manual_seed(0))
    mixed = source([(0, 3, 4), (2, 3, 4)]).episodes(torch.arange(2), torch.Generator().manual_seed(0))
    for drawn in (lone, mixed):
        normals = drawn.query[0, drawn.n_anomalies :, 0]
        expected = torch.nn.functional.binary_cross_entropy_with_logits(normals, torch.zeros_like(normals))
        torch.testing.assert_close(learner.loss(drawn)[0], expected)


@pytest.mark.parametrize(
    ("make", "unit"),
    [
        (partial(RobustMeta, embed_dim=6), 3),  # the features of a row
        (partial(RobustMeta, embed_dim=6, formulation="svdd"), 6),  # the ones of a center
        (partial(BASELINES["np"], radius=2.0), 4),  # of a sphere
        (partial(BASELINES["rproto"], radius=2.0), 4),
    ],
)
def test_errors_of_normals_are_in_units_of_what_a_score_is_made_of(make, unit: int) -> None:
    learner = make(3, torch.Generator().manual_seed(0))
    lone = toy_tasks(2, 20, n_features=3)
    tasks = TaskSet(lone.x, np.where(lone.y == 1, -1, lone.y), lone.groups)
    drawn = tasks.episodes(torch.arange(2), torch.Generator().manual_seed(0))
    scores = learner.score(drawn.query, learner.adapt(drawn.support))
    torch.testing.assert_close(learner.loss(drawn), scores.mean(-1) / unit)
