"""``heterad report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from heterad.data.whole_file import whole_file, writable_folder
from heterad.experiments.runs import read_rows
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
    rows = [row for file in files for row in read_rows(file)]
    try:
        texts = {table.name: text for table in TABLES.values() if (text := table.report(rows))}
    except KeyError as error:
        raise ValueError(
            f"{files[0]}: expected rows as heterad reproduce writes them, got some without {error}"
        ) from None
    if not texts:
        raise ValueError(f"{files[0]}: expected rows of one of {', '.join(TABLES)}; got none among {len(rows)}")
    print("\n\n".join(texts.values()))
    if into is not None:
        page = into.read_text()
        for name, text in texts.items():
            page = _replace(page, name, text)
        with whole_file(into) as partial:
            partial.write_text(page)
    if out is not None:
        folder = writable_folder(out)
        drawn = [file for table in TABLES.values() if table.draw is not None for file in table.draw(rows, folder)]
        print(
            "\nDrew " + ", ".join(str(file) for file in drawn) if drawn else "\nNo pictures can be drawn of these rows"
        )


def _replace(page: str, name: str, text: str) -> str:
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if start not in page or end not in page:
        return page
    head, _, rest = page.partition(start)
    _, _, tail = rest.partition(end)
    return f"{head}{start}\n{text}\n\n{end}{tail}"
