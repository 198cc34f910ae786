"""``heterad plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from heterad.data.tables import read_table
from heterad.detectors import RobustMetaDetector
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
        task: Column that names each row's task; without it all rows are one task.
        label: Column with the truth: 1 (anomaly), 0 (normal), -1 or nothing (unknown).
        out: Folder for the pictures.
    """
    detector = RobustMetaDetector.load(model)
    if data is None:
        files = draw(detector, out)
    else:
        names = getattr(detector, "feature_names_in_", None)
        table = read_table(data, task=task, label=label, features=None if names is None else names.tolist())
        files = draw(detector, out, table.x, table.groups, table.y)
    print(f"Wrote to {out}: {', '.join(file.name for file in files)}.")
