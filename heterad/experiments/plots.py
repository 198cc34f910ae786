"""Pictures of a detector of many tasks: how it learned, how it scores rows, and what made them anomalous."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heterad.data.row_files import counted
from heterad.data.whole_file import writable_folder
from heterad.detectors import RobustMetaDetector
from heterad.detectors.gather import LEAST
from heterad.experiments.pictures import STYLES, new_figure, save_figure

BLUE, ORANGE = (colour for colour, _ in STYLES[:2])
GREY = "0.55"
MOST_TASKS, MOST_ROWS, MOST_FEATURES = 30, 40, 30
FLAT = 0.05


class Scored(NamedTuple):
    """Rows and their scores: ``score [n]``, of tasks over the task's threshold; ``task [n]``; and the truth ``y [n]``,
    1 anomaly, 0 normal, -1 unknown, or None."""

    score: np.ndarray
    task: np.ndarray
    y: np.ndarray | None

    @property
    def top(self) -> np.ndarray:
        """The rows that score highest, the highest first."""
        return np.argsort(-self.score, kind="stable")[:MOST_ROWS]

    @property
    def has_both(self) -> bool:
        """Whether there are known anomalies and known normals."""
        return self.y is not None and {0, 1} <= set(self.y.tolist())


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
        ValueError: a task cannot be adapted to (named).

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
        scored, attributes = score_tasks(detector, x, np.zeros(len(x), int) if groups is None else groups, y)
        files.append(place / "scores.png")
        histogram(files[-1], scored)
        if scored.has_both:
            files.append(place / "curves.png")
            curves(files[-1], scored)
        names = getattr(detector, "feature_names_in_", None)
        files.append(place / "attributes.png")
        heat_map(files[-1], scored, attributes, range(attributes.shape[1]) if names is None else names)
    return files


def score_tasks(detector: RobustMetaDetector, x, groups: np.ndarray, y: np.ndarray | None) -> tuple[Scored, np.ndarray]:
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
    scored = Scored(ratio, groups, y)
    attributes = [adapted[number[row]].explain(take(x, [row]))[0] for row in scored.top]
    return scored, np.array(attributes)


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


def histogram(path: Path, scored: Scored, threshold: float | None = None) -> None:
    """Draw how scores are distributed, of anomalies and normals apart where they are known.

    Scores over their task's threshold have a logarithmic axis; scores with a ``threshold`` of their own a linear one,
    on which those far beyond most others stand at the edge.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    log = threshold is None
    low, high = (1e-12, np.inf) if threshold is None else _most(scored.score)
    score = np.clip(scored.score, low, high)
    n_beyond = int((score != scored.score).sum())
    places = np.log10(score) if log else score
    edges = np.histogram_bin_edges(places, bins=min(60, max(10, len(places) // 20)))
    edges = (10**edges if log else edges).tolist()
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    y = np.full(len(score), -1) if scored.y is None else scored.y
    named = {-1: "rows" if (y == -1).all() else "unlabelled rows", 0: "normal rows", 1: "anomalous rows"}
    for (label, name), colour, line in zip(named.items(), (GREY, BLUE, ORANGE), (":", "-", "--"), strict=True):
        if (y == label).any():
            shown = f"{name} ({(y == label).sum():,})"
            axes.hist(score[y == label], edges, color=colour, alpha=0.2)
            axes.hist(
                score[y == label], edges, histtype="step", color=colour, linestyle=line, linewidth=1.8, label=shown
            )
    axes.axvline(1 if threshold is None else threshold, color="black", linewidth=1, label="threshold")
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if np.ptp(places) < 2 else (1,)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    beyond = f", {n_beyond:,} beyond the edge" if n_beyond and not log else ""
    axes.set_xlabel("score over the task's threshold" if log else f"score{beyond}")
    axes.set_ylabel("rows")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    save_figure(figure, path)


def _most(score: np.ndarray) -> tuple[float, float]:
    """Limits with room for most scores, and for as much again on either side."""
    low, high = np.quantile(score, (0.02, 0.98))
    return low - (high - low), high + (high - low)


def curves(path: Path, scored: Scored) -> None:
    """Draw ROC and precision-recall curves, of each task and of all rows together."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

    assert scored.y is not None
    known = np.isin(scored.y, (0, 1))
    y, score, task = scored.y[known], scored.score[known], scored.task[known]
    both = [t for t in np.unique(task) if len(np.unique(y[task == t])) == 2]
    figure = new_figure(8.4, 5.0)
    roc, precision = figure.subplots(1, 2)
    if len(both) > 1:
        mean = np.mean([roc_auc_score(y[task == t], score[task == t]) for t in both])
        for t in both[:MOST_TASKS]:
            fall_out, recall, _ = roc_curve(y[task == t], score[task == t])
            label = f"single tasks, mean AUC of {len(both)}: {mean:.3f}" if t == both[0] else None
            roc.plot(fall_out, recall, color="0.8", linewidth=0.8, label=label)
    fall_out, recall, _ = roc_curve(y, score)
    roc.plot(fall_out, recall, color=BLUE, linewidth=2.2, label=f"all rows, AUC {roc_auc_score(y, score):.3f}")
    roc.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="by chance")
    hits, found, _ = (values[::-1] for values in precision_recall_curve(y, score))
    rise = np.flatnonzero(np.diff(found) > 0) + 1  # what is no anomaly adds nothing to the area, the average precision
    found, hits = np.r_[0, found[rise]], np.r_[hits[rise[0]], hits[rise]]
    average = f"all rows, average precision {average_precision_score(y, score):.3f}"
    precision.plot(found, hits, color=ORANGE, linewidth=2.2, label=average, drawstyle="steps-pre")
    precision.axhline(y.mean(), color="black", linestyle=":", linewidth=1, label="by chance")
    roc.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC")
    precision.set(xlabel="recall", ylabel="precision", title="Precision and recall")
    for axes in (roc, precision):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=9, frameon=False)
    save_figure(figure, path)


def heat_map(path: Path, scored: Scored, attributes: np.ndarray, names: Sequence) -> None:
    """Draw the attributes ``[top, D]`` of the most anomalous rows, of the features that stand out most."""
    a = attributes
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


def shorten(name, most: int = 16) -> str:
    """A name as a picture has room for."""
    text = " ".join(str(name).split())
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")  # else the sign of a formula


def take(x, rows):
    """Rows of an array or a table."""
    return x.take(rows) if hasattr(x, "column_names") else x[rows]
