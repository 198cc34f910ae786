"""Means, standard errors and paired tests of runs of different methods on the same splits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from heterad.experiments.meta_report import markdown
from heterad.experiments.statistics import paired_p, with_error
from heterad.experiments.table import Row


class Comparison(NamedTuple):
    """How much better one method is than another on the same draws.

    ``gains`` of each draw, averaged over ``sets``; ``p`` two-sided, of Student's paired test (1 where all are equal).
    """

    gains: np.ndarray
    sets: list[str]
    p: float


def by_set_and_draw(rows: Iterable[Mapping[str, Any]], value: str = "auroc") -> dict[str, dict[tuple, float]]:
    """Mean over the tasks of each (set, shots, (split, seed)), by method: what can be paired.

    Seeds of one split share its data: only splits are independent.

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


def compare(rows: Iterable[Mapping[str, Any]], method: str, than: str) -> Comparison:
    """Compare two methods on the draws that both have been run on.

    The differences of one split are first averaged over the data sets (and numbers of shots) and over the seeds, which
    share its data, so that every split is one pair, as the question is about the mean over data sets. Sets with fewer
    draws (splits and seeds) than others are left out of it.

    Args:
        rows: with ``set``, ``shots``, ``split``, ``seed``, ``method`` and ``auroc``.
        method: name.
        than: name.

    Returns:
        The comparison.

    Raises:
        ValueError: there are fewer than two such splits.

    Example:
        >>> rows = [{"set": "s", "shots": 1, "split": i, "seed": 0, "method": m, "auroc": 0.1 * i + g}
        ...         for i in range(3) for m, g in (("a", 0.0), ("b", 0.02 + 0.01 * i))]
        >>> found = compare(rows, "b", "a")
        >>> found.gains.round(3).tolist(), found.sets
        ([0.02, 0.03, 0.04], ['s'])
    """
    values = by_set_and_draw(row for row in rows if row["method"] in (method, than))
    ours, theirs = values.get(method, {}), values.get(than, {})
    gains: dict[tuple[str, int], dict[tuple, float]] = defaultdict(dict)
    for data, shots, draw in ours.keys() & theirs.keys():
        gains[data, shots][draw] = ours[data, shots, draw] - theirs[data, shots, draw]
    most = max(map(len, gains.values()), default=0)
    full = {place: found for place, found in gains.items() if len(found) == most}
    draws = sorted(set.intersection(*map(set, full.values()))) if full else []
    splits = _by_split({draw: float(np.mean([found[draw] for found in full.values()])) for draw in draws})
    if len(splits) < 2:
        raise ValueError(f"rows: expected two or more draws of {method!r} and {than!r}, got {len(splits)}")
    mean = np.array(splits)
    return Comparison(mean, sorted({data for data, _ in full}), paired_p(mean))


def protocol_report(rows: Sequence[Row], *, table: str, than: str | None = None) -> str:
    """The rows of one protocol as text: means and standard errors of every method, and paired tests.

    Args:
        rows: of any tables; others than ``table`` are passed over, and smoke runs where there are others.
        table: its name.
        than: what every other method is compared with; None compares AHL of each base with that base, and with
            "BASE + pseudo", which is given the same pseudo anomalies.

    Returns:
        Tables in Markdown, empty without rows.
    """
    own = [row for row in rows if row.get("table") == table]
    own = [row for row in own if not row.get("smoke")] or own
    if not own:
        return ""
    found = {name: _by_place(values) for name, values in by_set_and_draw(own).items()}
    places = sorted({place for cells in found.values() for place in cells}, key=lambda place: (-place[1], place[0]))
    lines = [["method", *(f"{data}, M = {m}" for data, m in places)]]
    for name, cells in found.items():
        lines.append([name, *(with_error(cells[p], 1) if p in cells else "" for p in places)])
    if than is None:
        pairs = [(f"AHL({base})", other) for base in found for other in (base, f"{base} + pseudo")]
    else:
        pairs = [(name, than) for name in found]
    tests = _tests(own, [(ours, other) for ours, other in pairs if ours != other and {ours, other} <= found.keys()])
    return "\n\n".join([f"{table}: AUROC in %, mean ± standard error over draws", markdown(lines), *tests])


def _by_place(values: Mapping[tuple, float]) -> dict[tuple[str, int], list[float]]:
    """Per cent of each split, by (set, shots)."""
    found: dict[tuple[str, int], dict[tuple, float]] = defaultdict(dict)
    for (data, shots, draw), value in values.items():
        found[data, shots][draw] = 100 * value
    return {place: _by_split(of_draws) for place, of_draws in found.items()}


def _by_split(of_draws: Mapping[tuple, float]) -> list[float]:
    """The mean over its seeds of each split, in order, given values by (split, seed)."""
    found: dict[Any, list[float]] = defaultdict(list)
    for (split, _), value in sorted(of_draws.items()):
        found[split].append(value)
    return [float(np.mean(values)) for values in found.values()]


def _tests(rows: Sequence[Row], pairs: Iterable[tuple[str, str]]) -> list[str]:
    """A table with a line for each pair of methods and number of shots."""
    sets = sorted({row["set"] for row in rows})
    every_m = sorted({row["shots"] for row in rows}, reverse=True)
    lines = [["difference", "M", *sets, "mean over data sets", "draws", "p"]]
    for method, than in pairs:
        for m in every_m:
            own = [row for row in rows if row["shots"] == m]
            mean = _compared(own, method, than)
            if mean is None:
                continue
            each = [_compared([row for row in own if row["set"] == data], method, than) for data in sets]
            of = "" if len(mean.sets) == len(sets) else f" ({', '.join(mean.sets)})"
            cells = [with_error(100 * c.gains, 2, signed=True) if c else "" for c in (*each, mean)]
            draws = str(len(mean.gains))
            other = f"({than})" if "+" in than else than
            lines.append([f"{method} - {other}", str(m), *cells[:-1], cells[-1] + of, draws, f"{mean.p:.2g}"])
    return [markdown(lines)] if len(lines) > 1 else []


def _compared(rows: Sequence[Row], method: str, than: str) -> Comparison | None:
    try:
        return compare(rows, method, than)
    except ValueError:  # too few draws of both
        return None
