"""Many tasks at once are what each would be alone."""

from __future__ import annotations

import numpy as np
import pytest

from heterad.detectors import adapted_tasks
from heterad.detectors.adapted_tasks import UnusableError


@pytest.fixture
def uneven(target):
    """Tasks of 2 to 60 rows, by task."""
    rng = np.random.default_rng(0)
    sizes = np.array([2, 60, 7, 33, 3, 41])
    rows = np.concatenate([rng.permutation(np.flatnonzero(target.groups == t))[:n] for t, n in enumerate(sizes)])
    return target.x[rows], sizes


@pytest.mark.parametrize("cells", [1, 2000, 1 << 17])
@pytest.mark.parametrize("in_a_file", [False, True])
def test_as_each_alone(fitted, uneven, tmp_path, monkeypatch, cells: int, in_a_file: bool) -> None:
    monkeypatch.setattr(adapted_tasks, "CELLS", cells)
    x, sizes = uneven
    found = fitted.many_tasks(8, tmp_path / "decoders" if in_a_file else None)
    numbers = np.array([6, 0, 3, 1, 7, 2])
    found.adapt(numbers, x, sizes, 0.2)
    order = np.random.default_rng(1).permutation(len(x))
    scores, attributes = found.score(x[order], np.repeat(numbers, sizes)[order], explain=True)
    start = np.cumsum(sizes) - sizes
    for number, first, n in zip(numbers, start, sizes, strict=True):
        mine = x[first : first + n]
        task = fitted.adapt(mine).set_threshold(contamination=0.2)
        at = np.argsort(order)[first : first + n]
        np.testing.assert_allclose(scores[at], task.decision_function(mine), rtol=1e-9)
        np.testing.assert_allclose(attributes[at], task.explain(mine), atol=1e-9)
        assert found.thresholds[number] == pytest.approx(task.threshold_)
    if in_a_file:
        found.flush()
        again = fitted.many_tasks(8, tmp_path / "decoders")
        again.z = found.z
        np.testing.assert_array_equal(again.score(x[order], np.repeat(numbers, sizes)[order])[0], scores)
        np.testing.assert_allclose(again.score(x, np.repeat(numbers, sizes))[0][order], scores, rtol=1e-12)


def test_one_task_taken_up(fitted, target) -> None:
    found = fitted.many_tasks(1)
    found.put(0, fitted.task_.adapted_, 2.0)
    scores, attributes = found.score(target.x, np.zeros(len(target.x), int))
    np.testing.assert_allclose(scores, fitted.decision_function(target.x), rtol=1e-9)
    assert attributes is None
    assert found.thresholds[0] == 2


def test_values_too_large(source) -> None:
    from heterad.detectors import RobustMetaDetector

    detector = RobustMetaDetector(max_iter=1, scale=None).fit(source.x, source.y, source.groups)
    found = detector.many_tasks(1)
    found.adapt(np.array([0]), source.x[:9], np.array([9]), 0.1)
    with pytest.raises(UnusableError, match="expected values whose squares are finite, got values up to"):
        found.score(source.x[:3] * 1e200, np.zeros(3, int))
