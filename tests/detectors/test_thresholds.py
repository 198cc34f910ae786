"""Thresholds can be moved after fitting, three ways."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom


@pytest.mark.parametrize("contamination", [0.0, 0.05, 0.1, 0.37, 0.9])
def test_contamination_is_the_share_of_the_support_called_anomalous(fitted, target, contamination: float) -> None:
    x = target.x[:60]
    task = fitted.adapt(x).set_threshold(contamination=contamination)
    assert abs(task.predict(x).sum() - contamination * 60) <= 1


def test_value_is_the_score(fitted, target) -> None:
    task = fitted.adapt(target.x[:60])
    scores = task.decision_function(target.x)
    assert task.set_threshold(value=np.median(scores)) is task
    assert task.predict(target.x).mean() == 0.5
    np.testing.assert_array_equal(task.decision_function(target.x), scores)


def test_fpr_with_known_normals(fitted, target) -> None:
    rows, normal = target.groups == 0, target.x[(target.groups == 0) & ~target.anomalous]
    task = fitted.adapt(target.x[rows]).set_threshold(fpr=0.2, X_normal=normal)
    assert task.predict(normal).mean() == pytest.approx(0.2, abs=1 / len(normal))


def test_fpr_without_known_normals_presumes_them_in_the_support(fitted, target) -> None:
    x = target.x[:60]
    task = fitted.adapt(x).set_threshold(fpr=0.1)
    presumed = np.sort(task.support_scores_)[:54]
    assert (presumed > task.threshold_).mean() == pytest.approx(0.1, abs=1 / 54)
    stricter = fitted.adapt(x).set_threshold(fpr=0.01)
    assert stricter.threshold_ > task.threshold_


def test_new_normal_rows_are_flagged_at_about_the_chosen_rate(fitted) -> None:
    from heterad.data.toy import toy_tasks

    toy = toy_tasks(1, 1000, seed=7)
    normal = toy.x[~toy.anomalous]
    task = fitted.adapt(toy.x[:300]).set_threshold(fpr=0.1, X_normal=normal[:300])
    low, high = binom.interval(0.9999, 300, 0.1)
    assert low <= task.predict(normal[300:600]).sum() <= high * 1.5


def test_probabilities_move_with_the_threshold(fitted, target) -> None:
    x = target.x[:60]
    task = fitted.adapt(x)
    strict = task.set_threshold(contamination=0.05).predict_proba(x)[:, 1]
    lenient = task.set_threshold(contamination=0.5).predict_proba(x)[:, 1]
    assert (lenient > strict).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected exactly one of contamination, value, fpr, got none"),
        ({"value": 1, "fpr": 0.1}, r"expected exactly one .* got \['value', 'fpr'\]"),
        ({"contamination": 1.0}, r"contamination: expected a share in \[0, 1\), got 1.0"),
        ({"contamination": -0.1}, r"contamination: expected a share in \[0, 1\), got -0.1"),
        ({"fpr": 2}, r"fpr: expected a share in \[0, 1\), got 2"),
        ({"value": float("nan")}, "value: expected a finite number, got nan"),
        ({"value": 1, "X_normal": np.zeros((2, 10))}, "X_normal: expected only together with fpr"),
    ],
)
def test_bad_thresholds(fitted, options: dict, message: str) -> None:
    before = fitted.threshold_
    with pytest.raises(ValueError, match=message):
        fitted.set_threshold(**options)
    assert fitted.threshold_ == before
