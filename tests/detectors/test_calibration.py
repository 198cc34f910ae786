"""Conformal p-values: the formula, and that they promise what they say."""

from __future__ import annotations

import numpy as np
import pytest

from heterad.data.toy import toy_tasks
from heterad.detectors import RobustMetaDetector
from heterad.detectors.calibration import Calibration, calibrate

LEVELS = np.array([0.01, 0.05, 0.1, 0.2, 0.5, 0.9])


def test_the_formula() -> None:
    held = Calibration(np.array([1.0, 2.0, 3.0, 10.0]), np.array([0, 0, 0, 1]))
    expected = [(1 + 4) / 5, (1 + 2 * (1 + 1 / 3)) / 5, (1 + 2) / 5, 1 / 5]
    np.testing.assert_allclose(held.p_values(np.array([-1.0, 3.0, 5.0, 11.0])), np.minimum(expected, 1))


def test_it_is_the_usual_one_where_tasks_are_of_one_size() -> None:
    rng = np.random.default_rng(0)
    scores, new = rng.normal(size=60), rng.normal(size=9)
    usual = [(1 + (scores >= s).sum()) / 61 for s in new]
    np.testing.assert_allclose(Calibration(scores, np.arange(60) % 5).p_values(new), usual)


def test_exchangeable_rows_are_rejected_at_most_as_often_as_said() -> None:
    rng = np.random.default_rng(0)
    n = 4000
    p = np.array([Calibration(s[1:], np.arange(30) % 3).p_values(s[:1])[0] for s in rng.exponential(size=(n, 31))])
    rejected = (p[:, None] <= LEVELS).mean(0)
    assert (rejected <= LEVELS + 4 * np.sqrt(LEVELS * (1 - LEVELS) / n)).all()
    assert (rejected >= LEVELS - 1 / 31 - 4 * np.sqrt(LEVELS * (1 - LEVELS) / n)).all()


@pytest.mark.parametrize("n_tasks", [4, 19])
def test_rows_of_new_tasks_are_rejected_at_most_as_often_as_said(n_tasks: int) -> None:
    rng = np.random.default_rng(0)
    n = 3000
    sizes = rng.integers(1, 40, n_tasks)
    p = []
    for _ in range(n):  # tasks differ more than rows do
        level = rng.normal(size=n_tasks + 1) * 3
        of = np.repeat(np.arange(n_tasks), sizes)
        p.append(Calibration(level[of] + rng.normal(size=len(of)), of).p_values(level[-1:] + rng.normal(size=1))[0])
    rejected = (np.array(p)[:, None] <= LEVELS).mean(0)
    assert (rejected <= LEVELS + (1 - LEVELS) / (n_tasks + 1) + 4 * np.sqrt(LEVELS * (1 - LEVELS) / n)).all()


def test_rows_of_adapted_tasks_are_rejected_at_most_as_often_as_said(fitted) -> None:
    """Of 150 new tasks, again and again some calibrate and others are tested; all adapt to contaminated rows."""
    new = toy_tasks(150, 60, seed=7)
    every = calibrate(fitted._score_each, new.x, new.y, new.groups, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    p = []
    for _ in range(300):
        chosen = rng.permutation(150)[:20]
        of = np.isin(every.tasks, chosen[:10])
        held = Calibration(every.scores[of], np.unique(every.tasks[of], return_inverse=True)[1])
        tested = [held.p_values(every.scores[every.tasks == t]) for t in chosen[10:]]
        p.append(np.mean([(of_task[:, None] <= LEVELS).mean(0) for of_task in tested], axis=0))
    share = np.mean(p, axis=0)
    assert (share <= LEVELS + (1 - LEVELS) / 11).all()
    assert abs(share - LEVELS).max() < 0.07


def test_anomalies_get_small_p_values(fitted, target) -> None:
    first = target.groups == 0
    p = fitted.adapt(target.x[first]).p_values(target.x[first])
    assert np.median(p[target.anomalous[first]]) < 0.1 < np.median(p[~target.anomalous[first]])


def test_nothing_held_out_is_adapted_to(fitted, source) -> None:
    held = np.isin(source.groups, fitted.validation_groups_)
    n_normal = ((source.y == 0) & held).sum()
    assert len(fitted.calibration_.scores) == n_normal
    x, y, groups = source.x[held], source.y[held], source.groups[held]
    found = calibrate(fitted._score_each, x, y, groups, np.random.default_rng(0))
    for number, name in enumerate(np.unique(groups)):
        task = fitted.adapt(x[(groups == name) & (y == -1)])
        expected = task.decision_function(x[(groups == name) & (y == 0)])
        np.testing.assert_allclose(np.sort(found.scores[found.tasks == number]), np.sort(expected))


def test_unlabelled_and_fully_labelled_tasks_are_halved(fitted, source) -> None:
    x, groups = source.x[:240], source.groups[:240]
    none = calibrate(fitted._score_each, x, np.full(240, -1), groups, np.random.default_rng(0))
    assert len(none.scores) == 120
    full = np.zeros(240, int)
    assert len(calibrate(fitted._score_each, x, full, groups, np.random.default_rng(0)).scores) == 120


def test_without_held_out_normals_there_are_none(source) -> None:
    few = source.groups < 3
    detector = RobustMetaDetector(max_iter=2).fit(source.x[few], source.y[few], source.groups[few])
    assert detector.calibration_ is None
    with pytest.raises(ValueError, match="p_values: expected a detector fitted with validation tasks"):
        detector.adapt(source.x[:20]).p_values(source.x[:2])
