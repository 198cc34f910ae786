"""What a user expects of RobustMetaDetector and of the task detectors it makes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from heterad.data.toy import toy_tasks
from heterad.detectors import RobustMetaDetector, TaskDetector
from heterad.detectors.inputs import fit_scaling

rng = np.random.default_rng(0)


def quick(**options) -> RobustMetaDetector:
    return RobustMetaDetector(**{"max_iter": 4, "eval_every": 2, "hidden": 8, "embed_dim": 8, **options})


def test_it_finds_anomalies_and_their_attributes_in_unseen_tasks(fitted, target) -> None:
    auc, named = [], []
    for task in range(6):
        rows = target.groups == task
        detector = fitted.adapt(target.x[rows])
        auc.append(roc_auc_score(target.anomalous[rows], detector.decision_function(target.x[rows])))
        bad = target.anomalous & rows
        size = np.abs(detector.explain(target.x[bad]))
        named.append(roc_auc_score((target.attributes[bad] != 0).ravel(), size.ravel()))
    assert np.mean(auc) > 0.93
    assert np.mean(named) > 0.8


def test_scores_are_reconstruction_errors(fitted, target) -> None:
    x = target.x[:60]
    task = fitted.adapt(x)
    gap = fitted.scaling_.apply(x) - fitted.scaling_.apply(task.reconstruct(x))
    np.testing.assert_allclose(task.decision_function(x), (gap**2).sum(1), rtol=1e-9)
    attributes = task.explain(x)
    lam = fitted.model_.autoencoder.lam.item()
    np.testing.assert_allclose(attributes, -np.sign(gap) * np.maximum(np.abs(gap) - lam / 2, 0), atol=1e-9)


def test_adapt_leaves_the_detector_alone(fitted, target) -> None:
    before = fitted.decision_function(target.x)
    task = fitted.adapt(target.x[:60]).set_threshold(value=0)
    np.testing.assert_array_equal(fitted.decision_function(target.x), before)
    assert isinstance(task, TaskDetector)
    assert fitted.threshold_ > 0
    assert not np.allclose(task.decision_function(target.x), before)


def test_the_order_of_the_support_does_not_matter(fitted, target) -> None:
    x = target.x[:60]
    first, second = fitted.adapt(x), fitted.adapt(x[rng.permutation(60)])
    np.testing.assert_allclose(first.decision_function(x), second.decision_function(x), rtol=1e-9)


def test_the_detectors_own_task_is_its_training_rows(fitted, source) -> None:
    unlabelled = source.x[source.y == -1]
    np.testing.assert_array_equal(fitted.support_scores_, fitted.decision_function(unlabelled))
    expected = fitted.adapt(unlabelled)
    np.testing.assert_array_equal(fitted.decision_function(source.x), expected.decision_function(source.x))
    np.testing.assert_array_equal(fitted.explain(source.x[:5]), expected.explain(source.x[:5]))


def test_predictions_agree_with_scores(fitted, target) -> None:
    task = fitted.adapt(target.x[:60])
    for detector in (fitted, task):
        scores, labels = detector.decision_function(target.x), detector.predict(target.x)
        probability = detector.predict_proba(target.x)
        np.testing.assert_array_equal(labels, scores > detector.threshold_)
        np.testing.assert_allclose(probability.sum(1), 1)
        np.testing.assert_array_equal(labels, probability[:, 1] > 0.5)
        order = np.argsort(scores)
        assert (np.diff(probability[order, 1]) >= 0).all()


def test_history_tells_the_training(fitted) -> None:
    history = fitted.history_
    assert history["step"] == list(range(10, 91, 10))
    assert all(len(values) == 9 for values in history.values())
    assert fitted.best_validation_ == max(history["validation"])
    assert history["step"][int(np.argmax(history["validation"]))] == fitted.best_iter_
    assert fitted.n_iter_ == 90
    assert len(fitted.validation_groups_) == 4


def test_early_stopping(source) -> None:
    detector = RobustMetaDetector(max_iter=500, eval_every=1, patience=2, lr=1e-9).fit(
        source.x, source.y, source.groups
    )
    assert detector.n_iter_ < 20


def test_validation_groups_may_be_named(source) -> None:
    detector = quick().fit(source.x, source.y, source.groups, validation_groups=[7, 3])
    assert detector.validation_groups_.tolist() == [3, 7]


def test_few_tasks_train_without_validation() -> None:
    toy = toy_tasks(4, 20)
    detector = quick().fit(toy.x, toy.y, toy.groups)
    assert detector.history_["validation"] == [None, None]
    assert detector.best_validation_ is None
    assert detector.best_iter_ == detector.n_iter_ == 4


def test_callback_is_called_at_every_look(source) -> None:
    steps: list[int] = []
    quick().fit(source.x, source.y, source.groups, callback=lambda loop: steps.append(loop.step))
    assert steps == [2, 4]


def test_normals_of_other_tasks_stand_in_for_anomalies(source) -> None:
    def looks(**options) -> list[float]:
        normal = np.where(source.y == 1, -1, source.y)
        return quick(tasks_per_step=4, **options).fit(source.x, normal, source.groups).history_["validation"]

    assert max(looks()) < 0  # without anomalies there is nothing to rank: minus the mean error
    assert min(looks(foreign=3)) > 0  # an AUC
    for number in (4, -1, 0.5):
        with pytest.raises(ValueError, match=rf"foreign: expected an integer from 0 to 3, .* got {number}"):
            looks(foreign=number)


def test_one_unlabelled_task() -> None:
    x = np.concatenate([rng.normal(size=(57, 4)), rng.normal(size=(3, 4)) + 8])
    detector = RobustMetaDetector(max_iter=30, contamination=0.05).fit(x)
    assert set(np.argsort(detector.decision_function(x))[-3:]) == {57, 58, 59}
    assert detector.predict(x).sum() == 3


def test_tasks_with_labelled_normals_only(source) -> None:
    y = np.where(source.y == 1, -1, source.y)
    detector = quick().fit(source.x, y, source.groups)
    assert max(detector.history_["validation"]) < 0
    assert np.isfinite(detector.decision_function(source.x)).all()


@pytest.mark.parametrize("kind", ["str", "object", "float"])
def test_groups_of_any_type(kind: str) -> None:
    toy = toy_tasks(5, 20)
    names = {"str": toy.groups.astype(str), "object": toy.groups.astype(str).astype(object)}
    detector = quick().fit(toy.x, toy.y, names.get(kind, toy.groups.astype(float)))
    assert len(detector.validation_groups_) == 1


def test_data_frames_carry_names(fitted) -> None:
    toy = toy_tasks(5, 20)
    frame = pd.DataFrame(toy.x, columns=[f"f{i}" for i in range(10)])
    detector = quick().fit(frame, pd.Series(toy.y), pd.Series(toy.groups))
    assert detector.feature_names_in_.tolist() == frame.columns.tolist()
    task = detector.adapt(frame[:20])
    np.testing.assert_array_equal(task.decision_function(frame), task.decision_function(frame.copy()))
    with pytest.raises(ValueError, match="feature names should match"):
        task.decision_function(frame.rename(columns={"f1": "other"}))
    with pytest.raises(ValueError, match="feature names should match"):
        detector.adapt(frame[frame.columns[::-1]])


def test_features_of_any_scale_score_alike(source, target) -> None:
    scale = 10.0 ** np.arange(-20, 20, 4)
    plain = quick().fit(source.x, source.y, source.groups).adapt(target.x[:60])
    scaled = quick().fit(source.x * scale, source.y, source.groups).adapt(target.x[:60] * scale)
    np.testing.assert_allclose(scaled.decision_function(target.x * scale), plain.decision_function(target.x), rtol=1e-3)


def test_without_scaling_the_model_sees_the_features_themselves(source) -> None:
    detector = quick(scale=None).fit(source.x, source.y, source.groups)
    np.testing.assert_array_equal(detector.scaling_.apply(source.x), source.x)


def test_scaling_is_of_the_source_tasks_alone(source) -> None:
    detector = quick().fit(source.x, source.y, source.groups, validation_groups=[0, 1])
    np.testing.assert_allclose(detector.scaling_.mean, source.x[source.groups > 1].mean(0))
    np.testing.assert_allclose(detector.scaling_.scale, source.x[source.groups > 1].std(0))


def test_one_scale_for_features_of_one_kind(source) -> None:
    scaling = quick(scale="global").fit(source.x, source.y, source.groups, validation_groups=[0, 1]).scaling_
    rows = source.x[source.groups > 1]
    np.testing.assert_allclose(scaling.mean, np.full(rows.shape[1], rows.mean()))
    np.testing.assert_allclose(scaling.scale, np.full(rows.shape[1], rows.std()))


def test_the_tails_of_the_scaling_are_logarithms_and_can_be_undone() -> None:
    scaling = fit_scaling(np.array([[1.0, 10.0], [3.0, 10.0]]), "standard")
    np.testing.assert_array_equal(scaling.mean, [2, 10])
    np.testing.assert_array_equal(scaling.scale, [1, 1])
    x = 2 + np.array([-1e300, -103, -3, -1, 0, 2.9, 3, 3 + np.e - 1])[:, None] * [1, 0]
    u = scaling.apply(x)[:, 0]
    np.testing.assert_allclose(u[1:], [-3 - np.log(101), -3, -1, 0, 2.9, 3, 4], rtol=1e-12)
    assert -700 < u[0] < u[1]
    np.testing.assert_allclose(scaling.undo(scaling.apply(x)), x, rtol=1e-9)


def test_rows_however_far_out_have_finite_scores(fitted, target) -> None:
    far = target.x[:20] * 10.0 ** np.arange(0, 300, 15)[:, None]
    task = fitted.adapt(np.concatenate([target.x[:60], far]))
    assert np.isfinite(task.decision_function(far)).all()
    assert np.isfinite(task.reconstruct(far)).all()


def test_constant_features_and_repeated_rows() -> None:
    x = np.repeat(rng.normal(size=(6, 3)), 5, axis=0)
    x[:, 1] = 1 / 3
    detector = quick().fit(x)
    assert detector.scaling_.scale[1] == 1
    assert np.isfinite(detector.decision_function(x + 1)).all()
    same = quick().fit(np.full((5, 2), 7.0))
    assert np.isfinite(same.predict_proba(np.full((5, 2), 7.0))).all()


def test_its_own_support_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("heterad.detectors.meta.MAX_OWN_SUPPORT", 50)
    assert len(quick().fit(rng.normal(size=(80, 3))).support_scores_) == 50


def test_scoring_in_chunks_changes_nothing(fitted, target, monkeypatch: pytest.MonkeyPatch) -> None:
    task = fitted.adapt(target.x[:60])
    whole = task.decision_function(target.x)
    monkeypatch.setattr("heterad.detectors.task.CHUNK", 7)
    np.testing.assert_allclose(task.decision_function(target.x), whole, rtol=1e-12)
    one_by_one = np.concatenate([task.decision_function(row[None]) for row in target.x[:50]])
    np.testing.assert_allclose(one_by_one, whole[:50], rtol=1e-9)


def test_clone_forgets_the_fit(fitted) -> None:
    assert not hasattr(clone(fitted), "task_")
    assert clone(fitted).get_params() == fitted.get_params()


@pytest.mark.gpu
def test_a_gpu_learns_what_the_cpu_learns(source, target) -> None:
    options = {"max_iter": 60, "lr": 2e-3, "support_size": 32}
    detector = RobustMetaDetector(**options, device="cuda").fit(source.x, source.y, source.groups)
    assert next(detector.model_.parameters()).is_cuda
    x, truth = target.x[:60], target.anomalous[:60]
    assert roc_auc_score(truth, detector.adapt(x).decision_function(x)) > 0.9
