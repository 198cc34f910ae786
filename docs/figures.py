"""Draws the two figures of docs/how.md: python docs/figures.py (under a minute).

Both show what the detectors of the library do on rows of two features, nothing is drawn by hand.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from heterad import AHLDetector, RobustMetaDetector
from heterad.data.partition import anomaly_distributions, cluster_normals
from heterad.experiments.pictures import STYLES, new_figure, save_figure

HERE = Path(__file__).resolve().parent
BLUE, ORANGE, GREEN, PURPLE = (colour for colour, _ in STYLES)
EDGE = 6


def cloud(rng: np.random.Generator, n: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """A task's rows, of which the normal ones lie along a line of the task's own, and which are anomalous."""
    angle, centre = rng.uniform(0, np.pi), rng.uniform(-1.5, 1.5, 2)
    along = np.array([np.cos(angle), np.sin(angle)])
    rows = centre + rng.normal(0, 1.5, (n, 1)) * along + rng.normal(0, 0.15, (n, 2))
    anomalous = np.arange(n) < share * n
    away = np.array([-along[1], along[0]]) * rng.choice([-1, 1], (n, 1)) * rng.uniform(1.5, 3, (n, 1))
    rows[anomalous] += away[anomalous]
    return rows, anomalous


def field(axes: Axes, score) -> None:
    """The score of every place, darker where it is higher."""
    side = np.linspace(-EDGE, EDGE, 161)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    order = np.argsort(np.argsort(score(grid))).reshape(161, 161)
    axes.contourf(side, side, order, levels=12, cmap="Greys", alpha=0.75)


def dots(axes: Axes, rows: np.ndarray, colour: str, marker: str, name: str | None, size: float = 16) -> None:
    axes.scatter(*rows.T, s=size, c=colour, marker=marker, label=name, linewidths=0.4, edgecolors="white")


def frame(axes: Axes, title: str = "") -> None:
    axes.set(xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), xticks=[], yticks=[], aspect="equal")
    axes.set_title(title, fontsize=10)


def meta() -> None:
    rng = np.random.default_rng(3)
    tasks = [cloud(rng, 60, 0.25) for _ in range(60)]
    known = np.arange(60) % 3 == 0
    y = [np.where(known, anomalous, -1) for _, anomalous in tasks]
    detector = RobustMetaDetector(max_iter=1500, lr=3e-3, patience=None, scale=None, random_state=0)
    detector.fit(np.concatenate([rows for rows, _ in tasks]), np.concatenate(y), np.repeat(np.arange(60), 60))
    new, _ = cloud(rng, 60, 0.3)
    new = new[np.abs(new).max(1) < EDGE]

    figure = new_figure(9.6, 4.0)
    left, middle, right = figure.subfigures(1, 3)
    left.suptitle("1  Learn from many tasks, few rows labelled", fontsize=10)
    for axes, (rows, truth) in zip(left.subplots(3, 3).flat, tasks, strict=False):
        dots(axes, rows[~known], "0.7", "o", None, 5)
        dots(axes, rows[known & ~truth], BLUE, "o", None, 8)
        dots(axes, rows[known & truth], ORANGE, "X", None, 14)
        frame(axes)
    middle.suptitle("2  A new task: unlabelled, contaminated", fontsize=10)
    axes = middle.subplots()
    dots(axes, new, "0.45", "o", None)
    frame(axes)
    right.suptitle("3  Its normal pattern, in closed form", fontsize=10)
    axes = right.subplots()
    task = detector.adapt(new)
    field(axes, task.decision_function)
    high = task.set_threshold(contamination=0.3).predict(new) == 1
    dots(axes, new[~high], BLUE, "o", "low score")
    dots(axes, new[high], ORANGE, "X", "high score", 28)
    frame(axes)
    axes.legend(loc="lower center", ncols=2, fontsize=8, bbox_to_anchor=(0.5, -0.14), frameon=False)
    save_figure(figure, HERE / "idea-meta.png")


def ahl() -> None:
    rng = np.random.default_rng(1)
    centres = np.array([[-2.5, -1.5], [2.5, -1.5], [0.0, 2.5]])
    normal = np.concatenate([c + rng.normal(0, 0.55, (60, 2)) for c in centres])
    seen = np.array([-4.6, 2.6]) + rng.normal(0, 0.35, (10, 2))
    unseen = np.array([4.4, 3.2]) + rng.normal(0, 0.35, (25, 2))
    rows = np.concatenate([normal, seen])
    y = np.repeat([0, 1], [len(normal), len(seen)])
    cluster = cluster_normals(normal, 3, rng)
    drawn = anomaly_distributions(np.flatnonzero(y == 0), np.flatnonzero(y == 1), cluster, rng)
    pairs = [d for d in drawn if d.clusters is not None and d.clusters[0] != d.clusters[1]]
    detector = AHLDetector("dra", epochs=30, lr=2e-3, random_state=0).fit(rows, y)

    figure = new_figure(9.6, 3.5)
    panels = figure.subplots(1, 4)
    for k, (shade, marker) in enumerate((("0.25", "s"), ("0.5", "v"), ("0.7", "P"))):
        dots(panels[0], normal[cluster == k], shade, marker, f"normals, cluster {k + 1}")
    dots(panels[0], seen, ORANGE, "X", "seen anomalies", 28)
    frame(panels[0], "1  Normals in clusters,\nfew anomalies of seen classes")
    for axes, d, which in zip(panels[1:3], pairs, ("2  A base model", "2  Another"), strict=False):
        dots(axes, normal, "0.88", "o", None, 8)
        dots(axes, rows[d.support_normal], BLUE, "o", "learn: normals")
        dots(axes, rows[d.query_normal], GREEN, "^", "check: other normals")
        dots(axes, rows[np.concatenate([d.support_anomaly, d.query_anomaly])], ORANGE, "X", "anomalies", 28)
        frame(axes, f"{which} learns here\nand is checked there")
    field(panels[3], detector.decision_function)
    dots(panels[3], normal, "0.5", "o", "normals")
    dots(panels[3], seen, ORANGE, "X", "seen anomalies", 28)
    dots(panels[3], unseen, PURPLE, "D", "unseen class")
    frame(panels[3], "3  One model of what\ngeneralised; dark: anomalous")
    for axes in (panels[0], panels[1], panels[3]):
        axes.legend(loc="upper center", fontsize=7.5, bbox_to_anchor=(0.5, -0.02), frameon=False)
    save_figure(figure, HERE / "idea-ahl.png")


if __name__ == "__main__":
    meta()
    ahl()
