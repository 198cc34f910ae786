"""Means, standard errors and paired tests of runs of different methods on the same splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from heterad.experiments.statistics import paired_p, standard_error
from heterad.experiments.table import Row


class Comparison(NamedTuple):
    """How much better ``method`` is than ``than``: mean of the paired differences, its standard error, number of
    pairs, and the two-sided p-value of Student's paired test (1 where all pairs are equal)."""

    method: str
    than: str
    gain: float
    error: float
    n: int
    p: float


def by_set_and_draw(rows: Iterable[Mapping[str, Any]], value: str = "auroc") -> dict[str, dict[tuple, float]]:
    """Mean over the tasks of each (set, shots, draw), by method: what is independent, and what is paired.

    A draw is a split and a seed.

    Example:
        >>> rows = [
        ...     {"set": "s", "shots": 1, "split": 0, "seed": 0, "method": "a", "auroc": v} for v in (0.5, 0.7)
        ... ]
        >>> by_set_and_draw(rows)
        {'a': {('s', 1, (0, 0)): 0.6}}
    """
    collected: dict[str, dict[tuple, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        collected[row["method"]][row["set"], row["shots"], (row["split"], row["seed"])].append(row[value])
    return {name: {key: float(np.mean(v)) for key, v in found.items()} for name, found in collected.items()}


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[tuple[str, int], tuple[float, float]]]:
    """Mean and standard error over the draws, by method and (set, shots)."""
    found: dict[str, dict[tuple[str, int], tuple[float, float]]] = {}
    for name, values in by_set_and_draw(rows).items():
        cells: dict[tuple[str, int], list[float]] = defaultdict(list)
        for (data, shots, _), value in values.items():
            cells[data, shots].append(value)
        found[name] = {key: (float(np.mean(v)), standard_error(v)) for key, v in cells.items()}
    return found


def compare(rows: Sequence[Mapping[str, Any]], method: str, than: str, *, shots: int | None = None) -> Comparison:
    """Compare two methods on the sets and draws that both have been run on.

    The differences of one draw are first averaged over the data sets, so that every draw is one pair, as the
    question is about the mean over data sets.

    Args:
        rows: of a protocol of AHL.
        method, than: their names.
        shots: only runs with so many seen anomalies; None takes all.

    Returns:
        The comparison.

    Raises:
        ValueError: there are fewer than two common draws.

    Example:
        >>> rows = [{"set": "s", "shots": 1, "split": i, "seed": 0, "method": m, "auroc": 0.1 * i + g}
        ...         for i in range(3) for m, g in (("a", 0.0), ("b", 0.02 + 0.01 * i))]
        >>> found = compare(rows, "b", "a")
        >>> round(found.gain, 3), found.n
        (0.03, 3)
    """
    values = by_set_and_draw([r for r in rows if shots is None or r["shots"] == shots])
    ours, theirs = values.get(method, {}), values.get(than, {})
    by_draw: dict[Any, list[float]] = defaultdict(list)
    for key in ours.keys() & theirs.keys():
        by_draw[key[2]].append(ours[key] - theirs[key])
    gains = np.array([np.mean(v) for _, v in sorted(by_draw.items())])
    if len(gains) < 2:
        raise ValueError(f"rows: expected two or more draws of {method!r} and {than!r}, got {len(gains)}")
    return Comparison(method, than, float(gains.mean()), standard_error(gains), len(gains), paired_p(gains))


def protocol_report(rows: Sequence[Row], *, table: str, than: str | None = None) -> str:
    """The rows of one protocol as text: means and standard errors of every method, and paired tests.

    Args:
        rows: of any tables; others than ``table`` are passed over.
        table: its name.
        than: what every other method is compared with; None compares AHL of each base with that base.

    Returns:
        Tables in Markdown, empty without rows.
    """
    own = [row for row in rows if row.get("table") == table]
    if not own:
        return ""
    found = means(own)
    places = sorted({key for cells in found.values() for key in cells}, key=lambda key: (-key[1], key[0]))
    shots = sorted({m for _, m in places}, reverse=True)
    lines = [f"{table}: AUROC in %, mean ± standard error over draws", ""]
    lines.append("| method | " + " | ".join([f"{data}, M = {m}" for data, m in places]) + " |")
    lines.append("|---" * (1 + len(places)) + "|")
    for name, cells in found.items():
        shown = [f"{100 * v[0]:.1f} ± {100 * v[1]:.1f}" if (v := cells.get(key)) else "" for key in places]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    pairs = [(f"AHL({base})", base) for base in found] if than is None else [(name, than) for name in found]
    tests = []
    for method, other in pairs:
        if method == other or method not in found or other not in found:
            continue
        for m in (*shots, None) if len(shots) > 1 else shots:
            try:
                tests.append((m, compare(own, method, other, shots=m)))
            except ValueError:  # too few draws of both
                continue
    if tests:
        lines += [
            "",
            "| difference, mean over data sets | M | gain | standard error | draws | p |",
            "|---|---|---|---|---|---|",
        ]
    for m, t in tests:
        figures = f"{100 * t.gain:+.2f} | {100 * t.error:.2f} | {t.n} | {t.p:.2g}"
        lines.append(f"| {t.method} - {t.than} | {'all' if m is None else m} | {figures} |")
    return "\n".join(lines)
