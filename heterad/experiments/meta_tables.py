"""The tables and figures of Kumagai et al. (2023) as runs to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from heterad.experiments.meta_cells import run_cell
from heterad.experiments.meta_methods import META_LEARNERS, METHODS
from heterad.experiments.meta_sets import DATASETS, SMOKE
from heterad.experiments.table import Options, Table, choose


def cells(
    options: Options,
    *,
    methods: Sequence[str],
    variants: Mapping[str, Sequence[str]] | None = None,
    datasets: Sequence[str] = DATASETS,
) -> list[dict[str, Any]]:
    """The runs of a table: every data set, split, seed, method, its variants (``""`` unless named), and label ratio.

    What learns from no labels is run once for all label ratios.

    Example:
        >>> len(cells(Options(splits=1, datasets=("iot",)), methods=("ours", "if")))
        4
    """
    sets = (SMOKE,) if options.smoke else choose("datasets", options.datasets, datasets)
    chosen = choose("methods", options.methods, methods)
    n_splits, ratios = (1, options.label_ratios[:1]) if options.smoke else (options.splits, options.label_ratios)
    return [
        {
            "dataset": dataset,
            "method": method,
            "variant": variant,
            "split": split,
            "label_ratio": ratio,
            "seed": seed,
            "grid": "smoke" if options.smoke else options.grid,
        }
        for split in range(n_splits)
        for seed in options.seeds
        for dataset in sets
        for ratio_of_labels in ratios
        for method in chosen
        for variant in (variants or {}).get(method, ("",))
        for ratio in [ratio_of_labels if method in META_LEARNERS else None]
        if ratio is not None or ratio_of_labels == ratios[0]
    ]


META_TABLES: tuple[Table, ...] = (
    Table("table1", "Mean AUC of every method", partial(cells, methods=tuple(METHODS)), run_cell, lambda rows: ""),
)
