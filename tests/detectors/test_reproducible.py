"""One seed gives one result, bit for bit, and the global generators are left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heterad.data.toy import toy_tasks
from heterad.detectors import RobustMetaDetector

TOY = toy_tasks(6, 30)


def scores(random_state, **options) -> np.ndarray:
    detector = RobustMetaDetector(max_iter=6, eval_every=2, random_state=random_state, **options)
    return detector.fit(TOY.x, TOY.y, TOY.groups).adapt(TOY.x[:30]).decision_function(TOY.x)


def test_same_seed_same_bits_whatever_else_is_random() -> None:
    first = scores(3)
    torch.rand(5)
    np.random.seed(99)  # noqa: NPY002
    np.testing.assert_array_equal(scores(3), first)
    assert not np.array_equal(scores(4), first)


def test_random_states_of_numpy_and_none() -> None:
    first, second = (scores(np.random.RandomState(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(scores(None), scores(None))


@pytest.mark.parametrize("random_state", [0, None])
def test_global_generators_are_left_alone(random_state) -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    scores(random_state)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(numpy_before, np.random.get_state()[1])  # noqa: NPY002


def test_the_order_of_the_tasks_names_is_all_that_groups_mean() -> None:
    named = np.array(["a", "b", "c", "d", "e", "f"])[TOY.groups]
    detectors = [
        RobustMetaDetector(max_iter=4, validation_fraction=0).fit(TOY.x, TOY.y, groups)
        for groups in (TOY.groups, named)
    ]
    first, second = (d.decision_function(TOY.x) for d in detectors)
    np.testing.assert_array_equal(first, second)
