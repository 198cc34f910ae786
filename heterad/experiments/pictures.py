"""The demo's pictures. Colours are told apart by colour-blind readers too, and lines by their markers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from heterad.data.whole_file import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Path = str | os.PathLike[str]

STYLES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"))
"""Okabe and Ito's blue, vermilion, green and purple, each with a marker."""


def auc_against_contamination(path: Path, auc: Mapping[str, Mapping[str, float]]) -> None:
    """Draw the AUC of each method over the share of anomalies in the support set.

    Args:
        path: the picture to write.
        auc: AUC by method and by contamination.

    Raises:
        OSError: the file cannot be written.

    Source:
        Kumagai et al. (2023), Fig. 2.
    """
    figure = new_figure(5.6, 4.2)
    axes = figure.subplots()
    for (method, values), (colour, marker) in zip(auc.items(), STYLES, strict=False):
        shares = [float(share) for share in values]
        axes.plot(shares, list(values.values()), color=colour, marker=marker, label=method, linewidth=1.8)
    axes.set_xlabel("share of anomalies in the unlabelled support set")
    axes.set_ylabel("AUC on the target tasks")
    axes.set_xticks(shares)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    save_figure(figure, path)


def attributes(path: Path, a: np.ndarray, y: np.ndarray) -> None:
    """Draw the absolute anomalous attributes of one support set: rows are instances, anomalies first.

    Args:
        path: the picture to write.
        a: absolute attributes ``[n, D]``.
        y: truth ``[n]``, 1 for an anomaly.

    Raises:
        OSError: the file cannot be written.

    Source:
        Kumagai et al. (2023), Fig. 4.
    """
    n_anomalies = int((y == 1).sum())
    order = np.argsort(-y.astype(int), kind="stable")
    figure = new_figure(5.6, 5.4)
    axes = figure.subplots()
    image = axes.imshow(a[order], aspect="auto", interpolation="nearest", cmap="viridis", vmin=0)
    axes.axhline(n_anomalies - 0.5, color="white", linewidth=1.5)
    middles = [(n_anomalies - 1) / 2, (n_anomalies + len(y) - 1) / 2]
    names = [f"{n_anomalies} anomalies", f"{len(y) - n_anomalies} normals"]
    axes.set_yticks(middles, names, rotation=90, va="center")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("feature (pixel)")
    axes.set_title(
        f"Anomalous attributes of an unlabelled support set, {n_anomalies / len(y):.0%} anomalies", fontsize=10
    )
    figure.colorbar(image, label="absolute value, in standard deviations")
    save_figure(figure, path)


def reconstructions(path: Path, images: np.ndarray, fitted: np.ndarray, names: Sequence[str]) -> None:
    """Draw square images beside their reconstructions, a pair for each name.

    Args:
        path: the picture to write.
        images: originals ``[n, D]``, D a square number, ink in [0, 1].
        fitted: reconstructions ``[n, D]``.
        names: of the pairs.

    Raises:
        OSError: the file cannot be written.

    Source:
        Kumagai et al. (2023), Fig. 5.
    """
    side = round(images.shape[1] ** 0.5)
    figure = new_figure(3.2 * len(names), 2.1)
    parts = figure.subfigures(1, len(names), squeeze=False)[0]
    for part, name, pair in zip(parts, names, zip(images, fitted, strict=True), strict=True):
        part.suptitle(name, fontsize=11)
        for axes, row, title in zip(part.subplots(1, 2), pair, ("original", "reconstruction"), strict=True):
            axes.imshow(row.reshape(side, side), cmap="gray_r", vmin=0, vmax=1)
            axes.set_xlabel(title)
            axes.set_xticks([])
            axes.set_yticks([])
    save_figure(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """A figure of that many inches."""
    from matplotlib.figure import Figure  # of its own canvas: pyplot's global state stays untouched

    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial)
