"""scikit-learn's own checks of an estimator, none excused."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from heterad.detectors import RobustMetaDetector


@parametrize_with_checks([RobustMetaDetector(max_iter=5)])
@pytest.mark.filterwarnings("ignore:y. expected 1 .anomaly.:UserWarning")
def test_estimator(estimator, check) -> None:
    check(estimator)
