"""The scikit-learn face of the methods."""

from heterad.detectors.ahl import AHLDetector
from heterad.detectors.devnet import DevNetDetector
from heterad.detectors.dra import DRADetector
from heterad.detectors.meta import MetaDetector
from heterad.detectors.robust_meta import RobustMetaDetector
from heterad.detectors.score_files import Scored, score_files
from heterad.detectors.task import TaskDetector

__all__ = [
    "AHLDetector",
    "DRADetector",
    "DevNetDetector",
    "MetaDetector",
    "RobustMetaDetector",
    "Scored",
    "TaskDetector",
    "score_files",
]
