"""``heterad report``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import tyro

from heterad.data.whole_file import whole_file, writable_folder
from heterad.experiments.results import check, told
from heterad.experiments.runs import read_rows
from heterad.experiments.table import Row
from heterad.experiments.tables import TABLES

Files = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]


def report(files: Files, out: Path | None = None, into: Path | None = None) -> None:
    """Print the tables that files of heterad reproduce can fill, beside the paper's figures.

    Args:
        files: Files that heterad reproduce wrote; their rows are taken together.
        out: Folder to draw the pictures in.
        into: Text file whose parts between <!-- TABLE --> and <!-- /TABLE --> become the tables.
    """
    if not files:
        raise ValueError("FILE: expected at least one file, got none")
    by_file: dict[str, list[Row]] = {str(file): [*read_rows(file)] for file in files}
    check(by_file)
    rows = [row for own in by_file.values() for row in own]
    names = ", ".join(map(str, files))
    try:
        texts = _tables(rows, names)
    except ValueError:
        for file, own in by_file.items():  # to name the one at fault
            _tables(own, file)
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


def _tables(rows: Sequence[Row], files: str) -> dict[str, str]:
    """The text of every table that the rows of these files can fill, by name."""
    texts = {table.name: told(table, rows, files) for table in TABLES.values()}
    return {name: text for name, text in texts.items() if text}


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
