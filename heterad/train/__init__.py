"""The training loop, its state and its files; nothing here knows of any one method."""

from heterad.train.files import read_tensors, write_tensors
from heterad.train.loop import Loop, Settings

__all__ = ["Loop", "Settings", "read_tensors", "write_tensors"]
