"""Bad input to the detectors: a ValueError or TypeError naming the argument, what was expected and what came."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from heterad.data.toy import toy_tasks
from heterad.detectors import RobustMetaDetector
from heterad.testing import available_backends

TOY = toy_tasks(5, 20)
NAN = np.where(np.arange(10) == 3, np.nan, TOY.x)
INF = np.where(np.arange(10) == 3, np.inf, TOY.x)


@pytest.mark.parametrize(
    ("error", "options", "message"),
    [
        (ValueError, {"n_iter": 0}, "n_iter: expected at least 1, got 0"),
        (TypeError, {"n_iter": 2.5}, "n_iter: expected an integer, got 2.5"),
        (TypeError, {"max_iter": None}, "max_iter: expected an integer, got None"),
        (TypeError, {"task_dim": True}, "task_dim: expected an integer, got True"),
        (ValueError, {"support_size": 0}, "support_size: expected at least 1, got 0"),
        (ValueError, {"query_size": -3}, "query_size: expected at least 1, got -3"),
        (ValueError, {"patience": 0}, "patience: expected at least 1, got 0"),
        (ValueError, {"mu_init": -0.1}, "mu_init: expected a finite number above 0, got -0.1"),
        (ValueError, {"lam_init": 0}, "lam_init: expected a finite number above 0, got 0"),
        (ValueError, {"lr": float("inf")}, "lr: expected a finite number above 0, got inf"),
        (ValueError, {"lr": float("nan")}, "lr: expected a finite number above 0, got nan"),
        (TypeError, {"lr": "fast"}, "lr: expected a number, got 'fast'"),
        (ValueError, {"contamination": 1}, r"contamination: expected a share in \[0, 1\), got 1"),
        (ValueError, {"validation_fraction": 1.5}, r"validation_fraction: expected a share in \[0, 1\)"),
        (ValueError, {"averaging": 1}, r"averaging: expected a number in \[0, 1\), got 1"),
        (ValueError, {"schedule": "linear"}, "schedule: expected one of constant, cosine, got 'linear'"),
        (ValueError, {"scale": "minmax"}, "scale: expected 'standard', 'global' or None, got 'minmax'"),
        (ValueError, {"random_state": -1}, "random_state: expected an integer >= 0, a RandomState or None, got -1"),
        (ValueError, {"random_state": "x"}, "random_state: expected an integer >= 0"),
        (ValueError, {"device": "toaster"}, "device: expected .* got 'toaster'"),
        (ValueError, {"device": "cuda:99"}, "device: expected .* got 'cuda:99'"),
        (ValueError, {"device": "meta"}, "device: expected .* got 'meta'"),
    ],
)
def test_options(error: type[Exception], options: dict, message: str) -> None:
    with pytest.raises(error, match=message):
        RobustMetaDetector(**options).fit(TOY.x, TOY.y, TOY.groups)


@pytest.mark.parametrize(
    ("x", "y", "groups", "message"),
    [
        (NAN, TOY.y, TOY.groups, "Input X contains NaN"),
        (INF, TOY.y, TOY.groups, "Input X contains infinity"),
        (TOY.x[0], None, None, "Expected 2D array, got 1D array"),
        (TOY.x[None], None, None, "Found array with dim 3"),
        (TOY.x[:1], None, None, r"Found array with 1 sample\(s\)"),
        (TOY.x[:0], None, None, r"Found array with 0 sample\(s\)"),
        (TOY.x[:, :0], None, None, r"Found array with 0 feature\(s\)"),
        (TOY.x, TOY.y[:-1], TOY.groups, "y: expected one value for each of the 100 rows of X, got 99"),
        (TOY.x, TOY.y, TOY.groups[:-1], "groups: expected one value for each of the 100 rows of X, got 99"),
        (TOY.x, TOY.y * 2, TOY.groups, r"y: expected 1 \(anomaly\), 0 \(normal\) or -1 \(unlabelled\), got \[-2, 2\]"),
        (TOY.x, TOY.y + 0.5, None, r"y: expected 1 .* got \[-0.5, 0.5, 1.5\]"),
        (TOY.x, np.where(TOY.y == 1, np.nan, TOY.y), TOY.groups, r"y: expected 1 .* got \[nan\]"),
        (TOY.x, np.array(["normal", "bad"] * 50), TOY.groups, r"y: expected 1 .* got \['bad', 'normal'\]"),
        (TOY.x, np.stack([TOY.y, TOY.y], 1), TOY.groups, "y should be a 1d array"),
        (TOY.x, np.where(TOY.groups == 3, -1, TOY.y), TOY.groups, "task 3: expected at least one row labelled normal"),
        (TOY.x, np.ones(100), None, "task 0: expected at least one row labelled normal"),
        (TOY.x, TOY.y, np.where(TOY.groups == 2, np.nan, TOY.groups), "groups: expected a task for every row, got NaN"),
        (TOY.x, TOY.y, [None] * len(TOY.x), "groups: expected a task for every row, got None in 100 rows"),
        (TOY.x, TOY.y, np.array([1, "a"] * 50, object), "groups: expected values of one type, got int, str"),
        (TOY.x, TOY.y, TOY.groups[:, None].repeat(2, 1), "y should be a 1d array"),
    ],
)
def test_fit(x, y, groups, message: str) -> None:
    detector = RobustMetaDetector(max_iter=1)
    with pytest.raises(ValueError, match=message):
        detector.fit(x, y, groups)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([9], r"validation_groups: expected values of groups, got \[9\]"),
        (range(5), "validation_groups: expected to leave a task to train on, got all 5"),
    ],
)
def test_validation_groups(chosen, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RobustMetaDetector().fit(TOY.x, TOY.y, TOY.groups, validation_groups=chosen)


def test_targets_of_another_problem_are_ignored_with_a_warning() -> None:
    other = np.arange(100) % 3
    with pytest.warns(UserWarning, match="y is ignored and every row taken as unlabelled"):
        warned = RobustMetaDetector(max_iter=1).fit(TOY.x, other)
    plain = RobustMetaDetector(max_iter=1).fit(TOY.x)
    np.testing.assert_array_equal(warned.support_scores_, plain.support_scores_)


def test_values_too_large_to_train_on_unscaled() -> None:
    with pytest.raises(ValueError, match="training diverged"):
        RobustMetaDetector(max_iter=3, scale=None).fit(TOY.x * 1e30, TOY.y, TOY.groups)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (NAN, "Input X contains NaN"),
        (INF, "Input X contains infinity"),
        (TOY.x[:, :3], "X has 3 features, but .* is expecting 10 features"),
        (TOY.x[0], "Expected 2D array, got 1D array"),
        (np.full((3, 10), "a"), "could not convert string to float"),
    ],
)
@pytest.mark.parametrize("face", ["adapt", "decision_function", "predict", "predict_proba", "explain", "task"])
def test_use(fitted, face: str, x, message: str) -> None:
    call = fitted.adapt(TOY.x).decision_function if face == "task" else getattr(fitted, face)
    with pytest.raises(ValueError, match=message):
        call(x)


def test_values_too_large_to_use_unscaled() -> None:
    detector = RobustMetaDetector(max_iter=1, scale=None).fit(TOY.x, TOY.y, TOY.groups)
    with pytest.raises(ValueError, match="X: expected values whose squares are finite, got values up to"):
        detector.decision_function(TOY.x * 1e200)
    if available_backends("robust_ridge")[1:]:  # plain torch's LU does not see that the system is numerically singular
        with pytest.raises(ValueError, match="X: expected values that can be adapted to, got up to"):
            detector.adapt(TOY.x[:5] * 1e30)


def test_adapting_to_one_row(fitted) -> None:
    with pytest.raises(ValueError, match=r"1 sample\(s\) .* minimum of 2 is required"):
        fitted.adapt(TOY.x[:1])


@pytest.mark.parametrize("face", ["adapt", "decision_function", "predict", "predict_proba", "explain"])
def test_not_fitted(face: str) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        getattr(RobustMetaDetector(), face)(TOY.x)


def test_saving_before_fitting(tmp_path) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        RobustMetaDetector().save(tmp_path / "m")
    assert not list(tmp_path.iterdir())
