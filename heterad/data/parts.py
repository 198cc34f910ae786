"""A long table written in parts that outlive a killed run, and put together under its name when all are there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heterad.data.whole_file import whole_file, writable_file, writable_folder

if TYPE_CHECKING:
    import pyarrow as pa
    from typing_extensions import Self

FORMATS = (".csv", ".parquet")


class PartedTable:
    """Write ``path`` (CSV or Parquet by its suffix) part by part; parts are kept in a hidden folder beside it.

    A run of the same ``job`` finds the parts of the one before; of another job they are dropped. ``path`` itself
    appears, or is replaced, only by ``finish``.

    Args:
        path: the file to make.
        job: what makes this job itself (JSON-able): inputs, model, options.

    Attributes:
        folder: where the parts lie; others may put there what helps to go on.
        n_rows: rows in the parts that are done; total: the sum of what ``write`` was told to count.

    Raises:
        OSError: the place cannot be written to.
        ValueError: the suffix is another, or another run writes the same file at this moment.

    Example:
        >>> import pyarrow as pa, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
        >>> with PartedTable(path, {"model": "a"}) as parts:
        ...     parts.write(pa.table({"score": [1.5]}))
        ...     parts.write(pa.table({"score": [2.5]}))
        ...     parts.finish()
        >>> path.read_text().split()
        ['"score"', '1.5', '2.5']
    """

    def __init__(self, path: str | os.PathLike[str], job: Mapping[str, Any]) -> None:
        self.path = writable_file(check_format(path))
        self.folder = self.path.with_name(f".{self.path.name}.parts")
        digest = hashlib.sha256(json.dumps(job, sort_keys=True, default=str).encode()).hexdigest()
        self.folder.mkdir(exist_ok=True)
        self._lock = open(self.folder / "lock", "a")  # noqa: SIM115 (held until the end)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(f"{self.path}: another run is writing it; wait for its end or name another file") from None
        note = self.folder / "job"
        if not note.exists() or note.read_text() != digest:
            for old in self.folder.iterdir():
                if old.name != "lock":
                    old.unlink()
            writable_folder(self.folder)
            note.write_text(digest)
        self._parts = sorted(self.folder.glob(f"part-*{self.path.suffix}"))
        self.n_rows, self.total = (sum(_counts(part)[i] for part in self._parts) for i in (0, 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def write(self, table: pa.Table, count: int = 0) -> None:
        """Add a part of some rows, whole or not at all, and ``count`` to the total."""
        from pyarrow import csv, parquet

        part = self.folder / f"part-{len(self._parts):08}-{table.num_rows}-{count}{self.path.suffix}"
        with self._kept(), whole_file(part) as partial:
            if self.path.suffix == ".csv":
                csv.write_csv(_plain(table), partial, csv.WriteOptions(include_header=not self._parts))
            else:
                parquet.write_table(table, partial)
        self._parts.append(part)
        self.n_rows += table.num_rows
        self.total += count

    def finish(self) -> None:
        """Put the parts together under the file's name, and drop them."""
        from pyarrow import parquet

        with self._kept(), whole_file(self.path) as partial:
            if self.path.suffix == ".csv":
                with partial.open("wb") as file:
                    for part in self._parts:
                        with part.open("rb") as piece:
                            shutil.copyfileobj(piece, file, 1 << 20)
            else:
                with parquet.ParquetWriter(partial, parquet.read_schema(self._parts[0])) as writer:
                    for part in self._parts:
                        writer.write_table(parquet.read_table(part, partitioning=None))
        shutil.rmtree(self.folder)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Tell of a disk that is full in terms of the file asked for."""
        try:
            yield
        except OSError as error:
            about = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(
                error.errno or errno.EIO, f"{about}; what is done is kept, the same command goes on", str(self.path)
            ) from None


def check_format(path: str | os.PathLike[str]) -> Path:
    """The path, if its suffix tells a format that can be written; else ValueError."""
    target = Path(path)
    if target.suffix not in FORMATS and not target.is_dir():
        raise ValueError(
            f"{target}: expected a name that ends in {' or '.join(FORMATS)}, got {target.suffix or 'none'}"
        )
    return target


def _counts(part: Path) -> tuple[int, int]:
    """Its rows and its count, which its name tells."""
    _, _, n_rows, count = part.stem.split("-")
    return int(n_rows), int(count)


def _plain(table: pa.Table) -> pa.Table:
    """The same without dictionaries, which CSV does not know."""
    from pyarrow import types

    for i, field in enumerate(table.schema):
        if types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(field.type.value_type))
    return table
