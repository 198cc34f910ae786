"""CSV and Parquet files, a folder or a glob of them, read as one table in record batches."""

from __future__ import annotations

import glob
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from heterad.data.csv_text import (
    COMPRESSED,
    GAPS,
    Dialect,
    NotNumbersError,
    find_unreadable,
    line_of,
    read_dialect,
    read_header,
)

if TYPE_CHECKING:
    import pyarrow as pa

SUFFIXES = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".pq": "parquet"}
EXPECTED = {
    "number": "a finite number",
    "label": "1 (anomaly), 0 (normal) or -1 or nothing (unlabelled)",
    "text": "text",
}
ROWS, VALUES = 1 << 16, 1 << 21  # of a record batch, at most
WHOLE = slice(None)
CSV_BLOCK = 1 << 23  # bytes of text parsed at a time; holds at least one row of ten thousand columns


class Rows(NamedTuple):
    """Consecutive rows of one file: ``batch``, of which the first is row ``first`` (from 0) of ``file``."""

    file: str
    first: int
    batch: pa.RecordBatch

    def error(self, i: int, column: str, expected: str, got: object) -> ValueError:
        """The error of value ``i`` of ``column``, which names the line of a CSV file, or the row of another."""
        row = self.first + int(i)
        place = f"row {row}" if _is_parquet(self.file) else f"line {line_of(self.file, row)}"
        return ValueError(f"{self.file}, {place}, column {column!r}: expected {expected}, got {got}")


