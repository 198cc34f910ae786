"""CSV files as text: their dialect, their header, and the line of a fault that Arrow names only by its column."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

COMPRESSED = {".gz": "gzip", ".bz2": "bz2"}  # those of which Arrow's datasets know by the name
SEPARATORS = ",;\t|"
GAPS = ("", "NA", "N/A", "NULL", "null", "None")  # where a number is wanted, nothing; NaN is a number that is none
HEAD = 100  # records that show the dialect
ARCHIVE = b"PK\3\4"


class Dialect(NamedTuple):
    """What separates the fields of a file, and what a number's decimals."""

    separator: str = ","
    decimal: str = "."

    def is_number(self, text: str) -> bool:
        """Whether a field holds a number, finite or not."""
        try:
            float(text if self.decimal == "." else text.replace(self.decimal, "."))
        except ValueError:
            return False
        return "_" not in text


class NotNumbersError(ValueError):
    """Something else stands where numbers are wanted; ``columns`` are all in which it does."""

    def __init__(self, message: str, columns: list[str]) -> None:
        super().__init__(message)
        self.columns = columns


def read_dialect(path: str | os.PathLike[str]) -> Dialect:
    """Tell the dialect of a CSV file by its first records.

    The separator is, of comma, semicolon, tab and bar, the one that divides the header into most fields and the first
    row into as many; a comma if none does. Where it is another, a comma in numbers is the decimal sign, unless some
    number has a point.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not text, or its compression is damaged.
    """
    lines = list(itertools.islice(_lines(path), HEAD))
    separator, most = ",", 1
    for candidate in SEPARATORS:
        try:
            first = itertools.islice(filter(None, csv.reader(lines, delimiter=candidate)), 2)
            sizes = [len(fields) for fields in first]
        except csv.Error:  # a long line, not divided, exceeds the longest field
            continue
        if sizes and sizes[0] == sizes[-1] > most:
            separator, most = candidate, sizes[0]
    if separator == ",":
        return Dialect()
    fields = [field.strip(' "\r\n') for line in lines for field in line.split(separator)]
    pointed, with_comma = (any(re.fullmatch(rf"[+-]?\d*{sign}\d+", f) for f in fields) for sign in (r"\.", ","))
    return Dialect(separator, "," if with_comma and not pointed else ".")


def read_header(path: str | os.PathLike[str], dialect: Dialect) -> list[str]:
    """The names of the columns of a CSV file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is empty or not UTF-8 text.
    """
    for _, header in _records(path, dialect):
        return header
    raise ValueError(f"{path}: expected a header line, got an empty file")


def line_of(path: str | os.PathLike[str], row: int) -> int:
    """The line, counted from 1, on which row ``row``, counted from 0 below the header, starts."""
    for i, (line, _) in enumerate(_records(path, read_dialect(path))):
        if i == row + 1:
            return line
    raise ValueError(f"{path}: expected more than {row} rows, got fewer; was the file changed meanwhile?")


def find_unreadable(path: str | os.PathLike[str], dialect: Dialect, expected: Mapping[str, str]) -> None:
    """Raise for the first line with the wrong number of fields, or with text where a number is expected.

    Args:
        path: the file.
        dialect: its dialect.
        expected: column of numbers -> what it holds, in words.

    Raises:
        NotNumbersError: text stands in columns of numbers.
        ValueError: the number of fields is wrong, or the file is not text.

    Cost:
        One slow pass in Python, up to the fault: for files that Arrow has already refused.
    """
    records = _records(path, dialect)
    _, header = next(records)
    places = [(header.index(column), column) for column in expected]
    for line, fields in records:
        if len(fields) != len(header):
            raise ValueError(f"{path}, line {line}: expected {len(header)} fields, got {len(fields)}")
        wrong = [(i, column) for i, column in places if fields[i] not in GAPS and not dialect.is_number(fields[i])]
        for i, column in wrong:
            message = f"{path}, line {line}, column {column!r}: expected {expected[column]}, got {fields[i]!r}"
            raise NotNumbersError(message, [column for _, column in wrong])


def _records(path: str | os.PathLike[str], dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """The records that hold something, as (line on which the record starts, fields)."""
    reader = csv.reader(_lines(path), delimiter=dialect.separator)
    start = 1
    try:
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {start}: expected a line of fields, got what cannot be read ({error})"
        ) from None


def _lines(path: str | os.PathLike[str]) -> Iterator[str]:
    """The lines of a file, compressed or not, which must be text."""
    import pyarrow as pa

    method = COMPRESSED.get(os.path.splitext(path)[1])
    with open(path, "rb") as raw:
        if raw.peek(4)[:4] == ARCHIVE:
            raise ValueError(f"{path}: expected text, got a ZIP archive or an Excel workbook; save it as CSV")
        plain = raw if method is None else pa.input_stream(raw, compression=method)
        with io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as lines:
            yield from _decoded(path, lines)


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
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{path}: expected a file compressed as its name says, got a damaged one ({error})") from None
