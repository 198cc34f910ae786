"""The training loop, its state and its files; nothing here knows of any one method."""

from heterad.train.checkpoint import keep
from heterad.train.distributed import ALONE, Processes, join
from heterad.train.files import read_tensors, write_tensors
from heterad.train.graph import Graph
from heterad.train.logs import JSONLog, Report, TensorBoardLog, each
from heterad.train.loop import Loop, Settings
from heterad.train.vector import Vector

__all__ = [
    "ALONE",
    "Graph",
    "JSONLog",
    "Loop",
    "Processes",
    "Report",
    "Settings",
    "TensorBoardLog",
    "Vector",
    "each",
    "join",
    "keep",
    "read_tensors",
    "write_tensors",
]
