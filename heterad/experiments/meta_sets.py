"""The data sets of Kumagai et al. (2023) and how each is split into source, validation and target tasks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heterad.data.arrays import read_labelled
from heterad.data.digits import rotated_digits
from heterad.data.protocol import (
    CONTAMINATIONS,
    Pool,
    SourceRows,
    TargetRows,
    one_class_tasks,
    source_rows,
    split_values,
    target_rows,
)
from heterad.experiments.meta_fetch import ARCHIVES, by_hand, fetched

TESTED = (0.0, 0.01, 0.05, *CONTAMINATIONS)
"""Shares of anomalies in target supports: those of Fig. 8, then those of Table 1."""


class DataSet(NamedTuple):
    """Rows ``x [n, D]``, the class of each and its domain (None: one domain), and how many of what are dealt.

    ``sizes`` counts the domains, or without domains the classes, of source, validation and target. With ``binary``
    every domain is one task, class 0 normal and class 1 anomalous; else every class of a domain makes one.
    """

    name: str
    x: np.ndarray
    classes: np.ndarray
    domains: np.ndarray | None
    sizes: tuple[int, int, int]
    binary: bool = False
    standardise: bool = False


class Setting(NamedTuple):
    """What the tables vary in the source tasks.

    ``labelled_anomalies`` is the share of anomalies among labelled rows; ``n_source`` how many source tasks there
    are (None: all), ``with_anomalies`` the share of them with labelled anomalies, which all validation tasks have.
    """

    labelled_anomalies: float = 0.1
    n_source: int | None = None
    with_anomalies: float = 1.0


class Split(NamedTuple):
    """One split's rows; ``targets`` holds every target task's draws by contamination."""

    x: np.ndarray
    source: SourceRows
    validation: SourceRows
    targets: dict[float, list[TargetRows]]


SIZES = {"omniglot": (764, 100, 100), "mnist_r": (4, 1, 1), "isolet": (3, 1, 1), "iot": (6, 2, 1)}
DATASETS = tuple(SIZES)
SMOKE = "digits"


@lru_cache(maxsize=2)
def load_set(name: str, folder: str | os.PathLike[str] | None) -> DataSet:
    """Read a data set; "digits" comes with the library.

    Args:
        name: one of ``DATASETS`` or "digits".
        folder: where ``<name>.npz`` lies; None fetches it to a cache.

    Returns:
        The data set, features as the method takes them but for IoT's, which are standardised by their source tasks.

    Raises:
        OSError: the file is missing, and where to get it; it cannot be fetched; or it is damaged or holds other arrays
            than ``read_labelled`` takes.
        ValueError: the name is unknown.
        ImportError: pooch, which fetches, is not installed.

    Example:
        >>> load_set("digits", None).x.shape
        (7188, 64)
    """
    if name == SMOKE:
        x, digit, angle = rotated_digits([0, 30, 60, 90])
        return DataSet(name, x, digit, angle, (2, 1, 1))
    if name not in SIZES:
        raise ValueError(f"dataset: expected one of {', '.join(DATASETS)} or {SMOKE}, got {name!r}")
    file = fetched(name) if folder is None else Path(folder) / f"{name}.npz"
    if not file.exists():
        instead = "leave out --data to fetch it, or " if name in ARCHIVES else ""
        raise FileNotFoundError(f"{file}: no such file; {instead}{by_hand(name)}")
    try:
        x, y, domain = read_labelled(file).values()
    except OSError as error:
        if folder is None:
            raise OSError(f"{error}; delete it to have it fetched anew") from None
        raise
    if name == "omniglot":
        if not 0 <= x.min() <= 1 < x.max() <= 255:
            raise OSError(f"{file}: X: expected pixels from 0 to 255, got values from {x.min():g} to {x.max():g}")
        return DataSet(name, x / 255, y, None, SIZES[name])
    binary = name == "iot"
    if binary and not np.isin(y, (0, 1)).all():
        raise OSError(f"{file}: y: expected 0 (benign) and 1 (malicious), got {np.unique(y)[:5].tolist()}")
    return DataSet(name, x, y, domain, SIZES[name], binary, standardise=binary)


def try_set(name: str, folder: Path | None) -> None:
    """Read a data set and draw its first split, only to say at once what is wrong with it.

    Raises:
        OSError, ValueError, ImportError: as ``load_set`` and ``draw_split``.

    Example:
        >>> try_set("digits", None)
    """
    draw_split(load_set(name, folder), 0, 0.2)


def draw_split(data: DataSet, split: int, label_ratio: float, setting: Setting | None = None) -> Split:
    """Draw one split into source, validation and target tasks, and the rows of each.

    Args:
        data: the data set.
        split: its number, the seed of all that is drawn; one split has the same targets at every ratio and setting.
        label_ratio: labelled rows per normal row in source and validation tasks.
        setting: of the source tasks.

    Returns:
        The rows.

    Raises:
        ValueError: a class is too small, or there are too few classes or domains; names the data set and which.

    Source:
        Kumagai et al. (2023), section 4.1; sections F.4, F.6 and F.7 for the settings.

    Example:
        >>> drawn = draw_split(load_set("digits", None), 0, 0.2)
        >>> len(set(drawn.source.groups)), len(set(drawn.validation.groups)), len(drawn.targets[0.1])
        (20, 10, 10)
    """
    setting = setting or Setting()
    rng, rng_targets, rng_labels = (np.random.default_rng([split, stage]) for stage in range(3))
    try:
        of, kinds = ("classes", data.classes) if data.domains is None else ("domains", data.domains)
        if (n_kinds := np.unique(kinds).size) < sum(data.sizes):
            wanted = "{} for source, {} for validation and {} for target tasks".format(*data.sizes)
            raise ValueError(f"expected {sum(data.sizes)} {of} ({wanted}), got {n_kinds}")
        source, validation, target = (_tasks(data, keep) for keep in split_values(kinds, data.sizes, rng))
        if setting.n_source is not None:
            source = [source[i] for i in rng.permutation(len(source))[: setting.n_source]]
        labelled, validation_rows = (
            source_rows(part, label_ratio, rng_labels, labelled_anomalies=setting.labelled_anomalies)
            for part in (source, validation)
        )
        drawn = _without_anomalies(labelled, 1 - setting.with_anomalies, rng_labels)
        seeds = rng_targets.integers(2**32, size=len(target))
        targets = {
            share: [target_rows(t, share, np.random.default_rng(s)) for t, s in zip(target, seeds, strict=True)]
            for share in TESTED
        }
    except ValueError as error:
        raise ValueError(f"data set {data.name}: {error}") from None
    x = data.x
    if data.standardise:
        rows = x[drawn.rows].astype(np.float64)
        scale = np.maximum(rows.std(0), np.finfo(np.float32).tiny)
        x = ((x - rows.mean(0)) / scale).clip(-10, 10).astype(np.float32)
    return Split(x, drawn, validation_rows, targets)


def _tasks(data: DataSet, keep: np.ndarray) -> list[Pool]:
    if not data.binary:
        return one_class_tasks(data.classes, data.domains, keep)
    assert data.domains is not None
    number = np.arange(len(data.classes))
    parts = [(d, number[data.domains == d]) for d in keep]
    return [Pool(str(d), rows[data.classes[rows] == 0], rows[data.classes[rows] == 1]) for d, rows in parts]


def _without_anomalies(drawn: SourceRows, share: float, rng: np.random.Generator) -> SourceRows:
    """Drop the labelled anomalies of a share of the tasks."""
    if share == 0:
        return drawn
    names = rng.permutation(np.unique(drawn.groups))
    bare: Sequence[str] = names[: round(share * len(names))].tolist()
    kept = ~((drawn.y == 1) & np.isin(drawn.groups, bare))
    return SourceRows(drawn.rows[kept], drawn.y[kept], drawn.groups[kept])
