"""Table 4 of Kumagai et al. (2023): learned initial attributes against more iterations without them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from heterad.experiments.meta_methods import OURS, STARTS
from heterad.experiments.meta_published import NAMES, TABLE4
from heterad.experiments.meta_report import (
    Column,
    Place,
    cells,
    common_runs,
    counted,
    markdown,
    runs_by_grid,
    text_of,
)
from heterad.experiments.meta_sets import SMOKE
from heterad.experiments.meta_times import STEPS
from heterad.experiments.table import Row

COLUMNS = [Column("Ours" if v == "" else v, OURS, v, v) for v in ("", "w/o Initial", *STARTS)]


def report_starts(rows: Sequence[Row]) -> str:
    """AUC and training seconds of each start, on the runs that all have, beside the paper's.

    A table for each grid; empty without a variant of more iterations.
    """
    tables = []
    for dataset in ("mnist_r", SMOKE):
        for grid, runs in runs_by_grid(rows, dataset, COLUMNS, special=True).items():
            common = common_runs(runs)
            found = cells(common)
            shown = [c for c in COLUMNS if c.label in found]
            if not any(c.name in STARTS for c in shown):
                continue
            own = [row for row in rows if row.get("dataset") == dataset and row.get("grid") == grid]
            seconds = [_seconds([row for row in own if row["variant"] == c.name], common[c.label]) for c in shown]
            lines = [
                ["", *(c.label for c in shown)],
                ["AUC, %", *(text_of(cell._replace(bold=False)) for cell in found.values())],
                ["*paper*", *(f"{TABLE4['auc'][c.name]:.2f}" for c in shown)],
                ["Training, 10,000 steps, s", *(f"{s:.1f}" for s in seconds)],
                ["*paper*", *(f"{TABLE4['seconds'][c.name]:.1f}" for c in shown)],
            ]
            if dataset == SMOKE:  # the paper has no figure of it
                lines = [line for line in lines if line[0] != "*paper*"]
            title = "Table 4. Initial attributes against more iterations"
            tables.append(f"**{title}**\n\n{markdown(lines)}\n\n{counted({NAMES[dataset]: found})} Grid: {grid}.")
    return "\n\n".join(tables)


def _seconds(rows: Sequence[Row], places: Collection[Place]) -> float:
    """CPU seconds of the paper's number of steps, the mean of those runs of ours."""
    own = [row for row in rows if row["method"] == OURS and row.get("steps_taken")]
    rates = [
        row["seconds"] / row["steps_taken"] for row in own if (row["split"], row["seed"], row["label_ratio"]) in places
    ]
    return STEPS * float(np.mean(rates)) if rates else float("nan")
