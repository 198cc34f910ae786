"""Long experiments as a file of JSON lines, one or more for each finished run, so that what is broken off can go on."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from heterad.data.whole_file import whole_file

Key = Mapping[str, Any]
Results = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Row = dict[str, Any]
logger = logging.getLogger(__name__)


def complete(
    path: str | os.PathLike[str],
    keys: Iterable[Key],
    run: Callable[[Key], Results],
    *,
    jobs: int = 1,
    report: Callable[[int, int], None] | None = None,
    check: Callable[[Sequence[Key]], None] | None = None,
    accept: Callable[[Sequence[Row]], None] | None = None,
) -> list[Row]:
    """Do the runs that a file does not yet hold, and write the rows of each, all or none of them, as it ends.

    One that fails keeps none of the others from being done, unless a file cannot be read: it is logged, and told of at
    the end.

    Args:
        path: the file; made if it is not there, with its folder.
        keys: what identifies each run, JSON-able.
        run: does one run, given its key, and returns its results, JSON-able and with other names than the key's; a
            sequence of them makes a row of each.
        jobs: processes, each of one thread if there are several; then ``run`` must be a function of a module (or a
            partial of one).
        report: told how many runs are done, and of how many; first before any is.
        check: given the keys of the runs to do before any is done; what it raises is raised.
        accept: given the rows that the file holds before any run is done; what it raises is raised.

    Returns:
        Key and results of every run asked for, in the order asked for. Others that the file holds are passed over.

    Raises:
        OSError: the file, or one that a run needs, cannot be read or written; another run is writing to it; or one of
            the processes died.
        ValueError: runs failed (the first one's error is the cause); a line of the file is no JSON object, but for a
            last one that was cut short, which is run again.

    Cost:
        The file is written anew after each run, so that it never holds half of one: O(rows).

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "runs.jsonl"
        >>> complete(file, [{"seed": 1}, {"seed": 2}], lambda key: {"auc": key["seed"] / 4})
        [{'seed': 1, 'auc': 0.25}, {'seed': 2, 'auc': 0.5}]
        >>> complete(file, [{"seed": 2}], lambda key: 1 / 0)
        [{'seed': 2, 'auc': 0.5}]
    """
    if jobs < 1:
        raise ValueError(f"jobs: expected at least 1, got {jobs}")
    wanted = [dict(key) for key in keys]
    names = {name for key in wanted for name in key}

    def run_of(row: Row) -> str:
        return _identity({name: value for name, value in row.items() if name in names})

    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        rows, cut = _read(target)
        done: dict[str, list[Row]] = {}
        for row in rows:
            done.setdefault(run_of(row), []).append(row)
        if cut and rows:
            identity = run_of(rows[-1])
            logger.warning("%s: last line cut short; what may be of the same run is dropped: %s", target, identity)
            last = done.pop(identity)
            rows = [row for row in rows if row not in last]
        if accept is not None:
            accept(rows)
        todo = {_identity(key): key for key in wanted if _identity(key) not in done}
        n_wanted = len({_identity(key) for key in wanted})

        def tell() -> None:
            if report is not None:
                report(n_wanted - len(todo), n_wanted)

        if check is not None:
            check(list(todo.values()))
        tell()
        failed: dict[str, Exception] = {}
        try:
            for identity, results in _each(run, dict(todo), jobs):
                if isinstance(results, Exception):
                    failed[identity] = results
                    logger.warning("%s failed: %s", identity, results)
                    continue
                found = [results] if isinstance(results, Mapping) else results
                done[identity] = [{**todo[identity], **result} for result in found]
                rows += done[identity]
                write_rows(target, rows)
                del todo[identity]
                tell()
        except BrokenProcessPool:
            raise ChildProcessError(
                f"{target}: one of {jobs} processes died, killed or out of memory; finished runs are kept in the file, "
                "and the same command goes on from there"
            ) from None
    if failed:
        identity, error = next(iter(failed.items()))
        kept = f"; the others are kept in {target}" if len(failed) < n_wanted else ""
        raise ValueError(f"{len(failed)} of {n_wanted} runs failed, first {identity}: {error}{kept}") from error
    return [row for key in wanted for row in done[_identity(key)]]


def read_rows(path: str | os.PathLike[str]) -> list[Row]:
    """The rows of a file that ``complete`` writes, be it at work or not.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line of it is no JSON object.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "runs.jsonl"
        >>> write_rows(file, [{"seed": 1, "auc": 0.5}])
        >>> read_rows(file)
        [{'seed': 1, 'auc': 0.5}]
    """
    Path(path).stat()
    rows, cut = _read(Path(path))
    if cut:
        raise ValueError(
            f"{os.fspath(path)}, line {len(rows) + 1}: expected JSON, got a line that is cut short; "
            "what wrote the file can do its last run again"
        )
    return rows


def write_rows(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines; the file is replaced whole or not at all.

    Raises:
        OSError: the file cannot be written.

    Example:
        See ``read_rows``.
    """
    with whole_file(path) as partial:
        partial.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _each(run: Callable[[Key], Results], todo: dict[str, Row], jobs: int) -> Iterator[tuple[str, Results | Exception]]:
    if jobs == 1:
        yield from ((identity, _attempt(run, key)) for identity, key in todo.items())
        return
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(theirs,)) as pool:
        try:
            with _uninterrupted():
                futures = {pool.submit(_attempt, run, key): identity for identity, key in todo.items()}
            for future in as_completed(futures):
                yield futures[future], future.result()
            pool.shutdown()
        finally:
            ours.close()


def _attempt(run: Callable[[Key], Results], key: Key) -> Results | Exception:
    try:
        return run(key)
    except OSError:
        raise
    except Exception as error:  # one diverged training, or a peer's mistake, is no reason to lose a night
        return error


def _begin(lifeline: Connection) -> None:
    """Of a process of several: as many as cores leave none to a second thread, of torch or of what is imported later;
    and it ends, whatever it does, when the one that it works for closes the other end of the pipe, or is killed."""
    import torch

    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    threading.Thread(target=_follow, args=(lifeline,), daemon=True).start()


def _follow(lifeline: Connection) -> None:
    with suppress(EOFError):
        lifeline.recv()
    os._exit(1)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started meanwhile do not hear Ctrl-C: it is for this one, which ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where Python lets nobody set what a signal does
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Hold the lock beside a file; the system lets go of it if this process dies."""
    path = target.with_name(f".{target.name}.lock")
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino != path.stat().st_ino:
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError):
            raise OSError(f"{target}: another run is writing to it; wait for it, or name another file") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _identity(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def _read(path: Path) -> tuple[list[Row], bool]:
    """The rows of a file, and whether its last line is cut short."""
    if not path.exists():
        return [], False
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected lines of JSON, got a file that is no text ({error})") from None
    rows: list[Row] = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number == len(lines) and not text.endswith("\n"):
                return rows, True
            raise ValueError(f"{path}, line {number}: expected JSON, got {line[:60]!r} ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}")
        rows.append(row)
    return rows, False
