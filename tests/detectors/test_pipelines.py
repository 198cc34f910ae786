"""scikit-learn's tools around a detector: pipelines, frames, cloning, routing, pickling; and PyOD's interface."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import RobustScaler, StandardScaler

from heterad.data.toy import toy_tasks
from heterad.detectors import RobustMetaDetector

TOY = toy_tasks(10, 20)
NAMES = list("abcdefghij")
FRAMES = {
    "pandas": lambda x: pd.DataFrame(x, columns=NAMES),
    "polars": lambda x: pl.DataFrame(x, schema=NAMES),
    "arrow": lambda x: pa.table(list(x.T), names=NAMES),
}


def quick(**options) -> RobustMetaDetector:
    return RobustMetaDetector(**{"max_iter": 4, "eval_every": 2, "hidden": 8, "embed_dim": 8, **options})


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_keep_their_names(kind: str) -> None:
    frame = FRAMES[kind](TOY.x)
    detector = quick().fit(frame, TOY.y, TOY.groups)
    assert detector.feature_names_in_.tolist() == NAMES
    task = detector.adapt(frame)
    assert task.feature_names_in_.tolist() == NAMES
    plain = quick().fit(TOY.x, TOY.y, TOY.groups)
    for fitted, other in ((detector, plain), (task, plain.adapt(TOY.x))):
        np.testing.assert_array_equal(fitted.decision_function(frame), other.decision_function(TOY.x))
        np.testing.assert_array_equal(fitted.predict(frame), other.predict(TOY.x))
    with pytest.raises(ValueError, match="feature names should match"):
        task.decision_function(frame.select(NAMES[::-1]) if kind != "pandas" else frame[NAMES[::-1]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        task.decision_function(TOY.x)


def test_labels_and_groups_may_be_series() -> None:
    plain = quick().fit(TOY.x, TOY.y, TOY.groups)
    for series in (pd.Series, pl.Series, pa.array):
        fitted = quick().fit(TOY.x, series(TOY.y), series(TOY.groups))
        np.testing.assert_array_equal(fitted.support_scores_, plain.support_scores_)


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_a_pipeline_with_any_output(output: str) -> None:
    pipe = make_pipeline(StandardScaler(), quick()).set_output(transform=output)
    frame = FRAMES["polars" if output == "polars" else "pandas"](TOY.x)
    pipe.fit(frame, TOY.y, robustmetadetector__groups=TOY.groups)
    scaled = StandardScaler().fit_transform(TOY.x)
    direct = quick().fit(scaled, TOY.y, TOY.groups)
    np.testing.assert_allclose(pipe.decision_function(frame), direct.decision_function(scaled), rtol=1e-9)
    assert hasattr(pipe[-1], "feature_names_in_") == (output != "default")


def test_options_through_a_pipeline() -> None:
    pipe = Pipeline([("scale", RobustScaler()), ("detect", quick())])
    pipe.set_params(detect__n_iter=3, detect__contamination=0.2)
    copied = clone(pipe)
    assert copied["detect"].get_params() == pipe["detect"].get_params()
    assert copied["detect"].n_iter == 3
    copied.fit(TOY.x)
    assert copied.predict(TOY.x).mean() == pytest.approx(0.2, abs=0.01)
    assert not hasattr(clone(copied)["detect"], "task_")


def test_groups_are_routed_through_cross_validation() -> None:
    known = TOY.y >= 0
    x, y, groups = TOY.x[known], TOY.y[known], TOY.groups[known]
    seen = []

    class Spy(RobustMetaDetector):
        def fit(self, X, y=None, groups=None):
            seen.append(len(np.unique(groups)))
            return super().fit(X, y, groups)

    with config_context(enable_metadata_routing=True):
        pipe = make_pipeline(StandardScaler(), Spy(max_iter=2).set_fit_request(groups=True))
        scores = cross_val_score(
            pipe, x, y, cv=GroupKFold(5), scoring="roc_auc", params={"groups": groups}, error_score="raise"
        )
        assert seen == [8] * 5
        assert np.isfinite(scores).all()
        search = GridSearchCV(pipe, {"spy__n_iter": [2, 4]}, cv=GroupKFold(2), scoring="roc_auc", error_score="raise")
        assert search.fit(x, y, groups=groups).best_params_["spy__n_iter"] in (2, 4)


@pytest.mark.parametrize("copied", [lambda d: pickle.loads(pickle.dumps(d)), copy.deepcopy], ids=["pickle", "deepcopy"])
def test_pickles_are_model_files(copied) -> None:
    detector = quick(random_state=np.random.RandomState(3)).fit(FRAMES["pandas"](TOY.x), TOY.y, TOY.groups)
    detector.set_threshold(value=2.5)
    other = copied(detector)
    frame = FRAMES["pandas"](TOY.x)
    np.testing.assert_array_equal(other.decision_function(frame), detector.decision_function(frame))
    np.testing.assert_array_equal(other.adapt(frame).p_values(frame), detector.adapt(frame).p_values(frame))
    assert (other.threshold_, other.history_, other.learned_from_) == (2.5, detector.history_, detector.learned_from_)
    assert isinstance(other.random_state, np.random.RandomState)
    assert b"torch" not in pickle.dumps(detector)
    unfitted = copied(quick(n_iter=7))
    assert unfitted.n_iter == 7
    assert not hasattr(unfitted, "task_")


def test_a_damaged_pickle_is_noticed() -> None:
    state = quick().fit(TOY.x, TOY.y, TOY.groups).__getstate__()
    damaged = bytearray(state["_fitted"])
    damaged[-9] ^= 1
    with pytest.raises(ValueError, match="state: contents do not match their checksum"):
        RobustMetaDetector().__setstate__(state | {"_fitted": bytes(damaged)})


def test_an_adapted_task_pickles() -> None:
    task = quick().fit(TOY.x, TOY.y, TOY.groups).adapt(TOY.x[:20])
    other = pickle.loads(pickle.dumps(task))
    np.testing.assert_array_equal(other.decision_function(TOY.x), task.decision_function(TOY.x))
    np.testing.assert_array_equal(other.p_values(TOY.x), task.p_values(TOY.x))


def test_the_adapter_of_the_page_is_a_pyod_detector() -> None:
    pytest.importorskip("pyod", reason="PyOD is not installed")
    page = Path(__file__).parents[2] / "docs" / "files.md"
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S) if "pyod" in block)
    found: dict = {}
    exec(compile(code, "page", "exec"), found)
    detector = quick().fit(TOY.x, TOY.y, TOY.groups)
    adapted = found["HeteradDetector"](detector, contamination=0.2).fit(TOY.x[:20])
    np.testing.assert_array_equal(adapted.decision_scores_, detector.adapt(TOY.x[:20]).support_scores_)
    np.testing.assert_array_equal(adapted.decision_function(TOY.x), detector.adapt(TOY.x[:20]).decision_function(TOY.x))
    assert adapted.labels_.sum() == 4
    np.testing.assert_array_equal(adapted.predict(TOY.x[:20]), adapted.labels_)
    assert adapted.predict_proba(TOY.x).shape == (200, 2)
    assert set(adapted.get_params()) >= {"contamination", "detector"}
