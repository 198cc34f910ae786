"""CSV files as text: their header, and the line of a fault that Arrow names only by its column."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping


def read_header(path: str | os.PathLike[str]) -> list[str]:
    """The names of the columns of a CSV file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty or not UTF-8 text.
    """
    for _, header in _records(path):
        return header
    raise ValueError(f"{path}: expected a header line, got an empty file")


def line_of(path: str | os.PathLike[str], row: int) -> int:
    """The line, counted from 1, on which row ``row``, counted from 0 below the header, starts."""
    for i, (line, _) in enumerate(_records(path)):
        if i == row + 1:
            return line
    raise ValueError(f"{path}: expected more than {row} rows, got fewer; was the file changed meanwhile?")


def find_unreadable(path: str | os.PathLike[str], expected: Mapping[str, str]) -> None:
    """Raise ValueError for the first line with the wrong number of fields, or with text where a number is expected.

    Args:
        path: the file.
        expected: column of numbers -> what it holds, in words.

    Cost:
        One slow pass in Python, up to the fault: for files that Arrow has already refused.
    """
    records = _records(path)
    _, header = next(records)
    places = [(header.index(column), column) for column in expected]
    for line, fields in records:
        if len(fields) != len(header):
            raise ValueError(f"{path}, line {line}: expected {len(header)} fields, got {len(fields)}")
        for i, column in places:
            if fields[i] and not _is_number(fields[i]):
                raise ValueError(
                    f"{path}, line {line}, column {column!r}: expected {expected[column]}, got {fields[i]!r}"
                )


def _records(path: str | os.PathLike[str]) -> Iterator[tuple[int, list[str]]]:
    """The records that hold something, as (line on which the record starts, fields)."""
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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text
