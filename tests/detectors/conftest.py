"""One detector, fitted once, for all tests that only use it."""

from __future__ import annotations

import pytest

from heterad.data.toy import ToyTasks, toy_tasks
from heterad.detectors import RobustMetaDetector


@pytest.fixture(scope="session")
def source() -> ToyTasks:
    return toy_tasks(20, 60)


@pytest.fixture(scope="session")
def target() -> ToyTasks:
    """Six tasks that ``fitted`` has not seen."""
    return toy_tasks(6, 60, seed=1)


@pytest.fixture(scope="session")
def session_detector(source: ToyTasks) -> RobustMetaDetector:
    return RobustMetaDetector(max_iter=90, lr=2e-3, support_size=32).fit(source.x, source.y, source.groups)


@pytest.fixture
def fitted(session_detector: RobustMetaDetector) -> RobustMetaDetector:
    """The fitted detector with its thresholds as fitted: tests may move them."""
    for detector in (session_detector, session_detector.task_):
        detector.set_threshold(contamination=session_detector.contamination)
    return session_detector
