"""Long experiments as a file of JSON lines, one per finished run, so that what is broken off can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


def complete(
    path: str | os.PathLike[str],
    keys: Iterable[Mapping[str, Any]],
    run: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    *,
    report: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Do the runs that a file does not yet hold, appending each as it ends.

    Args:
        path: the file; made if it is not there, with its folder.
        keys: what identifies each run, JSON-able.
        run: does one run, given its key, and returns its results, JSON-able and with other names than the key's.
        report: told how many runs are done, and of how many.

    Returns:
        Key and results of every run asked for, in the order asked for. Others that the file holds are passed over.

    Raises:
        OSError: the file cannot be written.
        ValueError: a line of it is not JSON, but for a last one that was cut short, which is run again.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "runs.jsonl"
        >>> complete(file, [{"seed": 1}, {"seed": 2}], lambda key: {"auc": key["seed"] / 4})
        [{'seed': 1, 'auc': 0.25}, {'seed': 2, 'auc': 0.5}]
        >>> complete(file, [{"seed": 2}], lambda key: 1 / 0)
        [{'seed': 2, 'auc': 0.5}]
    """
    wanted = [dict(key) for key in keys]
    names = {name for key in wanted for name in key}
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    done = {_identity({n: v for n, v in row.items() if n in names}): row for row in _read(target)}
    for number, key in enumerate(wanted):
        if _identity(key) not in done:
            row = key | dict(run(key))
            with target.open("a") as file:
                file.write(json.dumps(row) + "\n")
            done[_identity(key)] = row
        if report is not None:
            report(number + 1, len(wanted))
    return [done[_identity(key)] for key in wanted]


def _identity(key: Mapping[str, Any]) -> str:
    return json.dumps(key, sort_keys=True)


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    rows = []
    for number, line in enumerate(whole.splitlines(), 1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: expected JSON, got {line[:60]!r} ({error})") from None
    return rows
