"""Files of rows to learn from, read whole; tables written whole."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from heterad.data.columns import Columns, find_columns, with_medians
from heterad.data.csv_text import NotNumbersError
from heterad.data.row_files import EXPECTED, RowFiles, Rows, shortened
from heterad.data.whole_file import whole_file

if TYPE_CHECKING:
    import pyarrow as pa


class LabelledTable(NamedTuple):
    """Features ``matrix`` (float64 ``[n, D]``), labels ``y [n]`` in {1, 0, -1}, tasks ``groups [n]``, and the
    ``columns`` that they come from."""

    matrix: np.ndarray
    y: np.ndarray | None
    groups: np.ndarray | None
    columns: Columns

    @property
    def x(self) -> pa.Table:
        """The features with their names: a copy."""
        import pyarrow as pa

        return pa.table(list(self.matrix.T), names=self.columns.names)


def read_table(
    path: RowFiles | str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    task: str | None = None,
    label: str | None = None,
    features: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    one_hot: Sequence[str] = (),
    missing: str = "error",
    columns: Columns | None = None,
) -> LabelledTable:
    """Read CSV or Parquet files: numbers or categories in the feature columns, anything in the others.

    Args:
        path: files already found, or a file, a folder, a glob, or several; see ``RowFiles``.
        task: the column that names each row's task; None for one task.
        label: the column with 1 (anomaly), 0 (normal), -1 or nothing (unlabelled); None for no labels.
        features: the feature columns, in the order wanted; None takes all columns but ``task``, ``label`` and
            ``ignore``.
        ignore: columns that are no features.
        one_hot: feature columns of categories; each category becomes a feature that is 1 or 0.
        missing: "error" refuses rows without some number, "median" puts the column's median there.
        columns: what the columns are to a model, instead of all options but ``label``.

    Returns:
        The table; ``y`` and ``groups`` are None where no column is named for them.

    Raises:
        OSError: a file cannot be read.
        ValueError: a column is unknown (named with the columns there are) or stands twice, there are no rows or no
            features, a line has too few or too many fields, or a feature or label is not a finite number or not
            one of the labels (file, line or row, and column named), or a row names no task.

    Cost:
        One pass (two with ``one_hot``), O(size of the files) time; memory one float64 copy of the features, a tenth of
        it more while it is put together, and the tasks' names. A broken CSV file is read once more, slowly, to find the
        line.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "readings.csv"
        >>> _ = path.write_text("device,broken,volt,amp\\na,0,1.5,2\\na,1,9.5,3\\n")
        >>> table = read_table(path, task="device", label="broken")
        >>> table.x.column_names, table.y.tolist(), table.groups.tolist()
        (['volt', 'amp'], [0, 1], ['a', 'a'])
    """
    import pyarrow as pa

    files = path if isinstance(path, RowFiles) else RowFiles(path)
    learning = columns is None
    columns = columns or find_columns(
        files, task=task, label=label, ignore=ignore, one_hot=one_hot, features=features, missing=missing
    )
    task = columns.task
    kinds = columns.kinds | ({} if label is None else {label: "label"}) | ({} if task is None else {task: "text"})
    parts, labels, tasks = [], [], []
    try:
        for rows in files.batches(kinds):
            parts.append(columns.matrix(rows))
            if label is not None:
                labels.append(_labels(rows, label))
            if task is not None:
                tasks.append(np.array(columns.tasks(rows).to_pylist(), dtype=str))
    except NotNumbersError as error:
        if not learning or label in error.columns:
            raise
        named = shortened(map(repr, error.columns))
        raise ValueError(f"{error}; what holds no numbers ({named}) must be the task, one-hot or ignored") from None
    if not sum(len(part) for part in parts):
        where = "expected rows, got none" if files.is_parquet else "expected rows below the header line, got none"
        raise ValueError(f"{files.name}: {where}")
    pa.default_memory_pool().release_unused()  # some 150 MB of buffers
    x = _joined(parts)
    try:
        columns = with_medians(columns, x)
    except ValueError as error:
        raise ValueError(f"{files.name}, {error}") from None
    return LabelledTable(
        x, np.concatenate(labels) if labels else None, np.concatenate(tasks) if tasks else None, columns
    )


def write_table(path: str | os.PathLike[str], columns: Mapping[str, np.ndarray]) -> None:
    """Write columns of equal length as a CSV file with a header line, or as Parquet, whole or not at all.

    Args:
        path: the file, whose suffix .parquet tells Parquet from CSV; an existing one is replaced.
        columns: name and values of each.

    Raises:
        OSError: the file cannot be written.

    Cost:
        O(n) time, memory for one copy of the columns.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "scores.csv"
        >>> write_table(path, {"score": np.array([0.5, 2.0]), "label": np.array([0, 1])})
        >>> path.read_text().split()
        ['"score","label"', '0.5,0', '2,1']
    """
    import pyarrow as pa
    from pyarrow import csv, parquet

    with whole_file(path) as partial:
        write = parquet.write_table if Path(path).suffix == ".parquet" else csv.write_csv
        write(pa.table(dict(columns)), partial)


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """The parts as one matrix; each is given up as soon as it is copied, so that little more than one copy is held."""
    last = sum(len(part) for part in parts)
    x = np.empty((last, parts[0].shape[1]))
    while parts:
        part = parts.pop()  # from the end: so the top of the heap can be given back
        x[last - len(part) : last] = part
        last -= len(part)
    return x


def _labels(rows: Rows, name: str) -> np.ndarray:
    values = rows.batch.column(name).fill_null(-1).to_numpy(zero_copy_only=False)
    wrong = ~np.isin(values, (-1, 0, 1))
    if wrong.any():
        i = int(wrong.argmax())
        raise rows.error(i, name, EXPECTED["label"], repr(f"{values[i]:g}"))
    return values.astype(np.int8)
