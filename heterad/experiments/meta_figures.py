"""Figures 2, 3, 6, 7 and 8 of Kumagai et al. (2023), a panel for each data set."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from heterad.data.protocol import CONTAMINATIONS
from heterad.experiments.meta_methods import BEST, METHODS, OURS
from heterad.experiments.meta_published import LABELS, NAMES
from heterad.experiments.meta_report import Place, split_means, values
from heterad.experiments.pictures import new_figure, save_figure
from heterad.experiments.statistics import standard_error
from heterad.experiments.table import Row

SMALL = (0.0, 0.01, 0.05)
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^DvP"

Curve = Mapping[float, Mapping[Place, float]]
"""AUC of every run, by the quantity along the axis."""


def draw_ratios(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw Figs. 2 and 8, AUC against the anomaly ratio, and, of two or more label ratios, Fig. 3.

    Args:
        rows: of table1.
        folder: where ``figure2.png``, ``figure3.png`` and ``figure8.png`` are written.

    Returns:
        The files.

    Raises:
        OSError: a file cannot be written.

    Source:
        Kumagai et al. (2023), Figs. 2, 3 and 8.
    """

    def by_ratio(ratios: Sequence[float]) -> Callable[[str, str], Curve]:
        return lambda dataset, method: {a: values(rows, dataset, method, ratios=(a,)) for a in ratios}

    def by_labels(dataset: str, method: str) -> Curve:
        found: dict[float, dict[Place, float]] = defaultdict(dict)
        for place, auc in values(rows, dataset, method).items():
            found[place[2]][place] = auc
        return found

    methods = {name: LABELS[name] for name in METHODS}
    drawn = [
        _panels(folder / "figure2.png", methods, by_ratio(CONTAMINATIONS), "anomaly ratio of the support set"),
        _panels(folder / "figure3.png", methods, by_labels, "label ratio of the source tasks"),
        _panels(folder / "figure8.png", methods, by_ratio(SMALL), "anomaly ratio of the support set"),
    ]
    return [file for file in drawn if file is not None]


def draw_iterations(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw Fig. 6, AUC against the iterations of the inner problem, as ``figure6.png``.

    Source:
        Kumagai et al. (2023), Fig. 6.
    """
    return _draw_variants(rows, folder / "figure6.png", "I=", "", 10, "iterations I")


def draw_task_dims(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Draw Fig. 7, AUC against the length of the task vector, as ``figure7.png``.

    Source:
        Kumagai et al. (2023), Fig. 7.
    """
    return _draw_variants(rows, folder / "figure7.png", "K=", None, 0, "length K of the task vector")


def _draw_variants(
    rows: Sequence[Row], path: Path, prefix: str, plain: str | None, number: int, axis: str
) -> list[Path]:
    """AUC of the method's variants ``<prefix>number``; the one called ``plain`` has the number given.

    Of several grids of the variants the fullest is drawn, and of no other run.
    """
    own = [row for row in rows if str(row.get("variant")).startswith(prefix)]
    grid = min((row["grid"] for row in own), default=None)
    rows = [row for row in rows if row.get("grid") in (grid, None)]
    variants = {v: int(v.removeprefix(prefix)) for v in {row["variant"] for row in own if row["grid"] == grid}}
    if variants and plain is not None:
        variants[plain] = number

    def curve(dataset: str, method: str) -> Curve:
        found = {float(n): values(rows, dataset, OURS, v) for v, n in sorted(variants.items(), key=lambda at: at[1])}
        if method == OURS:
            return found
        flat = values(rows, dataset, method)  # it has nothing to vary, and stands where something does
        return {at: flat for at, runs in found.items() if runs}

    file = _panels(path, {OURS: "Ours", "rae": "RAE"}, curve, axis)
    return [] if file is None else [file]


def _panels(path: Path, methods: Mapping[str, str], curve: Callable[[str, str], Curve], axis: str) -> Path | None:
    """Mean and standard error over the runs of each method; None, and no file, if no curve has two points."""
    found: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for dataset in NAMES:
        for method in methods:
            points = [(at, *_mean(runs)) for at, runs in sorted(curve(dataset, method).items()) if runs]
            if len(points) > 1:
                found.setdefault(dataset, {})[method] = points
    if not found:
        return None
    columns = min(2, len(found))
    lines = -(-len(found) // columns)
    labels = [label for name, label in methods.items() if any(name in curves for curves in found.values())]
    legend_columns = min(7 if columns == 2 else 3, len(labels))
    figure = new_figure(4.4 * columns, 3.3 * lines + 0.3 + 0.2 * -(-len(labels) // legend_columns))
    panels = np.atleast_1d(figure.subplots(lines, columns)).ravel()
    handles = {}
    for axes, (dataset, curves) in zip(panels, found.items(), strict=False):
        for method, points in curves.items():
            number = list(methods).index(method)
            style = {"linewidth": 2.4, "zorder": 3} if method in (OURS, BEST) else {"linewidth": 1.2, "alpha": 0.85}
            handles[methods[method]] = axes.errorbar(
                *np.transpose(points)[:2],
                yerr=[error for _, _, error in points],
                color=COLOURS[number % len(COLOURS)],
                marker=MARKERS[number % len(MARKERS)],
                linestyle="-" if number < len(COLOURS) else "--",
                markersize=4,
                capsize=2,
                **style,
            )
        axes.set_title(NAMES[dataset], fontsize=11)
        axes.set_xlabel(axis)
        axes.set_ylabel("test AUC, %")
        axes.set_xticks([at for at, _, _ in max(curves.values(), key=len)])
        axes.set_ylim(top=min(axes.get_ylim()[1], 100.5))
        axes.grid(alpha=0.3)
    for axes in panels[len(found) :]:
        axes.set_axis_off()
    shown = [handles[label] for label in labels]
    figure.legend(shown, labels, loc="outside upper center", ncols=legend_columns, fontsize=9)
    save_figure(figure, path)
    return path


def _mean(runs: Mapping[Place, float]) -> tuple[float, float]:
    means = split_means(runs)
    return float(np.mean(means)), standard_error(means)
