"""Pictures of a detector of many tasks: how it learned, how it scores rows, and what made them anomalous."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from heterad.data.row_files import counted
from heterad.data.whole_file import writable_folder
from heterad.detectors import RobustMetaDetector
from heterad.detectors.gather import LEAST
from heterad.detectors.inputs import as_rows, check_groups, check_labels, take
from heterad.experiments.panels import (
    BLUE,
    GREY,
    ORANGE,
    ScoredRows,
    curves,
    even_edges,
    histogram,
    shorten,
)
from heterad.experiments.pictures import new_figure, save_figure

MOST_FEATURES = 30
FLAT = 0.05


def draw(
    detector: RobustMetaDetector,
    folder: str | os.PathLike[str],
    x=None,
    groups: np.ndarray | None = None,
    y: np.ndarray | None = None,
) -> list[Path]:
    """Draw the training history and, given rows, their scores and anomalous attributes.

    Args:
        detector: fitted.
        folder: for the pictures; made if it is not there.
        x: rows ``[n, D]`` of any number of tasks, each adapted to with all its rows (one of a single row belongs to
            the training rows taken as one task); None for the history alone.
        groups: the task of each row ``[n]``; None for one task.
        y: truth ``[n]``: 1 anomaly, 0 normal, -1 unknown; None: nothing is known. Where both classes are known, ROC
            and precision-recall curves are drawn too.

    Returns:
        The files: ``history.png``, then ``scores.png``, ``curves.png`` and ``attributes.png`` as far as drawn.

    Raises:
        OSError: the folder cannot be made or written to.
        ValueError: a task cannot be adapted to (named); groups or y are not as said.

    Cost:
        A scoring of the rows and about a second a picture; memory O(n).

    Example:
        >>> import tempfile
        >>> from heterad.data import toy_tasks
        >>> toy = toy_tasks(6, 20)
        >>> detector = RobustMetaDetector(max_iter=10, eval_every=5).fit(toy.x, toy.y, toy.groups)
        >>> [file.name for file in draw(detector, tempfile.mkdtemp(), toy.x, toy.groups, toy.y)]
        ['history.png', 'scores.png', 'curves.png', 'attributes.png']
    """
    place = writable_folder(folder)
    files = [place / "history.png"]
    history(files[0], detector)
    if x is not None:
        x = as_rows(x)
        y = None if y is None else check_labels(y, len(x), one_task=False)
        scored, a = score_tasks(detector, x, check_groups(groups, len(x)), y)
        files.append(place / "scores.png")
        scores(files[-1], scored)
        if scored.has_both:
            files.append(place / "curves.png")
            curves(files[-1], scored)
        names = getattr(detector, "feature_names_in_", None)
        files.append(place / "attributes.png")
        attributes(files[-1], scored, a, range(a.shape[1]) if names is None else names)
    return files


def score_tasks(
    detector: RobustMetaDetector, x, groups: np.ndarray, y: np.ndarray | None
) -> tuple[ScoredRows, np.ndarray]:
    """Adapt to each task's rows and score them; and the attributes of those that score highest ``[top, D]``."""
    ratio = np.empty(len(groups))
    tasks, number = np.unique(groups, return_inverse=True)
    rows_of = [np.flatnonzero(number == t) for t in range(len(tasks))]
    adapted = []
    for name, rows in zip(tasks, rows_of, strict=True):
        try:
            task = detector.adapt(take(x, rows)) if len(rows) >= LEAST else detector.task_
            scores = task.decision_function(take(x, rows))
        except ValueError as error:
            raise ValueError(f"task {name}: {error}") from None
        ratio[rows] = scores / max(task.threshold_, np.finfo(float).tiny)
        adapted.append(task)
    scored = ScoredRows(ratio, groups, y)
    a = [adapted[number[row]].explain(take(x, [row]))[0] for row in scored.top]
    return scored, np.array(a)


def history(path: Path, detector: RobustMetaDetector) -> None:
    """Draw loss and validation value over the steps; the step whose weights are kept is marked."""
    curve, validation = detector.history_, detector.history_["validation"]
    curves = [("training loss", BLUE, curve["loss"])]
    if any(value is not None for value in validation):
        tasks = counted(len(detector.validation_groups_), "validation task")
        what = "mean AUC" if min(validation) >= 0 else "minus loss"
        curves.append((f"{what} of\n{tasks}", ORANGE, validation))
    figure = new_figure(6.4, 1.0 + 2.0 * len(curves))
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, colour, values) in zip(panels, curves, strict=True):
        axes.plot(curve["step"], values, color=colour, linewidth=1.8, marker="o", markersize=3)
        axes.axvline(detector.best_iter_, color=GREY, linestyle="--", linewidth=1.2)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
    if len(curves) > 1 and np.ptp(validation) < FLAT:  # of few rows it may not move: not to show as noise
        panels[1].set_ylim(np.mean(validation) - FLAT, np.mean(validation) + FLAT)
    panels[0].set_title(f"weights kept: step {detector.best_iter_} (dashed)", fontsize=10)
    panels[-1].set_xlabel("training step")
    save_figure(figure, path)


def scores(path: Path, scored: ScoredRows) -> None:
    """Draw how scores over their task's threshold are distributed."""
    from matplotlib.ticker import LogLocator, NullFormatter

    log = np.log10(np.clip(scored.score, 1e-12, None))
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    histogram(axes, scored, 10 ** even_edges(log.min(), log.max(), len(log)), 1.0)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if np.ptp(log) < 2 else (1,)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("score over the task's threshold")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    save_figure(figure, path)


def attributes(path: Path, scored: ScoredRows, a: np.ndarray, names: Sequence) -> None:
    """Draw the attributes ``a [top, D]`` of the most anomalous rows, of the features that stand out most."""
    chosen = np.sort(np.argsort(-np.abs(a).mean(0), kind="stable")[:MOST_FEATURES])
    a = -a[:, chosen]  # what was added, not what would have to be
    limit = max(float(np.abs(a).max()), np.finfo(float).tiny)
    figure = new_figure(2.6 + 0.26 * max(len(chosen), 12), 1.8 + 0.17 * len(a))
    axes = figure.subplots()
    image = axes.imshow(a, aspect="auto", interpolation="nearest", cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set_xticks(range(len(chosen)), [shorten(names[i]) for i in chosen], rotation=90, fontsize=8)
    labels = [f"{shorten(scored.task[row])}, row {row}" for row in scored.top]
    axes.set_yticks(range(len(a)), labels, fontsize=7)
    axes.set_title(f"Anomalous attributes of the {len(a)} rows that score highest", fontsize=10)
    figure.colorbar(image, label="above or below what is normal,\nin standard deviations")
    save_figure(figure, path)
