"""What a training loop tells while it runs: callbacks that write JSON lines and TensorBoard's event files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heterad.train.loop import Loop

Callback = Callable[[Loop], None]

Report = Callable[[str, int, int], None]
"""Told the name of a stage, how much of it is done, and how much there is."""


def each(*callbacks: Callback | None) -> Callback:
    """One callback that calls several in turn; None stands for none.

    Example:
        >>> heard = []
        >>> each(heard.append, None, heard.append)("loop")
        >>> heard
        ['loop', 'loop']
    """

    def call(loop: Loop) -> None:
        for callback in callbacks:
            if callback is not None:
                callback(loop)

    return call


def latest(loop: Loop) -> dict[str, Any]:
    """The last entry of the loop's history, by quantity."""
    return {name: values[-1] for name, values in loop.history.items()}


class JSONLog:
    """A callback that appends each evaluation to a file as one line of JSON, readable while training goes on.

    Args:
        path: the file; lines that it holds stay. Of a run that goes on from a checkpoint, steps written twice are
            the same.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, torch
        >>> from heterad.train import Settings
        >>> path = Path(tempfile.mkdtemp()) / "log.jsonl"
        >>> model = torch.nn.Linear(1, 1)
        >>> loss = lambda g: model(torch.rand(4, 1, generator=g)).square().mean()
        >>> run = Loop(model, loss, torch.Generator().manual_seed(0), Settings(50), callback=JSONLog(path)).run()
        >>> [json.loads(line)["step"] for line in path.read_text().splitlines()]
        [25, 50]
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.open("a").close()

    def __call__(self, loop: Loop) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(latest(loop)) + "\n")


class TensorBoardLog:
    """A callback that writes loss and validation value for TensorBoard; needs the package ``tensorboard``.

    Args:
        folder: where ``tensorboard --logdir`` looks; made if it is not there.

    Raises:
        ImportError: tensorboard is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError:
            raise ImportError(
                "a log for TensorBoard needs tensorboard; install it with: pip install 'heterad[log]'"
            ) from None

        self.writer = SummaryWriter(str(folder))

    def __call__(self, loop: Loop) -> None:
        entry = latest(loop)
        for name, value in entry.items():
            if name != "step" and isinstance(value, float):
                self.writer.add_scalar(name, value, entry["step"])
        self.writer.flush()
