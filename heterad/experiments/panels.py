"""Pictures that detectors of every kind share: how scores are distributed, and ROC and precision-recall curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from heterad.experiments.pictures import STYLES, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE = (colour for colour, _ in STYLES[:2])
GREY = "0.55"
MOST_TASKS, MOST_ROWS = 30, 40


class ScoredRows(NamedTuple):
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


def even_edges(low: float, high: float, n_rows: int) -> np.ndarray:
    """Edges of the bins of a histogram of so many rows, with room where all values are alike."""
    room = 0.05 * max(abs(low), abs(high), 1) if high - low < 1e-6 * max(abs(low), abs(high)) else 0
    return np.linspace(low - room, high + room, min(60, max(10, n_rows // 20)) + 1)


def histogram(axes: Axes, scored: ScoredRows, edges: np.ndarray, threshold: float) -> None:
    """Draw how many rows have which score, of anomalies and normals apart where they are known.

    Scores beyond the edges stand in the outermost bins.
    """
    from matplotlib.ticker import MaxNLocator

    score = np.clip(scored.score, edges[0], edges[-1])
    y = np.full(len(score), -1) if scored.y is None else scored.y
    named = {-1: "rows" if (y == -1).all() else "unlabelled rows", 0: "normal rows", 1: "anomalous rows"}
    for (label, name), colour, line in zip(named.items(), (GREY, BLUE, ORANGE), (":", "-", "--"), strict=True):
        if (y == label).any():
            shown = f"{name} ({(y == label).sum():,})"
            axes.hist(score[y == label], edges.tolist(), color=colour, alpha=0.2)
            axes.hist(
                score[y == label],
                edges.tolist(),
                histtype="step",
                color=colour,
                linestyle=line,
                linewidth=1.8,
                label=shown,
            )
    axes.axvline(threshold, color="black", linewidth=1, label="threshold")
    axes.set_ylabel("rows")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def curves(path: Path, scored: ScoredRows) -> None:
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


def shorten(name, most: int = 16, *, end: bool = False) -> str:
    """A name as a picture has room for: its first letters, or its last."""
    text = " ".join(str(name).split())
    if len(text) > most:
        text = f"…{text[len(text) - most + 1 :]}" if end else f"{text[: most - 1]}…"
    return text.replace("$", r"\$")  # else the sign of a formula
