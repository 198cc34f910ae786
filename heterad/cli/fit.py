"""``heterad fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from heterad.cli.progress import bars
from heterad.data.tables import read_table
from heterad.data.whole_file import writable_folder
from heterad.detectors import RobustMetaDetector

File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CSV")]


def fit(
    data: File,
    task: str | None = None,
    label: str | None = None,
    ignore: tuple[str, ...] = (),
    model: Path = Path("model.safetensors"),
    max_iter: int = 1000,
    seed: int = 0,
) -> None:
    """Meta-train a detector on a CSV file of many tasks.

    Args:
        data: CSV file with a header line; every column not named below is a feature and holds numbers.
        task: Column that names each row's task; without it all rows are one task.
        label: Column with 1 (anomaly), 0 (normal), -1 or nothing (unlabelled); without it nothing is labelled.
        ignore: Columns that are no features.
        model: File to write the detector to.
        max_iter: Training steps at most.
        seed: Of everything random.
    """
    table = read_table(data, task=task, label=label, ignore=ignore)
    writable_folder(model.parent)
    detector = RobustMetaDetector(max_iter=max_iter, random_state=seed)
    with bars() as report:
        report("meta-training", 0, max_iter)
        detector.fit(table.x, table.y, table.groups, callback=lambda loop: report("meta-training", loop.step, max_iter))
    detector.save(model)
    n_tasks = 1 if table.groups is None else len(np.unique(table.groups))
    print(f"Learned {table.x.num_columns} features of {table.x.num_rows} rows in {n_tasks} tasks.")
    if detector.best_validation_ is not None:
        n_validation = len(detector.validation_groups_)
        print(f"Best on {n_validation} validation tasks: {detector.best_validation_:.3f} (step {detector.best_iter_}).")
    print(f"Wrote {model}. Next: heterad score new.csv --model {model}" + (f" --task {task}" if task else ""))
