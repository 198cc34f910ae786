"""One of several processes that train together; started by test_distributed.py with torchrun's variables."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

import heterad.methods.meta
from heterad.data import TaskSet, toy_tasks
from heterad.methods import RobustMeta, Sampling, meta_fit
from heterad.train import Loop, Settings, join, keep, write_tensors


def tasks(first: int, n: int) -> TaskSet:
    """Tasks of different sizes; every third has no labelled anomaly."""
    toy = toy_tasks(first + n, 40, n_features=6)
    row = np.tile(np.arange(40), first + n)
    kept = (toy.groups >= first) & (row < 40 - toy.groups) & ((toy.y != 1) | (toy.groups % 3 > 0))
    return TaskSet(toy.x[kept], toy.y[kept], toy.groups[kept])


def main(act: str, folder: Path) -> None:
    learner = RobustMeta(6, torch.Generator().manual_seed(0))
    gradients = {}
    every_time = patch.object(heterad.methods.meta, "keep", partial(keep, every=0))
    with every_time, join(timeout=5 if act == "sleep" else 300) as processes:

        def callback(loop: Loop) -> None:
            if loop.step == 1:
                parts = loop.vector.leaf.grad.split([p.numel() for p in learner.parameters()])
                names = (name for name, _ in learner.named_parameters())
                gradients.update({f"grad.{name}": g.clone() for name, g in zip(names, parts, strict=True)})
            if processes.rank == 1 and loop.step == 10 and act == "die":
                os._exit(1)
            if processes.rank == 1 and loop.step == 10 and act == "sleep":
                time.sleep(600)
            if act == "killed" and loop.step == 20:
                (folder / f"reached-{processes.rank}").touch()
                time.sleep(600)

        meta_fit(
            learner,
            tasks(0, 12),
            torch.Generator().manual_seed(1),
            validation=tasks(12, 4),
            sampling=Sampling(5, support_size=16),
            settings=Settings(30, eval_every=1, patience=None),
            callback=callback,
            checkpoint=folder / "checkpoint" if act in ("killed", "resume") else None,
            processes=processes,
        )
        write_tensors(folder / f"{act}-{processes.rank}-{processes.size}", learner.state_dict() | gradients, {})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
