"""``heterad fit``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import tyro

from heterad.cli import ahl as ahl_commands
from heterad.cli.options import refuse
from heterad.cli.progress import bars
from heterad.data.row_files import RowFiles, counted
from heterad.data.tables import read_table
from heterad.data.whole_file import spare, writable_file
from heterad.detectors import RobustMetaDetector
from heterad.detectors.card import remarks, validation
from heterad.train import JSONLog, TensorBoardLog, each, join

LOOP = {"max_iter", "tasks_per_step", "foreign", "checkpoint", "json_log", "tensorboard", "timeout"}
META = {"task", *LOOP}  # what only meta-learning knows
Data = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DATA [DATA ...]")]


def fit(
    data: Data,
    task: str | None = None,
    label: str | None = None,
    ignore: tuple[str, ...] = (),
    one_hot: tuple[str, ...] = (),
    missing: Literal["error", "median"] = "error",
    model: Path = Path("model.safetensors"),
    max_iter: int = 1000,
    tasks_per_step: int = 8,
    foreign: int = 0,
    seed: int = 0,
    checkpoint: Path | None = None,
    json_log: Path | None = None,
    tensorboard: Path | None = None,
    device: str = "cpu",
    timeout: float = 600,
    method: Literal["robust-meta", "ahl"] = "robust-meta",
    ahl: ahl_commands.AHLOptions = ahl_commands.AHLOptions(),  # noqa: B008 - frozen
) -> None:
    """Meta-train a detector on files of many tasks, or learn by AHL from few seen anomalies.

    Args:
        data: CSV (.gz too) or Parquet files, folders or globs of them; every column not named below is a feature and
            holds numbers. For --method ahl also a folder of images with train/good, as in MVTec AD.
        task: Column that names each row's task; without it all rows are one task.
        label: Column with 1 (anomaly), 0 (normal), -1 or nothing (unlabelled); without it nothing is labelled.
        ignore: Columns that are no features.
        one_hot: Columns of categories; each category becomes a feature that is 1 or 0.
        missing: Where a number is missing: stop with an error, or put the column's median there.
        model: File to write the detector to.
        max_iter: Training steps at most.
        tasks_per_step: Tasks whose mean loss makes a step; processes of torchrun share them.
        foreign: Of so many other tasks of a step the labelled normals are anomalies of each task; helps where tasks
            differ in what is normal.
        seed: Of everything random.
        checkpoint: File to keep the training's state in; the same command, repeated after a kill, goes on from it.
        json_log: File to append the training curve to, a line of JSON a look.
        tensorboard: Folder to write the training curve to for TensorBoard.
        device: Where to train: cpu, or cuda, of which each process of torchrun takes its own.
        timeout: Seconds after which another process of torchrun that does not answer counts as dead.
        method: Meta-learning from many tasks, or AHL from normals and few anomalies of one.
        ahl: Of --method ahl.
    """
    writable_file(model)
    if seed < 0:
        raise ValueError(f"seed: expected at least 0, got {seed}")
    if method == "ahl":
        refuse(fit, locals(), META, "with --method ahl")
        rows = {"label": label, "ignore": ignore, "one_hot": one_hot, "missing": missing}
        return ahl_commands.fit(data, model, ahl, seed, device, rows)
    ahl.refuse()
    files = RowFiles(data)
    for out in (model, checkpoint, json_log):
        if out is not None:
            spare(out, files.files)
    table = read_table(files, task=task, label=label, ignore=ignore, one_hot=one_hot, missing=missing)
    if len(table.matrix) < 2:
        raise ValueError(f"{files.name}: expected at least 2 rows to learn from, got 1")
    with join(device, timeout=timeout) as processes, bars(shown=processes.first) as report:
        detector = RobustMetaDetector(
            tasks_per_step=tasks_per_step,
            foreign=foreign,
            max_iter=max_iter,
            random_state=seed,
            device=processes.device,
        )
        for note in remarks(detector, table.y, table.groups) if processes.first else []:
            print(f"Note: {note}.")
        report("meta-training", 0, max_iter)
        detector.fit(
            table.matrix,
            table.y,
            table.groups,
            callback=each(
                lambda loop: report("meta-training", loop.step, max_iter),
                JSONLog(json_log) if json_log and processes.first else None,
                TensorBoardLog(tensorboard) if tensorboard and processes.first else None,
            ),
            checkpoint=checkpoint,
            processes=processes,
            columns=table.columns,
        )
    if not processes.first:
        return
    detector.save(model)
    of = " in ".join(counted(detector.learned_from_[things], things[:-1]) for things in ("rows", "tasks"))
    print(f"Learned {counted(detector.n_features_in_, 'feature')} of {of}.")
    if detector.best_validation_ is not None:
        n_tasks = len(detector.validation_groups_)
        print(f"{validation(detector.best_validation_, n_tasks)}, after step {detector.best_iter_}, which is kept.")
    print(f"Wrote {model}. Next: heterad score {model} new.csv --out scores.csv")