class RowFiles:
    """Files of rows with named columns, all CSV or all Parquet, one after the other in the order of their names.

    Args:
        path: a file, a folder (with those below it; ``device=7`` in the name of a folder is a column), a glob, or
            several of these. CSV is UTF-8 with a header line, of the dialects that ``read_dialect`` tells, and may be
            compressed (.csv.gz, .csv.bz2).

    Attributes:
        name: what was asked for, for messages.
        files: the files.
        columns: the names of the columns of the first file.

    Raises:
        OSError: a file is not there or cannot be read.
        ValueError: no file is found or one twice, formats are mixed, a file is empty or damaged, or a column stands
            twice.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "a.csv").write_text("volt,amp\\n1.5,2\\n")
        >>> _ = (folder / "b.csv").write_text("amp,volt\\n3,4.5\\n")
        >>> [rows.batch.to_pydict() for rows in RowFiles(folder).batches({"volt": "number"})]
        [{'volt': [1.5]}, {'volt': [4.5]}]
    """

    def __init__(self, path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> None:
        paths = [path] if isinstance(path, str | os.PathLike) else list(path)
        if not paths:
            raise ValueError("data: expected one or more CSV or Parquet files, folders or globs of them, got none")
        self.name = ", ".join(os.fspath(p) for p in paths)
        self._keys = {file: keys for p in paths for file, keys in _find(p)}
        self.files = list(self._keys)
        _refuse_twins(self.files)
        kinds = {_is_parquet(file) for file in self.files}
        if len(kinds) > 1:
            raise ValueError(f"{self.name}: expected CSV files or Parquet files, got both")
        self.is_parquet = kinds.pop()
        self._dialects = {} if self.is_parquet else {file: read_dialect(file) for file in self.files}
        self._columns = {file: self._names(file) for file in self.files}
        self.columns = self._columns[self.files[0]]

    def require(self, columns: Sequence[str]) -> None:
        """Raise ValueError naming the first file without one of ``columns``, and all those it lacks."""
        for file, have in self._columns.items():
            known = set(have)
            missing = [name for name in columns if name not in known]
            if missing:
                raise ValueError(
                    f"{file}: no column {shortened(map(repr, missing), 10)}; the columns are {shortened(have)}"
                )

    def batches(self, kinds: Mapping[str, str], part: slice = WHOLE) -> Iterator[Rows]:
        """Read columns in record batches of at most some 64 K rows, fewer where there are many columns.

        Args:
            kinds: column -> "number" or "label" (both read as float64; null where nothing stands) or "text".
            part: of the files.

        Yields:
            Rows, file after file; ``batch`` holds the columns in the order of ``kinds``.

        Raises:
            OSError: a file cannot be read.
            ValueError: a file lacks a column, a value is of another kind, or a file is damaged (named with the
                line or the row group).

        Cost:
            One pass; memory some batches, however large the files and their row groups.
        """
        self.require(list(kinds))
        for file in self.files[part]:
            keys = {name: value for name, value in self._keys[file].items() if name in kinds}
            inside = {name: kind for name, kind in kinds.items() if name not in keys}
            first = 0
            for batch in (
                _read_parquet(file, inside) if self.is_parquet else _read_csv(file, inside, self._dialects[file])
            ):
                yield Rows(file, first, _completed(file, batch, keys, _schema(kinds)))
                first += batch.num_rows

    def fingerprint(self) -> list[list[Any]]:
        """Name, size and time of change of every file, to tell whether they are still the same."""
        stats = [(file, os.stat(file)) for file in self.files]
        return [[file, stat.st_size, stat.st_mtime_ns] for file, stat in stats]

    def _names(self, file: str) -> list[str]:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            names = parquet.read_schema(file).names if self.is_parquet else read_header(file, self._dialects[file])
        except pa.ArrowException as error:
            raise ValueError(f"{file}: expected a Parquet file, got one that is damaged ({_first(error)})") from None
        if len(set(names)) < len(names):
            twice = [name for name, n in Counter(names).items() if n > 1]
            raise ValueError(
                f"{file}: expected column names that differ, got {shortened(map(repr, twice))} more than once"
            )
        return [*names, *(key for key in self._keys[file] if key not in names)]


def shortened(names: Iterable[str], most: int = 20) -> str:
    """Names for a message: the first 20, and how many more there are; one that could be misread is quoted."""
    names = [name if name and name == name.strip() else repr(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def counted(n: int, thing: str) -> str:
    """A number of things in words: "1 row", "2,000 rows"."""
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def holds_tables(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder, or one below it, holds a file that ``RowFiles`` would read of it."""
    return bool(_below(Path(folder)))


def _below(root: Path) -> list[Path]:
    found = [p for p in root.rglob("*") if _format(p) is not None and p.is_file()]
    return [p for p in found if not any(part[0] in "._" for part in p.relative_to(root).parts)]


def _find(path: str | os.PathLike[str]) -> list[tuple[str, dict[str, str]]]:
    """The files of a path, each with the columns that the names of its folders below the path give."""
    name = os.fspath(path)
    if os.path.isdir(name):
        root = Path(name)
        found = _below(root)
    elif glob.has_magic(name) and not os.path.exists(name):
        root = Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(name).parts))
        found = [Path(p) for p in glob.glob(name, recursive=True) if os.path.isfile(p)]
    else:
        os.stat(name)
        return [(name, {})]
    if not found:
        raise ValueError(f"{name}: expected {', '.join(SUFFIXES)} files, found none")
    keys = [[part.split("=", 1) for part in p.relative_to(root).parts[:-1] if "=" in part] for p in sorted(found)]
    return [(str(p), {key: unquote(value) for key, value in k}) for p, k in zip(sorted(found), keys, strict=True)]


def _refuse_twins(files: Sequence[str]) -> None:
    """Raise ValueError if two names, or a link, lead to one file: its rows would count twice."""
    seen: dict[tuple[int, int], str] = {}
    for file in files:
        stat = os.stat(file)
        first = seen.setdefault((stat.st_dev, stat.st_ino), file)
        if first != file:
            raise ValueError(f"data: expected every file once, got {file}, which is {first}")


def _format(file: str | os.PathLike[str]) -> str | None:
    """csv or parquet, as the name says; None where it does not."""
    stem, suffix = os.path.splitext(file)
    if suffix in COMPRESSED:
        return "csv" if _format(stem) == "csv" else None
    return SUFFIXES.get(suffix.lower())


def _is_parquet(file: str) -> bool:
    known = _format(file)
    if known is None:
        with open(file, "rb") as opened:
            return opened.read(4) == b"PAR1"
    return known == "parquet"


def _read_csv(file: str, kinds: Mapping[str, str], dialect: Dialect) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv, dataset

    parse = csv.ParseOptions(delimiter=dialect.separator, newlines_in_values=True)
    convert = csv.ConvertOptions(null_values=GAPS, decimal_point=dialect.decimal)
    options = dataset.CsvFragmentScanOptions(
        convert_options=convert, read_options=csv.ReadOptions(block_size=CSV_BLOCK)
    )
    form = dataset.CsvFileFormat(parse, default_fragment_scan_options=options)
    try:
        yield from dataset.dataset(file, format=form, schema=_schema(kinds)).scanner(batch_readahead=2).to_batches()
    except (pa.ArrowInvalid, UnicodeDecodeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # without, its compression is damaged
            raise
        find_unreadable(file, dialect, {column: EXPECTED[kind] for column, kind in kinds.items() if kind != "text"})
        raise ValueError(f"{file}: {_first(error)}") from None


def _read_parquet(path: str, kinds: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    """Not by a dataset's scanner, which decodes whole row groups (measured: groups of a million rows of 32 columns
    take 0.9 GB, here 0.3)."""
    import pyarrow as pa
    from pyarrow import parquet

    size = max(1, min(ROWS, VALUES // max(1, len(kinds))))
    with parquet.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True) as file:
        schema = file.schema_arrow  # made anew at every access
        _check_types(path, {name: schema.field(name) for name in kinds}, kinds)
        try:
            yield from file.iter_batches(batch_size=size, columns=list(kinds))
        except (pa.ArrowException, OSError) as error:
            raise _broken_group(path, file, list(kinds)) or ValueError(f"{path}: {_first(error)}") from None


def _schema(kinds: Mapping[str, str]) -> pa.Schema:
    import pyarrow as pa

    return pa.schema([(name, pa.string() if kind == "text" else pa.float64()) for name, kind in kinds.items()])


def _completed(file: str, batch: pa.RecordBatch, keys: Mapping[str, str], schema: pa.Schema) -> pa.RecordBatch:
    """The columns and types wanted, those from the names of folders among them."""
    import pyarrow as pa

    if not schema.names:
        return batch
    columns = [pa.repeat(keys[n], batch.num_rows) if n in keys else batch.column(n) for n in schema.names]
    try:
        cast = [c if c.type == t else c.cast(t, safe=False) for c, t in zip(columns, schema.types, strict=True)]
    except pa.ArrowInvalid as error:  # text of a folder's name where a number is wanted
        raise ValueError(f"{file}: {_first(error)}; its folders give {keys}") from None
    return pa.RecordBatch.from_arrays(cast, schema=schema)


def _check_types(file: str, fields: Mapping[str, pa.Field], kinds: Mapping[str, str]) -> None:
    from pyarrow import types

    numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_null)
    wrong = [n for n, kind in kinds.items() if kind != "text" and not any(of(fields[n].type) for of in numbers)]
    if wrong:
        message = f"{file}: expected numbers in column {wrong[0]!r}, got {fields[wrong[0]].type}"
        raise NotNumbersError(message, wrong)
    for name, kind in kinds.items():
        if kind == "text" and types.is_nested(fields[name].type):
            raise ValueError(f"{file}: expected one value a row in column {name!r}, got {fields[name].type}")


def _broken_group(path: str, file: Any, columns: list[str]) -> ValueError | None:
    import pyarrow as pa

    for group in range(file.num_row_groups):
        for name in columns:
            try:
                file.read_row_group(group, columns=[name])
            except (pa.ArrowException, OSError) as error:
                return ValueError(
                    f"{path}, row group {group} of {file.num_row_groups} (from 0), column {name!r}: expected readable "
                    f"data, got damage ({_first(error)})"
                )
    return None


def _first(error: BaseException) -> str:
    return str(error).splitlines()[0]
