"""Training that can be killed and go on: the loop's state in a file, written as it trains."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from heterad.train.files import read_tensors, write_tensors
from heterad.train.loop import Loop, Settings

OPTIONS = ("schedule", "warm_up", "averaging")
"""Settings that tell runs apart only where they are not the default, so that files from before them are taken up."""


def keep(loop: Loop, path: str | os.PathLike[str], about: Mapping[str, Any], *, every: float = 5.0) -> None:
    """Take up the state that a file holds, if it is there, and write the loop's to it after evaluations.

    A run that was killed and goes on ends with the weights of one that was not, bit for bit on the CPU. One that had
    ended trains no further, unless ``max_iter`` or ``patience`` has grown (``max_iter`` may not, where the learning
    rate falls towards it). Only the first of several processes writes; all must see the file.

    Args:
        loop: not yet run; its callback is called first.
        path: the file; each time replaced whole or not at all.
        about: what makes this run itself (JSON-able): data, seed, options. What the settings say of the steps is added.
        every: seconds between two writings at least; the last evaluation is always written.

    Raises:
        OSError: the file cannot be read or, from within the loop, written.
        ValueError: it is damaged, of another run or another model, or not seen by every process.

    Cost:
        Each writing: a copy of weights, their average and Adam's moments, once hashed.

    Example:
        >>> import tempfile, torch
        >>> from heterad.train import Settings
        >>> model = torch.nn.Linear(1, 1)
        >>> def trained(max_iter):
        ...     loop = Loop(model, lambda g: model(torch.rand(4, 1, generator=g)).square().mean(),
        ...                 torch.Generator().manual_seed(0), Settings(max_iter))
        ...     keep(loop, path, {"seed": 0})
        ...     return loop.run()
        >>> path = Path(tempfile.mkdtemp()) / "run.safetensors"
        >>> trained(50).history["step"], trained(100).history["step"]
        ([25, 50], [25, 50, 75, 100])
    """
    target = Path(path)
    settings = loop.settings
    about = dict(about) | {"lr": settings.lr, "eval_every": settings.eval_every}
    about |= {name: value for name in OPTIONS if (value := getattr(settings, name)) != getattr(Settings, name)}
    if settings.schedule != "constant":
        about["max_iter"] = settings.max_iter
    if target.exists():
        tensors, record = read_tensors(target)
        of = record.get("about", {})
        other = sorted(name for name in about.keys() | of.keys() if about.get(name) != of.get(name))
        if "seed" in other:  # which rows are learned from follows from it
            other = [name for name in other if name != "rows"]
        if other:
            raise ValueError(f"{target}: a checkpoint of a run with other {', '.join(other)}; name another file")
        loop.restore(tensors, record["loop"])
    if loop.processes.agree(loop.step) != loop.step:
        raise ValueError(f"{target}: expected a file that every process sees; put it on a file system they share")
    callback = loop.callback
    written = time.monotonic()

    def save(loop: Loop) -> None:
        nonlocal written
        if callback is not None:
            callback(loop)
        ended = loop.step == loop.settings.max_iter or loop.stopped
        if loop.processes.first and (ended or time.monotonic() - written >= every):
            tensors, record = loop.state()
            write_tensors(target, tensors, {"about": about, "loop": record})
            written = time.monotonic()

    loop.callback = save
