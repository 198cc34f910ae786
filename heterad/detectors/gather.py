"""The tasks of files: counted, each sampled without bias, and adapted to, in memory that does not grow with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from heterad.data.columns import Columns
from heterad.data.reservoir import Reservoir
from heterad.data.row_files import RowFiles, Rows
from heterad.detectors.adapted_tasks import UnusableError
from heterad.methods.robust_meta import Adapted
from heterad.train import Report, read_tensors, write_tensors

if TYPE_CHECKING:
    from heterad.detectors.robust_meta import RobustMetaDetector

MEMORY = 128 << 20  # bytes of rows gathered in one pass over the files
LEAST = 2  # rows that can be adapted to
AT_ONCE = 256  # tasks handed on from the reservoir


class GatheredTasks:
    """Every task of files, adapted to a uniform sample of its rows; a task of too few rows is the model's pooled one.

    What is found is kept in ``folder``, and taken up from there by a run that goes on.

    Args:
        detector: a fitted one.
        files: the rows.
        columns: what their columns are to the model.
        folder: an existing folder for what would take too much memory.
        support: rows of a task to adapt to at most.
        contamination: share of a task's rows to label anomalous.
        seed: of the samples.
        report: called with stage, done and total.

    Attributes:
        names: the tasks in the order of their first rows; one without a name where there is no column of tasks.
        counts: rows of each ``[T]``.
        adapted: the tasks and, as number T, the pooled one.

    Raises:
        OSError: a file cannot be read or written.
        ValueError: there are no rows, or values that cannot be used (named with their place).

    Cost:
        One pass over the column of tasks, and one over all columns for every ``MEMORY`` of samples, together
        min(rows, support) D numbers a task. Memory: ``MEMORY``, a name and K numbers a task; decoders are in a file.
    """

    def __init__(
        self,
        detector: RobustMetaDetector,
        files: RowFiles,
        columns: Columns,
        folder: Path,
        *,
        support: int,
        contamination: float,
        seed: int,
        report: Report,
    ) -> None:
        self.columns = columns
        kept, decoders = folder / "tasks", folder / "decoders"
        if kept.exists():
            tensors, record = read_tensors(kept)
            self.names, self.counts = record["names"], tensors["counts"].numpy()
            self._numbers = {name: i for i, name in enumerate(self.names)}
            self.adapted = detector.many_tasks(len(self.names) + 1, decoders)
            self.adapted.z, self.adapted.thresholds = tensors["z"].numpy(), tensors["thresholds"].numpy()
            return
        decoders.unlink(missing_ok=True)
        self._numbers = {}
        self.counts = self._count(files, report)
        self.names = list(self._numbers)
        self.adapted = detector.many_tasks(len(self.names) + 1, decoders)
        own = detector.task_
        threshold = float(np.quantile(own.support_scores_, 1 - contamination))
        self.adapted.put(len(self.names), Adapted(own.adapted_.z, own.adapted_.w), threshold)
        self._adapt(files, support, contamination, seed, report)
        self.adapted.flush()
        arrays = {"counts": self.counts, "z": self.adapted.z, "thresholds": self.adapted.thresholds}
        write_tensors(kept, {name: torch.from_numpy(a) for name, a in arrays.items()}, {"names": self.names})

    @property
    def short(self) -> dict[str, int]:
        """The tasks of too few rows to adapt to, and how many these are."""
        return {self.names[i]: int(self.counts[i]) for i in np.flatnonzero(self.counts < LEAST)}

    def numbers(self, rows: Rows) -> np.ndarray:
        """The number of each row's task among ``adapted``."""
        task = self._tasks(rows)
        return np.where(self.counts[task] < LEAST, len(self.names), task)

    def _tasks(self, rows: Rows) -> np.ndarray:
        """The number of each row's task; a name not seen before gets the next."""
        if self.columns.task is None:
            self._numbers.setdefault("", 0)
            return np.zeros(rows.batch.num_rows, dtype=np.int64)
        coded = self.columns.tasks(rows).dictionary_encode()
        number = [self._numbers.setdefault(name, len(self._numbers)) for name in coded.dictionary.to_pylist()]
        return np.array(number, dtype=np.int64)[coded.indices.to_numpy()]

    def _count(self, files: RowFiles, report: Report) -> np.ndarray:
        counts = np.zeros(0, dtype=np.int64)
        kinds = self._task_kind() or dict([next(iter(self.columns.kinds.items()))])
        order = {file: i for i, file in enumerate(files.files)}
        for rows in files.batches(kinds):
            found = np.bincount(self._tasks(rows), minlength=len(self._numbers))
            counts = np.r_[counts, np.zeros(len(found) - len(counts), dtype=np.int64)] + found
            report("counting rows", order[rows.file], len(order))
        report("counting rows", len(order), len(order))
        if not counts.sum():
            raise ValueError(f"{files.name}: expected rows to score, got none")
        return counts

    def _adapt(self, files: RowFiles, support: int, contamination: float, seed: int, report: Report) -> None:
        sizes = np.where(self.counts < LEAST, 0, np.minimum(self.counts, support))
        n_features = len(self.columns.names)
        passes = np.cumsum(sizes) * n_features * 8 // MEMORY
        n_passes, n_rows, done = len(np.unique(passes)), int(self.counts.sum()), 0
        for number in np.unique(passes):
            members = np.flatnonzero((passes == number) & (sizes > 0))
            place = np.full(len(sizes), -1)
            place[members] = np.arange(len(members))
            reservoir = Reservoir(sizes[members], n_features, seed)
            row = 0
            for rows in files.batches(self.columns.kinds | self._task_kind()):
                task = place[self._tasks(rows)]
                mine = np.flatnonzero(task >= 0)
                chosen = mine[reservoir.choose(task[mine], row + mine)]
                if len(chosen):
                    reservoir.add(self.columns.matrix(rows, chosen), task[chosen], row + chosen)
                row += rows.batch.num_rows
                done += rows.batch.num_rows
                report("gathering rows", done, n_passes * n_rows)
            for first in range(0, len(members), AT_ONCE):
                last = min(first + AT_ONCE, len(members))
                which = members[first:last]
                try:
                    self.adapted.adapt(which, reservoir.rows(first, last), sizes[which], contamination)
                except UnusableError as error:
                    raise ValueError(f"{files.name}, tasks {self.names[which[0]]} and on: {error}") from None
                report("adapting to tasks", int(which[-1]) + 1, len(sizes))

    def _task_kind(self) -> dict[str, Any]:
        return {} if self.columns.task is None else {self.columns.task: "text"}
