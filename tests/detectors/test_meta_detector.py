"""A detector of any meta-learner: the methods of comparison, other forms of the method, and what cannot be one."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from heterad import RobustMetaDetector
from heterad.data import toy_tasks
from heterad.detectors import MetaDetector
from heterad.methods import MetaLearner, RobustMeta
from heterad.methods.baselines import AE, BASELINES, DAGM, Proto, RobustAE

TOY = toy_tasks(10, 30)
LEARNERS = {
    **BASELINES,
    "ae": partial(AE, n_iter=20),
    "rae": partial(RobustAE, n_iter=20),
    "dagm": partial(DAGM, n_iter=20),
    "svdd": partial(RobustMeta, formulation="svdd"),
    "no task vector": partial(RobustMeta, task_in_h=False, task_in_start=False),
}


@pytest.fixture(scope="module", params=LEARNERS)
def fitted(request) -> MetaDetector:
    return MetaDetector(LEARNERS[request.param], max_iter=10, eval_every=5).fit(TOY.x, TOY.y, TOY.groups)


def test_it_adapts_and_scores(fitted) -> None:
    x = TOY.x[TOY.groups == 3]
    before = fitted.decision_function(x)
    task = fitted.adapt(x)
    scores = task.decision_function(x)
    assert scores.shape == (30,)
    assert scores.dtype == np.float64
    np.testing.assert_array_equal(scores, task.support_scores_)
    np.testing.assert_array_equal(scores[:4], task.decision_function(x[:4]))
    assert task.predict(x).sum() == (scores > task.threshold_).sum() == 3
    assert ((task.p_values(x) > 0) & (task.p_values(x) <= 1)).all()
    np.testing.assert_array_equal(fitted.decision_function(x), before)


def test_what_can_be_meta_trained_is(fitted) -> None:
    learned = fitted.model_.meta_learned
    assert fitted.n_iter_ == (10 if learned else 0)
    assert list(fitted.history_) == (["step", "loss", "validation", "seconds"] if learned else [])
    assert (fitted.best_validation_ is None) == (not learned)
    assert len(fitted.validation_groups_) == fitted.calibration_.n_tasks == 2


def test_it_pickles_and_clones(fitted) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.decision_function(TOY.x[:9]), fitted.decision_function(TOY.x[:9]))
    assert clone(fitted).get_params().keys() == fitted.get_params().keys()


def test_only_what_reconstructs_explains(fitted) -> None:
    explains = isinstance(fitted.model_, RobustMeta) and fitted.model_.autoencoder.center is None
    assert [hasattr(fitted.task_, name) for name in ("explain", "reconstruct", "export")] == [explains] * 3
    if not explains:
        with pytest.raises(AttributeError, match="has no attribute 'explain'"):
            fitted.task_.explain(TOY.x)


def test_the_papers_method_is_that_of_its_own_detector() -> None:
    options = {"max_iter": 10, "eval_every": 5}
    one = MetaDetector(RobustMeta, **options).fit(TOY.x, TOY.y, TOY.groups)
    other = RobustMetaDetector(**options).fit(TOY.x, TOY.y, TOY.groups)
    np.testing.assert_array_equal(one.decision_function(TOY.x), other.decision_function(TOY.x))
    np.testing.assert_allclose(one.calibration_.scores, other.calibration_.scores, rtol=1e-9)


class Centre(MetaLearner):
    """A method of one's own: the weighted distance to the mean of the support rows."""

    def __init__(self, n_features: int, generator: torch.Generator) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.rand(n_features, generator=generator))

    def adapt(self, support, mask=None):
        if mask is None:
            return support.mean(-2)
        return (support * mask[..., None]).sum(-2) / mask.sum(-1, keepdim=True)

    def score(self, x, adapted):
        return ((x - adapted.unsqueeze(-2)) * self.weight).square().sum(-1)


def test_a_method_of_ones_own() -> None:
    detector = MetaDetector(Centre, max_iter=60, lr=0.01).fit(TOY.x, TOY.y, TOY.groups)
    first, last = detector.history_["loss"][:3], detector.history_["loss"][-3:]
    assert np.mean(last) < np.mean(first)
    support, x = TOY.x[:40], TOY.x[40:60]
    u, v = detector.scaling_.apply(support), detector.scaling_.apply(x)
    expected = ((v - u.mean(0)) ** 2) @ (detector.model_.weight.numpy() ** 2)
    np.testing.assert_allclose(detector.adapt(support).decision_function(x), expected)


@pytest.mark.parametrize(
    ("learner", "error", "message"),
    [
        (lambda n, generator: None, TypeError, "got one that makes a NoneType"),
        ("proto", TypeError, "learner: expected a class or function that makes a MetaLearner, got 'proto'"),
        (Proto(10, torch.Generator()), TypeError, "expected a class or function that makes a MetaLearner, got Proto"),
        (partial(Proto, radius=0.0), ValueError, "radius: expected a number > 0, got 0.0"),
    ],
)
def test_what_is_no_method_is_refused(learner, error, message: str) -> None:
    with pytest.raises(error, match=message):
        MetaDetector(learner).fit(TOY.x, TOY.y, TOY.groups)


@pytest.mark.parametrize("name", ["tasks_per_step", "max_iter", "support_size"])
def test_options_out_of_range_are_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        MetaDetector(Proto, **{name: 0}).fit(TOY.x, TOY.y, TOY.groups)


@parametrize_with_checks([MetaDetector(Proto, max_iter=5), MetaDetector(LEARNERS["ae"])])
@pytest.mark.filterwarnings("ignore:y. expected 1 .anomaly.:UserWarning")
def test_estimator(estimator, check) -> None:
    check(estimator)
