"""``heterad plot``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import tyro

from heterad.data.row_files import RowFiles
from heterad.data.tables import read_table
from heterad.detectors import RobustMetaDetector
from heterad.detectors.ahl_files import is_ahl
from heterad.detectors.gather import LEAST
from heterad.detectors.score_files import about_short, choose_columns
from heterad.experiments.plots import draw

Model = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Data = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]


def plot(
    model: Model,
    data: Data = None,
    task: str | None = None,
    label: str | None = None,
    out: Path = Path("heterad-plots"),
) -> None:
    """Draw how a detector learned and, given rows, their scores, ROC curve and anomalous attributes.

    Args:
        model: File that heterad fit wrote.
        data: Rows to score, read whole: CSV or Parquet, a folder or a glob of either.
        task: Column that names each row's task, by default the one the model was fitted with.
        label: Column with the truth: 1 (anomaly), 0 (normal), -1 or nothing (unknown).
        out: Folder for the pictures.
    """
    if is_ahl(model):
        raise ValueError(f"{model}: expected a model that learned from many tasks, got one of --method ahl")
    detector = RobustMetaDetector.load(model)
    if data is None:
        files = draw(detector, out)
    else:
        columns, _ = choose_columns(detector, RowFiles(data), task)
        table = read_table(data, label=label, columns=columns)
        files = draw(detector, out, table.x, table.groups, table.y)
        tasks = [""] * len(table.matrix) if table.groups is None else table.groups.tolist()
        for note in about_short({name: n for name, n in Counter(tasks).items() if n < LEAST}):
            print(f"Note: {note}.")
    print(f"Wrote to {out}: {', '.join(file.name for file in files)}.")
