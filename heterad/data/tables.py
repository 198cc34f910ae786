"""CSV files in and out: tasks, labels and features by column name, and errors that name file, line and column."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from heterad.data.whole_file import whole_file

if TYPE_CHECKING:
    import pyarrow as pa


class LabelledTable(NamedTuple):
    """Features ``x`` (a pyarrow table of float64 columns), labels ``y [n]`` in {1, 0, -1}, tasks ``groups [n]``."""

    x: pa.Table
    y: np.ndarray | None
    groups: np.ndarray | None


def read_table(
    path: str | os.PathLike[str],
    *,
    task: str | None = None,
    label: str | None = None,
    features: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
) -> LabelledTable:
    """Read a CSV file with a header line: numbers in the feature columns, anything in the others.

    Args:
        path: the file, UTF-8, comma-separated.
        task: the column that names each row's task; None for one task.
        label: the column with 1 (anomaly), 0 (normal), -1 or nothing (unlabelled); None for no labels.
        features: the feature columns, in the order wanted; None takes all columns but ``task``, ``label`` and
            ``ignore``.
        ignore: columns that are no features.

    Returns:
        The table; ``y`` and ``groups`` are None where no column is named for them.

    Raises:
        OSError: the file cannot be read.
        ValueError: a column is unknown (named with the columns there are) or stands twice, there are no rows or no
            features, a line has too few or too many fields, or a feature or label is not a finite number or not
            one of the labels (file, line and column named), or a row names no task.

    Cost:
        One threaded pass, O(size of the file) time; memory is the columns read. A broken file is read once more,
        slowly, to find the line.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "readings.csv"
        >>> _ = path.write_text("device,broken,volt,amp\\na,0,1.5,2\\na,1,9.5,3\\n")
        >>> table = read_table(path, task="device", label="broken")
        >>> table.x.column_names, table.y.tolist(), table.groups.tolist()
        (['volt', 'amp'], [0, 1], ['a', 'a'])
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    header = _header(path)
    named = [column for column in (task, label, *ignore, *(features or ())) if column is not None]
    for column in named:
        if column not in header:
            raise ValueError(f"{path}: no column {column!r}; the columns are {', '.join(header)}")
    if task is not None and task == label:
        raise ValueError(f"{path}: expected different columns for task and label, got {task!r} for both")
    if task is not None and features is not None and task in features:
        raise ValueError(f"{path}: expected a column that is no feature of the model for the task, got {task!r}")
    if features is None:
        features = [column for column in header if column not in (task, label, *ignore)]
    if not features:
        raise ValueError(f"{path}: no column is left for the features; the columns are {', '.join(header)}")
    numbers = [*features] if label is None else [*features, label]
    types = {column: pa.float64() for column in numbers} | ({} if task is None else {task: pa.string()})
    convert = arrow_csv.ConvertOptions(column_types=types, include_columns=list(types), null_values=[""])
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    try:
        table = arrow_csv.read_csv(path, convert_options=convert, parse_options=parse)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        _find_fault(path, header, features, label)
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from None
    if table.num_rows == 0:
        raise ValueError(f"{path}: expected rows below the header line, got none")
    x = table.select(list(features))
    for column in x.columns:
        if column.null_count or not np.isfinite(column.to_numpy()).all():
            _find_fault(path, header, features, label)
    y = None
    if label is not None:
        values = table[label].fill_null(-1).to_numpy()
        if not np.isin(values, (-1, 0, 1)).all():
            _find_fault(path, header, features, label)
        y = values.astype(np.int8)
    groups = None
    if task is not None:
        groups = np.array(table[task].to_pylist())
        if (groups == "").any():
            row = int((groups == "").argmax()) + 1
            raise ValueError(f"{path}, row {row}, column {task!r}: expected the name of a task, got nothing")
    return LabelledTable(x, y, groups)


def write_table(path: str | os.PathLike[str], columns: Mapping[str, np.ndarray]) -> None:
    """Write columns of equal length as a CSV file with a header line, whole or not at all.

    Args:
        path: the file; an existing one is replaced.
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
    from pyarrow import csv as arrow_csv

    with whole_file(path) as partial:
        arrow_csv.write_csv(pa.table(dict(columns)), partial)


def _header(path: str | os.PathLike[str]) -> list[str]:
    for _, header in _rows(path):
        twice = sorted({column for column in header if header.count(column) > 1})
        if twice:
            raise ValueError(f"{path}: expected column names that differ, got {', '.join(twice)} more than once")
        return header
    raise ValueError(f"{path}: expected a header line, got an empty file")


def _rows(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold something, as (number of the line the row starts on, fields)."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(_decoded(path, file))
        start = 1
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1


def _decoded(path: str | os.PathLike[str], lines: Iterable[str]) -> Iterator[str]:
    number = 1
    try:
        for line in lines:
            if "\0" in line:
                raise ValueError(f"{path}, line {number}: expected text, got binary data")
            yield line
            number += 1
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text, got byte {error.object[error.start]:#04x}") from None


def _find_fault(
    path: str | os.PathLike[str], header: Sequence[str], features: Sequence[str], label: str | None
) -> None:
    """Raise for the first line that ``read_table`` cannot accept, if there is one."""
    rows = _rows(path)
    next(rows)
    places = [(header.index(column), column) for column in features]
    for line, fields in rows:
        if len(fields) != len(header):
            raise ValueError(f"{path}, line {line}: expected {len(header)} fields, got {len(fields)}")
        for i, column in places:
            if not _is_finite(fields[i]):
                got = repr(fields[i]) if fields[i] else "nothing"
                raise ValueError(f"{path}, line {line}, column {column!r}: expected a finite number, got {got}")
        if label is not None:
            text = fields[header.index(label)]
            if text and not (_is_finite(text) and float(text) in (-1, 0, 1)):
                raise ValueError(
                    f"{path}, line {line}, column {label!r}: expected 1 (anomaly), 0 (normal) or -1 or nothing "
                    f"(unlabelled), got {text!r}"
                )


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False
