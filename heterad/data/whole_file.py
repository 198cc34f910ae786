"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` to write to, and rename it to ``path`` if all went well.

    A reader sees the old file or the new one, never a part; after an error the old file still stands and the
    temporary one is gone. The temporary name keeps the suffix, from which writers tell the format. Of a symbolic link
    the file that it points to is replaced.

    Args:
        path: the file to make or replace.

    Yields:
        The path to write to.

    Raises:
        OSError: the folder is missing or cannot be written to, or the path is a device or a pipe.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "note.txt"
        >>> with whole_file(path) as partial:
        ...     _ = partial.write_text("all of it")
        >>> path.read_text()
        'all of it'
    """
    target = _regular(path)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        yield partial
        os.replace(partial, target)
    except OSError as error:
        raise _about(target, error) from None
    finally:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)


def writable_file(path: str | os.PathLike[str]) -> Path:
    """Make sure, before hours of work, that a file can be made or replaced at ``path``.

    Args:
        path: the file; folders above it are made.

    Returns:
        Its path.

    Raises:
        OSError: it is a folder, a device or a pipe, or its folder cannot be made or written to.

    Example:
        >>> import tempfile
        >>> writable_file(Path(tempfile.mkdtemp()) / "new" / "scores.csv").name
        'scores.csv'
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "expected the name of a file to write, got a folder", str(target))
    writable_folder(_regular(target).parent)
    return target


def spare(out: str | os.PathLike[str], files: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse to write over a file that is read.

    Args:
        out: the file to write.
        files: those that are read; what does not exist is passed over.

    Raises:
        ValueError: ``out`` is one of them, by whatever name.

    Example:
        >>> spare("scores.csv", ["rows.csv"])
    """
    if not os.path.exists(out):
        return
    for file in files:
        if os.path.exists(file) and os.path.samefile(out, file):
            raise ValueError(f"{os.fspath(out)}: expected another file to write to than the one that is read")


def writable_folder(folder: str | os.PathLike[str]) -> Path:
    """Make a folder if it is not there, and make sure that files can be written to it.

    Args:
        folder: the folder; those above it are made too.

    Returns:
        Its path.

    Raises:
        OSError: it cannot be made or written to, or is a file.

    Example:
        >>> import tempfile
        >>> writable_folder(Path(tempfile.mkdtemp()) / "new").name
        'new'
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise _about(folder, error) from None


def _regular(path: str | os.PathLike[str]) -> Path:
    """Where a file is, or will be, behind any links; what is there and no file is not to be replaced by one."""
    target = Path(os.path.realpath(path))
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise OSError(errno.EINVAL, "expected the name of a file to write, got a device or a pipe", os.fspath(path))
    return target


def _about(target: Path, error: OSError) -> OSError:
    """The same error, naming the file that was asked for and not the temporary one."""
    if error.errno is None:
        return error
    return OSError(error.errno, os.strerror(error.errno), str(target))
