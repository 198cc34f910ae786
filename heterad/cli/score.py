"""``heterad score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from heterad.cli import ahl
from heterad.cli.progress import bars
from heterad.data.parts import check_format
from heterad.data.row_files import counted
from heterad.data.whole_file import spare, writable_file
from heterad.detectors import RobustMetaDetector, score_files
from heterad.detectors.score_files import shard
from heterad.train import join

META = {"task", "explain", "support"}  # what only models of meta-learning know
Model = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
Data = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DATA [DATA ...]")]


def score(
    model: Model,
    data: Data,
    out: Path = Path("scores.csv"),
    task: str | None = None,
    contamination: float | None = None,
    threshold: float | None = None,
    explain: int = 0,
    support: int = 512,
    skip_unreadable: bool = False,
    device: str = "cpu",
) -> None:
    """Score rows, or images, by a model; one of many tasks first adapts to each task of the unlabelled rows.

    Repeated after a kill, it goes on (not for a model of --method ahl).

    Args:
        model: File that heterad fit wrote.
        data: CSV (.gz too) or Parquet files, folders or globs of them, with the columns the model was fitted to; other
            columns are passed over. For a model that --method ahl learned from images, a folder of them: in
            itself, in folders of it, or in the folders of its train and test, all of which are scored.
        out: File to write, .csv or .parquet (each process of torchrun one of its own): row, task, score (higher is more
            anomalous), p-value and label (1 anomaly, 0 normal) of each row. For a model of --method ahl: row, or
            file of an image, score and label.
        task: Column that names each row's task, by default the one the model was fitted with; tasks need not be known.
        contamination: Share of rows of each task to label anomalous; for a model of --method ahl, share of the known
            normals that set its threshold to lie above it. The model's own is the default.
        threshold: Label rows anomalous above this score instead.
        explain: So many attributes, the most anomalous first, to name for each row.
        support: Rows of a task to adapt to at most.
        skip_unreadable: Of images, for a model of --method ahl: leave out those that cannot be decoded.
        device: Where to compute: cpu or cuda.
    """
    spare(writable_file(check_format(out)), [model, *data])
    if ahl.learned_by_ahl(score, locals(), META, {"skip_unreadable"}):
        return ahl.score(model, data, out, contamination, threshold, skip_unreadable, device)
    with join(device) as processes, bars(shown=processes.first) as report:
        found = score_files(
            RobustMetaDetector.load(model, device=processes.device),
            data,
            out,
            task=task,
            contamination=contamination,
            threshold=threshold,
            explain=explain,
            support=support,
            report=report,
            processes=processes,
        )
    for note in found.notes if processes.first else []:
        print(f"Note: {note}.")
    of = f"{counted(found.n_rows, 'row')} of {counted(found.n_tasks, 'task')}"
    about = f"Scored {of}, {found.n_anomalous:,} of them anomalous."
    print(f"{about} Wrote {shard(out, processes)}.")
