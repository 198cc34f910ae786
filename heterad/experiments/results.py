"""What files of results must be like before means are taken of them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from heterad.experiments.table import Row, Table

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


def check(by_file: Mapping[str, Sequence[Row]]) -> None:
    """Refuse rows that no run can have, and two results of one run.

    Args:
        by_file: the rows by the file that they are of, in its order.

    Raises:
        ValueError: names the file, the line, what was expected and what came.

    Example:
        >>> check({"a.jsonl": [{"dataset": "iot", "auc": 77}]})
        Traceback (most recent call last):
        ValueError: a.jsonl, line 1: expected 'auc' from 0 to 1, got 77
    """
    found: dict[str, tuple[str, list[Any]]] = {}
    for file, rows in by_file.items():
        for number, row in enumerate(rows, 1):
            _check_row(row, f"{file}, line {number}")
            run = json.dumps({name: row[name] for name in (*KEYS, "task", "smoke") if name in row})
            here, results = f"{file}, line {number}", [row.get(name) for name in SHARES]
            there, before = found.setdefault(run, (here, results))
            if results != before:  # a mean of both would be of neither
                raise ValueError(f"{there}, and {here}: expected one result of a run, got two of {run}")


def told(table: Table, rows: Sequence[Row], files: str) -> str:
    """The table of rows, as text; empty if none are its own.

    Raises:
        ValueError: rows lack what every row of such a table has.

    Example:
        >>> from heterad.experiments.tables import TABLES
        >>> told(TABLES["table1"], [], "a.jsonl")
        ''
    """
    try:
        return table.report(rows)
    except KeyError as error:
        raise ValueError(f"{files}: expected rows as heterad reproduce writes them, got some without {error}") from None


def _check_row(row: Row, where: str) -> None:
    for name, (what, kinds) in KINDS.items():
        if name not in row:
            continue
        value: Any = row[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise ValueError(f"{where}: expected {what} for {name!r}, got {value!r}")
        if name in SHARES and not 0 <= row[name] <= 1:
            raise ValueError(f"{where}: expected {name!r} from 0 to 1, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where}: expected a finite number for {name!r}, got {value!r}")
