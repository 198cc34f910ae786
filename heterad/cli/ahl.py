"""What ``heterad fit --method ahl`` does, and ``heterad score`` and ``heterad plot`` of such a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from heterad.cli.options import refuse
from heterad.cli.progress import bars
from heterad.data.row_files import counted
from heterad.detectors.ahl_files import fit_ahl, is_ahl, read_model, read_scorable, score_ahl
from heterad.experiments.ahl_plots import draw_scored


@dataclass(frozen=True)
class AHLOptions:
    """Of --method ahl.

    Args:
        base: The base model.
        backbone: For images: small, a network that learns from the normals, or a published one, torchvision/MODEL or
            timm/MODEL, if need be with the last layer to use, as torchvision/resnet18:layer2 or timm/resnet18:2.
        seen: For images: folders of test to learn from as seen anomalies, beside the folders of train.
        shots: Learn from so many seen anomalies, drawn at random; the default is all.
        size: Height and width to resize images to.
        skip_unreadable: Leave out images that cannot be decoded.
        epochs: Epochs of training; the default is what suits the base model.
        validation_fraction: Share of the normals that are not learned from but set the threshold.
    """

    base: Literal["dra", "devnet"] = "dra"
    backbone: str = "small"
    seen: tuple[str, ...] = ()
    shots: int | None = None
    size: int | None = None
    skip_unreadable: bool = False
    epochs: int | None = None
    validation_fraction: float = 0.2

    def refuse(self) -> None:
        """Raise if any was given, for another method."""
        given = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        if given:
            raise ValueError(f"{given[0]}: needs --method ahl")


def fit(
    data: tuple[Path, ...],
    model: Path,
    options: AHLOptions,
    seed: int,
    device: str,
    rows: Mapping[str, Any],
) -> None:
    """Fit and save a detector; ``rows`` are options of files of rows."""
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    with warnings.catch_warnings(record=True) as notes, bars() as report:
        found = fit_ahl(
            data,
            seed=seed,
            device=device,
            out=model,
            report=report,
            **rows,
            **given,
        )
    for note in notes:
        print(f"Note: {note.message}.")
    found.detector.save(model)
    seen = f"{found.n_seen:,} seen anomal{'y' if found.n_seen == 1 else 'ies'}"
    kept = f"; {counted(found.n_kept, 'more normal')} set the threshold" if found.n_kept else ""
    print(f"Learned from {counted(found.n_normal, 'normal')} and {seen}{kept}.")
    print(f"Wrote {model}. Next: heterad score {model} NEW --out scores.csv")


def score(
    model: Path,
    data: tuple[Path, ...],
    out: Path,
    contamination: float | None,
    threshold: float | None,
    skip_unreadable: bool,
    device: str,
) -> None:
    """Score images or rows."""
    with bars() as report:
        n, n_odd = score_ahl(
            model,
            data,
            out,
            contamination=contamination,
            threshold=threshold,
            skip_unreadable=skip_unreadable,
            device=device,
            report=report,
        )
    print(f"Scored {n}, {n_odd} of them anomalous. Wrote {out}.")


def plot(model: Path, data: Path | None, label: str | None, out: Path, skip_unreadable: bool) -> list[Path]:
    """Draw how a detector learned and, given rows or images, how it scores them; the files."""
    detector = read_model(model)
    if data is None:
        return draw_scored(detector, out)
    found = read_scorable(detector, data, label=label, skip_unreadable=skip_unreadable, only_test=True)
    with bars() as report:
        return draw_scored(detector, out, found.x, found.y, found.names, report=report)


def learned_by_ahl(
    command: Callable[..., None], values: Mapping[str, Any], meta: Collection[str], scored: Collection[str]
) -> bool:
    """Whether the model is one of --method ahl; options that its kind has no use for are refused.

    Args:
        command: the command.
        values: of its options, ``model`` among them.
        meta: options of models of many tasks alone.
        scored: options of models of --method ahl alone.
    """
    of_ahl = is_ahl(values["model"])
    names, method = (meta, "ahl") if of_ahl else (scored, "robust-meta")
    refuse(command, values, names, f"for a model of --method {method}")
    return of_ahl
