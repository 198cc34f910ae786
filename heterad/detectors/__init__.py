"""The scikit-learn face of the methods."""

from heterad.detectors.robust_meta import RobustMetaDetector
from heterad.detectors.task import TaskDetector

__all__ = ["RobustMetaDetector", "TaskDetector"]
