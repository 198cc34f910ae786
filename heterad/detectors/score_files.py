"""Scores for files of any size: every task is adapted to first, then rows are scored batch by batch."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from heterad.data.columns import Columns
from heterad.data.parts import PartedTable
from heterad.data.row_files import RowFiles, Rows, counted, shortened
from heterad.data.whole_file import spare
from heterad.detectors import model_file
from heterad.detectors.adapted_tasks import UnusableError
from heterad.detectors.gather import LEAST, GatheredTasks
from heterad.detectors.robust_meta import RobustMetaDetector
from heterad.detectors.thresholds import check_either
from heterad.train import ALONE, Processes, Report

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 1 << 20
FEW_TASKS = 10


class Scored(NamedTuple):
    """How many rows, tasks and rows labelled anomalous there were; ``short``: tasks too small to adapt to, with their
    rows; ``notes``: in words, what was done otherwise than one may expect."""

    n_rows: int
    n_tasks: int
    n_anomalous: int
    short: dict[str, int]
    notes: list[str]


def score_files(
    detector: RobustMetaDetector,
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    task: str | None = None,
    contamination: float | None = None,
    threshold: float | None = None,
    explain: int = 0,
    support: int = 512,
    seed: int = 0,
    report: Report | None = None,
    processes: Processes = ALONE,
) -> Scored:
    """Adapt a detector to every task in files, known or not, and write a score for every row.

    A task is adapted to all its rows or, where it has more than ``support``, to a uniform sample of them. Rows of a
    task may be anywhere in the files. A task of one row cannot be adapted to: the row is scored as a member of the
    training rows taken as one task, and has no p-value.

    ``out`` gets, in the order of the rows: ``file`` (if there are several), ``row`` (from 0 in its file), ``task``
    (if there are any), ``score`` (higher is more anomalous), ``p_value`` (see ``Calibration.p_values``; empty where
    the detector has no calibration), ``label`` (1 where the score is above the threshold) and, with ``explain``, the
    largest anomalous attributes ``attribute_1``, ``amount_1``, … by name (empty where there is none).

    A run that was killed or failed goes on where it was when it is repeated with the same arguments; what is done
    lies in a hidden folder beside ``out`` until all is.

    Args:
        detector: fitted to named features, or to as many as the files have columns beside the tasks'.
        data: CSV or Parquet files, see ``RowFiles``; columns that are no features are passed over.
        out: the file to write, .csv or .parquet; one that is there stays until the new one is whole.
        task: the column of tasks; None takes that of the files the detector was fitted to, if it is there, and else
            all rows for one task.
        contamination: share of a task's rows to label 1; None is the detector's own.
        threshold: label 1 above this score instead.
        explain: attributes to name for each row, at most D.
        support: rows of a task to adapt to at most, >= 2.
        seed: of the samples.
        report: called with stage, done and total.
        processes: those that score together: each adapts to all tasks, scores its share of the files, and writes
            ``shard(out, processes)``.

    Returns:
        See ``Scored``.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: an option is out of range, there are more processes than files, columns are missing (named), or a
            value cannot be used (named with its place).

    Cost:
        Three passes over the files (more where the samples of all tasks exceed 128 MB); memory does not grow with
        the rows.

    Source:
        Kumagai et al. (2023), section 3, Eqs. (4) to (7).

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "new.csv").write_text("device,volt\\na,1\\nb,7\\na,2\\nb,8\\n")
        >>> detector = RobustMetaDetector(max_iter=2).fit(np.arange(20.0)[:, None])
        >>> score_files(detector, folder / "new.csv", folder / "scores.csv", task="device")[:3]
        (4, 2, 2)
    """
    files = RowFiles(data)
    spare(shard(out, processes), files.files)
    columns, notes = choose_columns(detector, files, task)
    _check(len(columns.names), contamination, threshold, explain, support)
    share = detector.contamination if contamination is None else contamination
    part = processes.share(len(files.files))
    job = {
        "part": [part.start, part.stop],
        "files": files.fingerprint(),
        "model": hashlib.sha256(model_file.pack(detector)).hexdigest(),
        "options": [columns.record(), share, threshold, explain, support, seed],
    }
    report = report or (lambda stage, done, total: None)
    with PartedTable(shard(out, processes), job) as parts:
        tasks = GatheredTasks(
            detector, files, columns, parts.folder, support=support, contamination=share, seed=seed, report=report
        )
        if threshold is not None:
            tasks.adapted.thresholds[:] = threshold
        _score(detector, files, part, tasks, parts, explain, report)
        parts.finish()
        return Scored(parts.n_rows, len(tasks.names), parts.total, tasks.short, notes + about_short(tasks.short))


def shard(out: str | os.PathLike[str], processes: Processes) -> Path:
    """The file that one of several processes writes.

    Example:
        >>> [shard("scores.csv", Processes(rank, 2)).name for rank in range(2)]
        ['scores-1-of-2.csv', 'scores-2-of-2.csv']
    """
    path = Path(out)
    if processes.size == 1:
        return path
    return path.with_name(f"{path.stem}-{processes.rank + 1}-of-{processes.size}{path.suffix}")


def choose_columns(detector: RobustMetaDetector, files: RowFiles, task: str | None) -> tuple[Columns, list[str]]:
    """What the columns of files are to a detector, and what to say about how that was decided.

    Raises:
        ValueError: columns are missing (named), or the task is a feature.
    """
    columns: Columns | None = detector.columns_
    notes = []
    if task is not None:
        files.require([task])
    else:
        known = None if columns is None else columns.task
        n_tasks = (detector.learned_from_ or {}).get("tasks", 1 + len(detector.validation_groups_))
        if known is not None and known in files.columns:
            task = known
        elif n_tasks > 1:
            named = "" if known is None else f", named by column {known!r}"
            notes.append(
                f"the model was fitted to several tasks{named}; no column of tasks was given, so all rows are one task"
            )
    columns = columns or name_columns(detector, files, task)
    if task in columns.features:
        raise ValueError(f"{files.name}: expected a column that is no feature of the model for the task, got {task!r}")
    columns = dataclasses.replace(columns, task=task)
    files.require(columns.features)
    calibration = detector.calibration_
    if calibration is not None and calibration.n_tasks < FEW_TASKS:
        worst = 0.05 + 0.95 / (calibration.n_tasks + 1)
        notes.append(
            f"p-values rest on {counted(calibration.n_tasks, 'held-out task')} only: of the normal rows of new tasks "
            f"up to {worst:.0%}, instead of 5%, may have one of 0.05 or less"
        )
    return columns, notes


def name_columns(detector: Any, files: RowFiles, task: str | None = None) -> Columns:
    """The features of a model that was fitted to an array or a data frame: by name if it has names, else in order.

    Raises:
        ValueError: they have no names and are of another number than the files' columns.
    """
    names = getattr(detector, "feature_names_in_", [c for c in files.columns if c != task])
    if len(names) != detector.n_features_in_:
        raise ValueError(
            f"{files.name}: expected {detector.n_features_in_} columns for the model's features, which have no "
            f"names, got {len(names)}: {shortened(names)}"
        )
    return Columns(tuple(map(str, names)))


def about_short(short: dict[str, int]) -> list[str]:
    """What to say of tasks of too few rows, given how many each has."""
    if not short:
        return []
    named = shortened((f"{name or 'all rows'}: {n}" for name, n in short.items()), 10)
    return [
        f"adapting takes {LEAST} rows of a task; where there are fewer ({named}), they were scored as members of the "
        "training rows taken as one task, and have no p-value"
    ]


def _check(n_features: int, contamination: float | None, threshold: float | None, explain: int, support: int) -> None:
    check_either(contamination, threshold)
    if not 0 <= explain <= n_features:
        raise ValueError(f"explain: expected 0 to {n_features} (the number of features), got {explain}")
    if support < 2:
        raise ValueError(f"support: expected at least 2, got {support}")


def _score(
    detector: RobustMetaDetector,
    files: RowFiles,
    part: slice,
    tasks: GatheredTasks,
    parts: PartedTable,
    explain: int,
    report: Report,
) -> None:
    import pyarrow as pa
    from pyarrow import compute

    columns = tasks.columns
    kinds = columns.kinds | ({} if columns.task is None else {columns.task: "text"})
    total, done, row = int(tasks.counts.sum()), parts.n_rows, 0

    def write() -> None:
        table = pa.concat_tables(waiting)
        parts.write(table, compute.sum(table["label"]).as_py())
        waiting.clear()

    waiting: list[pa.Table] = []
    for rows in files.batches(kinds, part):
        skip = min(rows.batch.num_rows, max(0, done - row))
        row += rows.batch.num_rows
        if skip < rows.batch.num_rows:
            left = Rows(rows.file, rows.first + skip, rows.batch.slice(skip))
            waiting.append(pa.table(_scored(detector, files, tasks, left, explain)))
        if sum(table.num_rows for table in waiting) >= PART_ROWS:
            write()
        report("scoring", row, total)
    if waiting:
        write()


def _scored(
    detector: RobustMetaDetector, files: RowFiles, tasks: GatheredTasks, rows: Rows, explain: int
) -> dict[str, Any]:
    """The columns of the output for a batch of rows."""
    columns, number = tasks.columns, tasks.numbers(rows)
    try:
        scores, attributes = tasks.adapted.score(columns.matrix(rows), number, explain=explain > 0)
    except UnusableError as error:
        raise ValueError(f"{rows.file}, among {len(number)} rows from {rows.first} on: {error}") from None
    labels = (scores > tasks.adapted.thresholds[number]).astype(np.int8)
    found = _place(rows, files, columns)
    found |= {"score": scores, "p_value": _p_values(detector, tasks, scores, number), "label": labels}
    return found if attributes is None else found | _largest(attributes, columns.names, explain)


def _place(rows: Rows, files: RowFiles, columns: Columns) -> dict[str, Any]:
    import pyarrow as pa

    n = rows.batch.num_rows
    place: dict[str, Any] = {} if len(files.files) == 1 else {"file": pa.repeat(rows.file, n)}
    place["row"] = np.arange(rows.first, rows.first + n)
    return place if columns.task is None else place | {"task": rows.batch.column(columns.task)}


def _p_values(detector: RobustMetaDetector, tasks: GatheredTasks, scores: np.ndarray, number: np.ndarray) -> pa.Array:
    import pyarrow as pa

    if detector.calibration_ is None:
        return pa.nulls(len(scores), pa.float64())
    return pa.array(detector.calibration_.p_values(scores), mask=number == len(tasks.names))


def _largest(attributes: np.ndarray, names: Sequence[str], n: int) -> dict[str, pa.Array]:
    """The ``n`` attributes of largest size of each row, by name; null where there are fewer that are not zero."""
    import pyarrow as pa

    size = np.abs(attributes)
    order = np.argpartition(-size, range(n), axis=1)[:, :n] if n < size.shape[1] else np.argsort(-size, axis=1)
    found: dict[str, pa.Array] = {}
    for k in range(n):
        amount = np.take_along_axis(attributes, order[:, k : k + 1], 1)[:, 0]
        code = pa.array(order[:, k].astype(np.int32), mask=amount == 0)
        found[f"attribute_{k + 1}"] = pa.DictionaryArray.from_arrays(code, pa.array(list(names), pa.string()))
        found[f"amount_{k + 1}"] = pa.array(amount, mask=amount == 0)
    return found
