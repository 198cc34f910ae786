"""``heterad report``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from heterad.data.whole_file import whole_file, writable_folder
from heterad.experiments.runs import read_rows
from heterad.experiments.table import Row
from heterad.experiments.tables import TABLES

Files = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]

TEXTS = ("dataset", "timing", "table", "set", "method", "variant")
PLACES = ("split", "seed", "shots", "anomaly_ratio")
SHARES = ("auc", "auroc", "aupr")
RESULTS = (*SHARES, "seconds", "steps_taken", "train_seconds", "test_seconds")
KEYS = (*TEXTS, *PLACES, "label_ratio", "grid")
KINDS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    **dict.fromkeys(TEXTS, ("a text", (str,))),
    **dict.fromkeys((*PLACES, *RESULTS), ("a number", (int, float))),
    "label_ratio": ("a number or null", (int, float, type(None))),
    "grid": ("a text or null", (str, type(None))),
}


def report(files: Files, out: Path | None = None, into: Path | None = None) -> None:
    """Print the tables that files of heterad reproduce can fill, beside the paper's figures.

    Args:
        files: Files that heterad reproduce wrote; their rows are taken together.
        out: Folder to draw the pictures in.
        into: Text file whose parts between <!-- TABLE --> and <!-- /TABLE --> become the tables.
    """
    if not files:
        raise ValueError("FILE: expected at least one file, got none")
    by_file = {file: _read(file) for file in files}
    _check_agreement(by_file)
    rows = [row for file in files for row in by_file[file]]
    names = ", ".join(map(str, files))
    try:
        texts = _tables(rows, names)
    except ValueError:
        for file, own in by_file.items():  # to name the one at fault
            _tables(own, str(file))
        raise
    if not texts:
        raise ValueError(f"{names}: expected rows of one of {', '.join(TABLES)}; got none among {len(rows)}")
    if into is not None:
        page = _filled(into, texts)
        with whole_file(into) as partial:
            partial.write_text(page)
    print("\n\n".join(texts.values()))
    if out is not None:
        folder = writable_folder(out)
        drawn = [file for table in TABLES.values() if table.draw is not None for file in table.draw(rows, folder)]
        print(
            "\nDrew " + ", ".join(str(file) for file in drawn) if drawn else "\nNo pictures can be drawn of these rows"
        )


def _read(file: Path) -> list[Row]:
    rows: list[Row] = [*read_rows(file)]
    for number, row in enumerate(rows, 1):
        for name, (what, kinds) in KINDS.items():
            if name in row and not isinstance(row[name], kinds):
                raise ValueError(f"{file}, line {number}: expected {what} for {name!r}, got {row[name]!r}")
        for name in SHARES:
            if name in row and not 0 <= row[name] <= 1:
                raise ValueError(f"{file}, line {number}: expected {name!r} from 0 to 1, got {row[name]!r}")
    return rows


def _check_agreement(by_file: Mapping[Path, Sequence[Row]]) -> None:
    """Raise where one run has two results: a mean of both would be of neither."""
    found: dict[str, tuple[str, list[Any]]] = {}
    for file, rows in by_file.items():
        for number, row in enumerate(rows, 1):
            run = json.dumps({name: row[name] for name in (*KEYS, "task", "smoke") if name in row})
            here, results = f"{file}, line {number}", [row.get(name) for name in SHARES]
            there, before = found.setdefault(run, (here, results))
            if results != before:
                raise ValueError(f"{there}, and {here}: expected one result of a run, got two of {run}")


def _tables(rows: Sequence[Row], files: str) -> dict[str, str]:
    """The text of every table that the rows of these files can fill, by name."""
    try:
        return {table.name: text for table in TABLES.values() if (text := table.report(rows))}
    except KeyError as error:
        raise ValueError(f"{files}: expected rows as heterad reproduce writes them, got some without {error}") from None


def _filled(file: Path, texts: Mapping[str, str]) -> str:
    """The text of a file with tables between its markers."""
    try:
        page = file.read_text()
    except UnicodeDecodeError as error:
        raise ValueError(f"{file}: expected a text file, got another ({error})") from None
    found = False
    for name, text in texts.items():
        head, start, rest = page.partition(f"<!-- {name} -->\n")
        _, end, tail = rest.partition(f"<!-- /{name} -->")
        if end:
            page, found = f"{head}{start}\n{text}\n\n{end}{tail}", True
    if not found:
        sought = ", ".join(f"<!-- {name} --> ... <!-- /{name} -->" for name in texts)
        raise ValueError(f"{file}: expected lines to put a table between, one of {sought}; got none")
    return page
