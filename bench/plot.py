"""Scaling pictures: time against size, log-log, the floor as a line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from results import Entry, Run

# Okabe and Ito's colours, told apart by the colour-blind; markers say the same again
STYLES = [
    ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"),
    ("#E69F00", "v"), ("#56B4E9", "P"), ("#000000", "X"),
]  # fmt: skip
SIZES = {
    "robust_ridge": "tasks of 50 x 256 in one call",
    "smoothed_auc": "scores, half of them of anomalies",
    "deviation_loss": "scores",
    "roc_auc": "scores",
}


def draw(run: Run, folder: Path) -> list[Path]:
    """One picture an op that was measured at two sizes or more; returns their paths."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for device in sorted({e.device for e in run.entries.values()}):
        for op, name in SIZES.items():
            lines = series(run, op, device)
            if len(lines.get("heterad", [])) < 2:
                continue
            figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
            colours = iter(STYLES[1:])
            ends = []
            for provider, points in lines.items():
                x, y = zip(*points, strict=True)
                if provider == "floor":
                    axes.plot(x, y, color="0.4", linestyle="--", linewidth=1.5)
                    colour = "0.3"
                else:
                    colour, marker = STYLES[0] if provider == "heterad" else next(colours)
                    width = 2.5 if provider == "heterad" else 1.5
                    axes.plot(x, y, color=colour, marker=marker, linewidth=width, markersize=6)
                ends.append((x[-1], y[-1], provider, colour))
            axes.set(xscale="log", yscale="log", xlabel=name, ylabel="seconds a call")
            axes.set_title(f"{op}: {'value' if op == 'roc_auc' else 'value and gradients'}, float32, {device}")
            axes.grid(True, which="major", color="0.9")
            axes.spines[["top", "right"]].set_visible(False)
            label(axes, ends)
            path = folder / f"{op}-{device}.png"
            figure.savefig(path, dpi=150)
            plt.close(figure)
            written.append(path)
    return written


def series(run: Run, op: str, device: str) -> dict[str, list[tuple[float, float]]]:
    """Points (size, seconds) of every provider with two or more, heterad first."""
    found: dict[str, list[tuple[float, float]]] = {"heterad": []}
    entries: list[Entry] = [e for e in run.entries.values() if (e.op, e.device) == (op, device) and not e.smoke]
    for e in entries:
        if e.point is not None and e.seconds is not None:
            found.setdefault(e.provider, []).append((e.point, e.seconds))
    return {p: sorted(points) for p, points in found.items() if len(points) >= 2}


def label(axes: Any, ends: list[tuple[float, float, str, str]]) -> None:
    """Names at the ends of the lines; where they would overlap, pushed apart."""
    low, high = (math.log10(v) for v in axes.get_ylim())
    gap = 0.05 * (high - low)
    for x in {x for x, *_ in ends}:
        here = sorted((e for e in ends if e[0] == x), key=lambda e: e[1])
        heights = [math.log10(y) for _, y, *_ in here]
        for _ in range(100):
            for i in range(1, len(heights)):
                push = max(0.0, gap - (heights[i] - heights[i - 1])) / 2
                heights[i - 1] -= push
                heights[i] += push
        for height, (_, _, provider, colour) in zip(heights, here, strict=True):
            axes.annotate(
                provider,
                (x, 10**height),
                xytext=(8, 0),
                textcoords="offset points",
                color=colour,
                va="center",
                annotation_clip=False,
            )
    left, right = math.log10(axes.get_xlim()[0]), math.log10(max(x for x, *_ in ends))
    axes.set_xlim(right=10 ** (right + 0.18 * (right - left)))
