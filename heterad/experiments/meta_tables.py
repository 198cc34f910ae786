"""The tables and figures of Kumagai et al. (2023): which runs each is made of, and how it is printed and drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from heterad.experiments import meta_figures as figures
from heterad.experiments import meta_published as paper
from heterad.experiments.meta_cells import run_cell
from heterad.experiments.meta_methods import (
    ABLATIONS,
    FORMS,
    GAINS,
    ITERATIONS,
    META_LEARNERS,
    METHODS,
    OURS,
    STARTS,
    TASK_COUNTS,
    TASK_DIMS,
)
from heterad.experiments.meta_report import Column, table
from heterad.experiments.meta_sets import DATASETS, SMOKE, try_set
from heterad.experiments.meta_starts import report_starts
from heterad.experiments.meta_times import report_times, time_all, timing_keys
from heterad.experiments.table import Options, Row, Table, choose

FEW_LABELS, FEW_TASKS, ENTROPY = "1 % labelled anomalies", "10 % tasks with anomalies", "cross-entropy"


def cells(
    options: Options, *, methods: Mapping[str, Sequence[str]], datasets: Sequence[str] = DATASETS
) -> list[dict[str, Any]]:
    """The runs of a table: every split, seed, data set, label ratio, method and variant of it.

    What learns from no labels is run once for all label ratios and, as it always has its whole grid, for both grids.

    Example:
        >>> len(cells(Options(splits=1, datasets=("iot",)), methods={"ours": [""], "if": [""]}))
        4
    """
    sets = (SMOKE,) if options.smoke else choose("datasets", options.datasets, datasets)
    chosen = choose("methods", options.methods, list(methods))
    n_splits, ratios = (1, options.label_ratios[-1:]) if options.smoke else (options.splits, options.label_ratios)
    return [
        {
            "dataset": dataset,
            "method": method,
            "variant": variant,
            "split": split,
            "label_ratio": ratio if method in META_LEARNERS else None,
            "seed": seed,
            "grid": "smoke" if options.smoke else options.grid if method in META_LEARNERS else None,
        }
        for split in range(n_splits)
        for seed in options.seeds
        for dataset in sets
        for ratio in ratios
        for method in chosen
        for variant in methods[method]
        if method in META_LEARNERS or ratio == ratios[0]
    ]


def _table(
    name: str,
    title: str,
    methods: Mapping[str, Sequence[str]],
    columns: Sequence[Column],
    published: Mapping[str, Mapping[str, float]],
    *,
    datasets: Sequence[str] = DATASETS,
    special: bool = True,
    draw: Callable[[Sequence[Row], Path], list[Path]] | None = None,
) -> Table:
    def report(rows: Sequence[Row]) -> str:
        return table(rows, title, columns, published, datasets=(*datasets, SMOKE), special=special)

    return Table(name, title, partial(cells, methods=methods, datasets=datasets), run_cell, try_set, report, draw)


def _compared(variant: str, methods: Sequence[str]) -> list[Column]:
    return [Column(paper.LABELS[m], m, variant if m in META_LEARNERS else "", m) for m in methods]


def _variants(variants: Sequence[str], names: Mapping[str, str] | None = None) -> list[Column]:
    labels = {"": "Ours", **(names or {})}
    return [Column(labels.get(v, v), OURS, v, v) for v in variants]


def _of(variant: str, methods: Sequence[str]) -> dict[str, list[str]]:
    return {m: [variant if m in META_LEARNERS else ""] for m in methods}


_ALL = tuple(METHODS)
_PAPERS = tuple(m for m in METHODS if m in paper.TABLE1["iot"])
_WITHOUT_MAML = tuple(m for m in _PAPERS if m != "maml")
_LEARNED = tuple(m for m in _PAPERS if m in META_LEARNERS and m not in (OURS, "tnp"))
_BY_I = sorted([*ITERATIONS, ""], key=lambda variant: int(variant[2:] or 10))
_ENTROPY_COLUMNS = [Column("Ours", OURS, "", OURS), *(Column(f"C-{paper.LABELS[m]}", m, ENTROPY, m) for m in _LEARNED)]

META_TABLES: tuple[Table, ...] = (
    _table(
        "table1",
        "Table 1. Mean AUC, %, over label ratios and anomaly ratios",
        _of("", _ALL),
        _compared("", _ALL),
        paper.TABLE1,
        special=False,
        draw=figures.draw_ratios,
    ),
    _table(
        "table2",
        "Table 2. What each part gives: mean AUC, %",
        {OURS: ["", *ABLATIONS]},
        _variants(["", *ABLATIONS]),
        paper.TABLE2,
    ),
    Table(
        "table3",
        "Table 3. Seconds of the meta-learners on Mnist-r",
        timing_keys,
        time_all,
        try_set,
        report_times,
        options=frozenset({"splits", "methods", "seeds"}),
    ),
    Table(
        "table4",
        "Table 4. Initial attributes against more iterations, on Mnist-r",
        partial(cells, methods={OURS: ["", "w/o Initial", *STARTS]}, datasets=("mnist_r",)),
        run_cell,
        try_set,
        report_starts,
    ),
    _table(
        "table5",
        "Table 5. Meta-learners with the cross-entropy: mean AUC, %",
        {OURS: [""], **_of(ENTROPY, _LEARNED)},
        _ENTROPY_COLUMNS,
        paper.TABLE5,
    ),
    _table(
        "table6",
        "Table 6. 1 % anomalies among the labelled rows: mean AUC, %",
        _of(FEW_LABELS, _PAPERS),
        _compared(FEW_LABELS, _PAPERS),
        paper.TABLE6,
    ),
    _table(
        "table7",
        "Table 7. Fewer source tasks: mean AUC, %",
        {OURS: [*TASK_COUNTS, ""], "rae": [""]},
        [*_variants([*TASK_COUNTS, ""], {"": "T=764"}), *_compared("", ["rae"])],
        paper.TABLE7,
        datasets=("omniglot",),
    ),
    _table(
        "table8",
        "Table 8. A tenth of the source tasks with labelled anomalies: mean AUC, %",
        _of(FEW_TASKS, _WITHOUT_MAML),
        _compared(FEW_TASKS, _WITHOUT_MAML),
        paper.TABLE8,
    ),
    _table(
        "figure6",
        "Figure 6. Iterations I of the inner problem: mean AUC, %",
        {OURS: _BY_I},
        _variants(_BY_I, {"": "I=10"}),
        {},
        draw=figures.draw_iterations,
    ),
    _table(
        "figure7",
        "Figure 7. Length K of the task vector: mean AUC, %",
        {OURS: [*TASK_DIMS]},
        _variants([*TASK_DIMS]),
        {},
        draw=figures.draw_task_dims,
    ),
    _table(
        "forms",
        "Other forms of the method: mean AUC, %",
        {OURS: ["", *FORMS]},
        _variants(["", *FORMS]),
        {},
    ),
    _table(
        "gains",
        "What each part of the best preset gives alone: mean AUC, %",
        {OURS: ["", *GAINS]},
        _variants(["", *GAINS]),
        {},
    ),
)
