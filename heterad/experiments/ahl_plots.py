"""Pictures of a detector that learned from seen anomalies: how it learned, how it scores rows, which head and where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from heterad.data.row_files import counted
from heterad.data.whole_file import writable_folder
from heterad.detectors.ahl_files import score_rows
from heterad.detectors.inputs import as_rows, check_labels, take
from heterad.detectors.scored import ScoredDetector
from heterad.experiments.panels import ScoredRows, curves, even_edges, histogram, shorten
from heterad.experiments.pictures import STYLES, new_figure, save_figure
from heterad.train import Report

MOST_IMAGES, IN_A_ROW = 12, 6
LINES = ("-", "--", ":", "-.")


def draw_scored(
    detector: ScoredDetector,
    folder: str | os.PathLike[str],
    x=None,
    y: np.ndarray | None = None,
    names: Sequence | np.ndarray | None = None,
    *,
    report: Report | None = None,
) -> list[Path]:
    """Draw the training history and, given rows, their scores, the heads behind them and, of images and maps, where.

    Args:
        detector: a fitted ``AHLDetector``, ``DRADetector`` or ``DevNetDetector``.
        folder: for the pictures; made if it is not there.
        x: rows as ``detector.decision_function`` takes them; None for the history alone.
        y: truth ``[n]``: 1 anomaly, 0 normal, -1 unknown; None: nothing is known. Where both classes are known, ROC
            and precision-recall curves are drawn too.
        names: of the rows ``[n]``, such as their files; None for their numbers.
        report: told how many of the images are scored ("scoring"), from 0 on, and of how many.

    Returns:
        The files: ``history.png``, then ``scores.png``, ``curves.png``, ``heads.png`` (of several heads) and
        ``heat_maps.png`` as far as drawn.

    Raises:
        OSError: the folder cannot be made or written to.
        ValueError: as ``detector.decision_function``; y or names are not as said.

    Cost:
        A scoring of the rows, once more of those shown, and about a second a picture.

    Example:
        >>> import tempfile
        >>> from heterad import DRADetector
        >>> x = np.random.default_rng(0).normal(size=(30, 4))
        >>> y = np.arange(30) % 10 == 0
        >>> detector = DRADetector(epochs=1).fit(x, y)
        >>> [file.name for file in draw_scored(detector, tempfile.mkdtemp(), x, y)]
        ['history.png', 'scores.png', 'curves.png', 'heads.png']
    """
    place = writable_folder(folder)
    files = [place / "history.png"]
    if x is None:
        history(files[0], detector)
        return files
    x = as_rows(x)
    y = None if y is None else check_labels(y, len(x), one_task=False)
    known = [f"row {i}" for i in range(len(x))] if names is None else [_short_name(name) for name in names]
    if len(known) != len(x):
        raise ValueError(f"names: expected one for each of the {len(x)} rows of x, got {len(known)}")
    score = score_rows(detector, x, report)
    history(files[0], detector)
    scored = ScoredRows(score, np.zeros(len(score), int), y)
    files.append(place / "scores.png")
    scores(files[-1], scored, detector.threshold_)
    if scored.has_both:
        files.append(place / "curves.png")
        curves(files[-1], scored)
    top = scored.top
    heads = detector.explain(take(x, top))
    heat = heads.pop("heat_map", None)
    if len(heads) > 1:
        files.append(place / "heads.png")
        head_scores(files[-1], _signed(detector, heads), [known[row] for row in top])
    if heat is not None:
        shown = top[:MOST_IMAGES]
        files.append(place / "heat_maps.png")
        images = x[shown] if detector.backbone is not None else None
        heat_maps(files[-1], heat[: len(shown)], [known[row] for row in shown], score[shown], images)
    return files


def history(path: Path, detector: ScoredDetector) -> None:
    """Draw over the epochs the loss and, of AHL, each base model's weight and estimated generalisation error.

    Base models are numbered as in ``detector.history_``; the last learned from all clusters.
    """
    from matplotlib.ticker import MaxNLocator

    curve = detector.history_
    panels = {"training loss": [[value] for value in curve["loss"]]}
    for name, key in (("weight of each\nbase model", "w"), ("its estimated\nerror", "r")):
        if any(curve.get(key, [])):
            width = len(next(filter(None, curve[key])))
            panels[name] = [[np.nan] * width if values is None else values for values in curve[key]]
    figure = new_figure(6.4, 1.0 + 2.0 * len(panels))
    epochs = np.arange(1, len(curve["loss"]) + 1)
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(rows, panels.items(), strict=True):
        lines = np.array(values, float).T
        for i, line in enumerate(lines):
            (colour, marker), dash = STYLES[i % len(STYLES)], LINES[i // len(STYLES) % len(LINES)]
            axes.plot(epochs, line, dash, color=colour, marker=marker, markersize=3, linewidth=1.4, label=str(i))
        if len(lines) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    rows[-1].set_xlabel("epoch")
    rows[-1].set_xlim(0.5, len(epochs) + 0.5)
    rows[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    save_figure(figure, path)


def scores(path: Path, scored: ScoredRows, threshold: float) -> None:
    """Draw how scores are distributed, those far beyond most others at the edge."""
    low, high = np.quantile(scored.score, (0.1, 0.9))
    low, high = min(low, threshold), max(high, threshold)
    room = high - low
    edges = even_edges(
        max(float(scored.score.min()), low - room), min(float(scored.score.max()), high + room), len(scored.score)
    )
    n_beyond = int(((scored.score < edges[0]) | (scored.score > edges[-1])).sum())
    figure = new_figure(6.4, 3.8)
    axes = figure.subplots()
    histogram(axes, scored, edges, threshold)
    axes.set_xlabel(f"score ({n_beyond:,} beyond the edges stand there)" if n_beyond else "score")
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    save_figure(figure, path)


def head_scores(path: Path, heads: dict[str, np.ndarray], names: Sequence[str]) -> None:
    """Draw the score of each head ``[top]`` of the rows that score highest."""
    a = np.stack(list(heads.values()), 1)
    limit = max(float(np.quantile(np.abs(a), 0.95)), np.finfo(float).tiny)
    figure = new_figure(3.6 + 0.7 * len(heads), 1.8 + 0.17 * max(len(a), 12))
    axes = figure.subplots()
    image = axes.imshow(a, aspect="auto", interpolation="nearest", cmap="PuOr", vmin=-limit, vmax=limit)
    axes.set_xticks(range(len(heads)), [shorten(name) for name in heads], rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(a)), list(names), fontsize=7)
    axes.set_title(f"Heads of {counted(len(a), 'row')},\nthe highest score first", fontsize=10)
    figure.colorbar(image, label="what the head adds to the score", extend="both")
    save_figure(figure, path)


def heat_maps(
    path: Path, heat: np.ndarray, names: Sequence[str], scores: np.ndarray, images: np.ndarray | None
) -> None:
    """Draw where images, or maps, are anomalous: ``heat [n, H, W]`` below ``images [n, C, H, W]``, with their names
    and scores."""
    n_columns = min(IN_A_ROW, len(heat))
    n_rows = -(-len(heat) // n_columns)
    deep = 1 if images is None else 2
    figure = new_figure(0.9 + 1.5 * n_columns, (0.45 + 1.5 * deep) * n_rows)
    grid = figure.subplots(n_rows * deep, n_columns, squeeze=False)
    low, high = np.quantile(heat, 0.05), heat.max()
    for axes in grid.flat:
        axes.set_axis_off()
    for i, (where, name, score) in enumerate(zip(heat, names, scores, strict=True)):
        row, column = divmod(i, n_columns)
        stack = grid[row * deep : (row + 1) * deep, column]
        if images is not None:
            grey = images.shape[1] == 1
            picture, white = images[i].transpose(1, 2, 0), 255 if images.dtype == np.uint8 else 1
            stack[0].imshow(picture[..., 0] if grey else picture, cmap="gray" if grey else None, vmin=0, vmax=white)
        shown = stack[-1].imshow(where, cmap="viridis", vmin=low, vmax=high)
        stack[0].set_title(f"{name}\n{score:.3g}", fontsize=8)
    figure.colorbar(shown, ax=grid, label="anomalous here", shrink=0.6)
    save_figure(figure, path)


def _signed(detector: ScoredDetector, heads: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The heads, those that lower the score with their signs turned and a minus before their names."""
    device = next(detector.model_.parameters()).device
    given = {name: torch.as_tensor(values, device=device) for name, values in heads.items()}
    total = detector.model_.total(given)
    found: dict[str, np.ndarray] = {}
    for name, values in heads.items():
        falls = bool((detector.model_.total(given | {name: given[name] + 1}) < total).all())
        found |= {f"- {name}": -values} if falls else {name: values}
    return found


def _short_name(name) -> str:
    """What a picture has room for: of a file the beginning of its folder's name and the end of its own."""
    if not isinstance(name, (str, os.PathLike)):
        return shorten(name)
    *folders, file = Path(name).parts or ("",)
    return "/".join([*(shorten(folder, 10) for folder in folders[-1:]), shorten(file, 14, end=True)])
