"""Table 4 of Kumagai et al. (2023): learned initial attributes against more iterations without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from heterad.experiments.meta_methods import OURS, STARTS
from heterad.experiments.meta_published import TABLE4
from heterad.experiments.meta_report import cells, markdown, values
from heterad.experiments.meta_sets import SMOKE
from heterad.experiments.table import Row

VARIANTS = ("", "w/o Initial", *STARTS)


def report_starts(rows: Sequence[Row]) -> str:
    """AUC and training seconds of each start, beside the paper's; empty without a variant of more iterations."""
    for dataset in ("mnist_r", SMOKE):
        found = cells({v: values(rows, dataset, OURS, v) for v in VARIANTS})
        if not found.keys() & STARTS.keys():
            continue
        own = [row for row in rows if row.get("dataset") == dataset and row.get("method") == OURS]
        seconds = {v: np.mean([row["seconds"] for row in own if row["variant"] == v]) for v in found}
        lines = [
            ["", *("Ours" if v == "" else v for v in found)],
            ["AUC, %", *(f"{cell.mean:.2f} ± {cell.error:.2f}" for cell in found.values())],
            ["*paper*", *(f"{TABLE4['auc'][v]:.2f}" for v in found)],
            ["Training, s", *(f"{seconds[v]:.1f}" for v in found)],
            ["*paper*", *(f"{TABLE4['seconds'][v]:.1f}" for v in found)],
        ]
        return f"**Table 4. Initial attributes against more iterations**\n\n{markdown(lines)}"
    return ""
