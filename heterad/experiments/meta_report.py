"""Means, standard errors and paired tests of the runs of Kumagai et al. (2023), as tables in the paper's form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from heterad.data.protocol import CONTAMINATIONS
from heterad.experiments.meta_published import NAMES
from heterad.experiments.statistics import paired_p, standard_error
from heterad.experiments.table import Row

Place = tuple[int, int, float]
"""Split, seed and label ratio: what is paired."""

LEVEL = 0.05
LEAST_SPLITS = 3


class Column(NamedTuple):
    """A method in a variant, under a heading; ``name`` is the column's in the paper's figures."""

    label: str
    method: str
    variant: str
    name: str


class Cell(NamedTuple):
    """Mean AUC in per cent, its standard error over the splits, how many runs, and whether it is printed bold."""

    mean: float
    error: float
    n: int
    bold: bool


def values(
    rows: Iterable[Row], dataset: str, method: str, variant: str = "", ratios: Sequence[float] = CONTAMINATIONS
) -> dict[Place, float]:
    """AUC in per cent of one method on one data set, averaged over the anomaly ratios that are given.

    Where a run was done with more than one grid, the full one counts. What needs no labels stands at each label ratio
    of the data set's other rows.

    Example:
        >>> row = {"dataset": "iot", "method": "if", "variant": "", "split": 0, "seed": 0, "label_ratio": 0.2,
        ...        "grid": "full", "anomaly_ratio": 0.1, "auc": 0.5}
        >>> values([row], "iot", "if")
        {(0, 0, 0.2): 50.0}
    """
    own = [row for row in rows if row.get("dataset") == dataset and "auc" in row and "variant" in row]
    label_ratios = sorted({row["label_ratio"] for row in own if row["label_ratio"] is not None}) or [0.0]
    found: dict[Place, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in own:
        if row["method"] == method and row["variant"] == variant and row["anomaly_ratio"] in ratios:
            for ratio in label_ratios if row["label_ratio"] is None else [row["label_ratio"]]:
                found[row["split"], row["seed"], ratio][row["grid"]].append(100 * row["auc"])
    return {place: float(np.mean(by_grid[min(by_grid, key=str)])) for place, by_grid in sorted(found.items())}


def cells(found: Mapping[str, Mapping[Place, float]]) -> dict[str, Cell]:
    """Mean and standard error of each column, bold for the best and for what a paired t-test cannot tell from it.

    The standard error is that of the splits' means. So is the test, since all runs of a split share its target tasks:
    differences at the same seed and label ratio are averaged over each split. Of two splits, which it could hardly tell
    apart whatever they are, the lesser is not bold.

    Source:
        Kumagai et al. (2023), tables 1 and 2: a significance level of 5 %.

    Example:
        >>> found = cells({"a": {(0, 0, 0.1): 90.0, (1, 0, 0.1): 92.0}, "b": {(0, 0, 0.1): 80.0, (1, 0, 0.1): 82.5}})
        >>> [(name, cell.mean, cell.bold) for name, cell in found.items()]
        [('a', 91.0, True), ('b', 81.25, False)]
    """
    means = {name: float(np.mean(list(v.values()))) for name, v in found.items() if v}
    if not means:
        return {}
    best = max(means, key=lambda name: means[name])
    result = {}
    for name, mean in means.items():
        error = standard_error(split_means(found[name]))
        bold = len(means) > 1 and (name == best or _alike(found[best], found[name]))
        result[name] = Cell(mean, error, len(found[name]), bold)
    return result


def split_means(runs: Mapping[Place, float]) -> list[float]:
    """The mean of each split's runs: what is independent.

    Example:
        >>> split_means({(0, 0, 0.1): 90.0, (0, 1, 0.1): 91.0, (1, 0, 0.1): 80.0})
        [90.5, 80.0]
    """
    by_split: dict[int, list[float]] = defaultdict(list)
    for (split, _, _), value in runs.items():
        by_split[split].append(value)
    return [float(np.mean(v)) for v in by_split.values()]


def table(
    rows: Sequence[Row],
    title: str,
    columns: Sequence[Column],
    paper: Mapping[str, Mapping[str, float]],
    *,
    datasets: Sequence[str] = tuple(NAMES),
    special: bool = True,
) -> str:
    """A line for each data set, or each grid where there are several of it, and the paper's figures below.

    Columns and lines without a single run are left out. The table is empty if there are no rows and, where it is
    ``special``, if there are none but those of methods as they are, which every table shares.
    A ``special`` table compares variants, on the runs that they have in common.
    """
    entries: list[tuple[str, str, dict[str, Cell]]] = []
    grids: set[str] = set()
    for dataset in datasets:
        found = runs_by_grid(rows, dataset, columns, special)
        for grid, runs in found.items():
            line = cells(common_runs(runs) if special else runs)
            if line:
                entries.append((dataset, f"{NAMES[dataset]}, {grid} grid" if len(found) > 1 else NAMES[dataset], line))
                grids.add(grid)
    if not entries:
        return ""
    by_line = {name: line for _, name, line in entries}
    shown = [c for c in columns if any(c.label in line for line in by_line.values())]
    lines = [["Data", *(c.label for c in shown)]]
    for i, (dataset, name, line) in enumerate(entries):
        lines.append([name, *(text_of(line.get(c.label)) for c in shown)])
        last = i + 1 == len(entries) or entries[i + 1][0] != dataset
        if last and dataset in paper:
            published = [paper[dataset].get(c.name) for c in shown]
            lines.append(["*paper*", *("" if v is None else f"{v:.2f}" for v in published)])
    return f"**{title}**\n\n{markdown(lines)}\n\n{counted(by_line)} Grid: {', '.join(sorted(grids))}."


def runs_by_grid(
    rows: Sequence[Row], dataset: str, columns: Sequence[Column], special: bool
) -> dict[str, dict[str, dict[Place, float]]]:
    """The runs of each column, by the grid their hyper-parameters are of; without columns there are no grids.

    What has no grid to choose (None) stands in every line; alone it is in full.
    """
    names = {(c.method, c.variant) for c in columns if c.variant or not special}
    own = [row for row in rows if row.get("dataset") == dataset and "grid" in row]
    named = {row["grid"] for row in own if (row["method"], row["variant"]) in names}
    grids = sorted(named - {None}, reverse=True) or (["full"] if named else [])
    by_grid = {grid: [row for row in own if row["grid"] in (grid, None)] for grid in grids}
    found = {g: {c.label: values(part, dataset, c.method, c.variant) for c in columns} for g, part in by_grid.items()}
    return {grid: runs for grid, runs in found.items() if any(runs.values())}


def common_runs(runs: Mapping[str, Mapping[Place, float]]) -> dict[str, dict[Place, float]]:
    """Those on splits, seeds and label ratios that every column with runs has: splits differ more than variants."""
    places = set.intersection(*(set(v) for v in runs.values() if v))
    return {label: {place: auc for place, auc in v.items() if place in places} for label, v in runs.items()}


def counted(by_line: Mapping[str, Mapping[str, Cell]]) -> str:
    """How many runs the means of each line are of."""
    parts = []
    for name, line in by_line.items():
        numbers = sorted({cell.n for cell in line.values()})
        parts.append(f"{name} {' to '.join(str(n) for n in sorted({numbers[0], numbers[-1]}))}")
    return f"Runs (splits × label ratios × seeds) of each mean: {'; '.join(parts)}; ± standard error over splits."


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """A table of texts, the first line its head, that reads well as it stands.

    Example:
        >>> print(markdown([["a", "b"], ["long", "1"]]))
        | a    | b |
        |:-----|--:|
        | long | 1 |
    """
    width = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]

    def row(line: Sequence[str]) -> str:
        texts = [
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(line, width, strict=True))
        ]
        return "| " + " | ".join(texts) + " |"

    rule = "|:" + "-" * (width[0] + 1) + "|" + "|".join("-" * (w + 1) + ":" for w in width[1:]) + "|"
    return "\n".join([row(lines[0]), rule, *(row(line) for line in lines[1:])])


def text_of(cell: Cell | None) -> str:
    """Mean ± standard error, of several splits; bold as the cell is.

    Example:
        >>> text_of(Cell(90.0, 0.5, 3, True)), text_of(Cell(90.0, 0.0, 1, False)), text_of(None)
        ('**90.00** ± 0.50', '90.00', '')
    """
    if cell is None:
        return ""
    mean = f"**{cell.mean:.2f}**" if cell.bold else f"{cell.mean:.2f}"
    return f"{mean} ± {cell.error:.2f}" if cell.error else mean


def _alike(best: Mapping[Place, float], other: Mapping[Place, float]) -> bool:
    gaps = split_means({place: best[place] - other[place] for place in best.keys() & other.keys()})
    return len(gaps) >= LEAST_SPLITS and paired_p(np.array(gaps)) >= LEVEL
