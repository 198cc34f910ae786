"""``heterad plot``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import tyro

from heterad.cli import ahl
from heterad.cli.options import refuse
from heterad.data.row_files import RowFiles
from heterad.data.tables import read_table
from heterad.detectors import RobustMetaDetector
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
    skip_unreadable: bool = False,
) -> None:
    """Draw how a detector learned and, given rows, their scores, ROC curve and what made them anomalous.

    Args:
        model: File that heterad fit wrote.
        data: Rows to score, read whole: CSV or Parquet, a folder or a glob of either. For a model that --method ahl
            learned from images, a folder of them: those of its test, or if it has none all.
        task: Column that names each row's task, by default the one the model was fitted with.
        label: Column with the truth: 1 (anomaly), 0 (normal), -1 or nothing (unknown).
        out: Folder for the pictures.
        skip_unreadable: Of images, for a model of --method ahl: leave out those that cannot be decoded.
    """
    of_ahl = ahl.learned_by_ahl(plot, locals(), {"task"}, {"skip_unreadable"})
    if data is None:
        refuse(plot, locals(), {"task", "label", "skip_unreadable"}, "without DATA")
    files = ahl.plot(model, data, label, out, skip_unreadable) if of_ahl else _plot_tasks(model, data, task, label, out)
    print(f"Wrote to {out}: {', '.join(file.name for file in files)}.")


def _plot_tasks(model: Path, data: Path | None, task: str | None, label: str | None, out: Path) -> list[Path]:
    detector = RobustMetaDetector.load(model)
    if data is None:
        return draw(detector, out)
    columns, _ = choose_columns(detector, RowFiles(data), task)
    table = read_table(data, label=label, columns=columns)
    files = draw(detector, out, table.x, table.groups, table.y)
    tasks = [""] * len(table.matrix) if table.groups is None else table.groups.tolist()
    for note in about_short({name: n for name, n in Counter(tasks).items() if n < LEAST}):
        print(f"Note: {note}.")
    return files
