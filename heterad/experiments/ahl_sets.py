"""Open-set tasks from real data: which rows are normal, which anomalies are seen, which are not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from heterad.data.arrays import read_labelled
from heterad.detectors.image_features import SMALL, learn_backbone
from heterad.nn.backbone import extract_maps

TRAIN_SHARE = 0.7  # of the normals
MOST_NORMALS, MOST_TESTED = 300, 1000
MOST_SHOTS = 10  # a class must have so many anomalies to be the seen one, whatever M, so that M = 1 sees the same class
N_NORMAL_CLASSES = 5
NORMAL = -1


class Task(NamedTuple):
    """Rows ``x [n, d]``, or images ``[n, 1, H, W]`` uint8, and the anomaly class of each ``[n]``, -1 for a normal."""

    name: str
    x: np.ndarray
    anomaly_class: np.ndarray


class Split(NamedTuple):
    """What a detector is given and judged by: rows with labels, and test rows with the truth."""

    x: np.ndarray
    y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def _by_category(arrays: dict[str, np.ndarray], seed: int) -> list[Task]:
    x, y, category = arrays["X"], arrays["y"], arrays["domain"]
    return [
        Task(str(c), x[category == c], np.where(y[category == c] == 1, 0, NORMAL)) for c in np.unique(category).tolist()
    ]


def _by_class(arrays: dict[str, np.ndarray], seed: int) -> list[Task]:
    """Some classes, drawn with the seed, are normal together; each other one is a class of anomalies."""
    names, y = np.unique(arrays["y"], return_inverse=True)
    drawn = np.random.default_rng([seed, 1]).permutation(len(names))[:N_NORMAL_CLASSES]
    return [Task("", arrays["X"], np.where(np.isin(y, drawn), NORMAL, y))]


def _solar_cells(arrays: dict[str, np.ndarray], seed: int) -> list[Task]:
    """Mono- and polycrystalline cells: their faults are two classes of anomalies."""
    return [Task("", arrays["X"][:, None], np.where(arrays["y"] == 1, arrays["domain"].astype(int), NORMAL))]


def _fabrics(arrays: dict[str, np.ndarray], seed: int) -> list[Task]:
    """Tiles of fabric with their defect codes; those that show none of it, being blank, are left out."""
    there = arrays["blank"] == 0
    kind = np.where(arrays["y"] == 1, arrays["defect"].astype(int), NORMAL)
    return [Task("", arrays["X"][there, None], kind[there])]


def _digits(seed: int) -> list[Task]:
    from heterad.data.digits import rotated_digits

    x, digit, _ = rotated_digits([0])
    return _by_class({"X": x, "y": digit}, seed)


class Source(NamedTuple):
    """How a file of rows ``X`` and labels is made tasks of, given a seed."""

    tasks: Callable[[dict[str, np.ndarray], int], list[Task]]
    labels: tuple[str, ...] = ("y",)
    images: bool = False


SETS = {
    "mvtec_resnet18": Source(_by_category, ("y", "domain")),
    "isolet": Source(_by_class),
    "mnist_r": Source(_by_class),
    "omniglot": Source(_by_class),
    "elpv": Source(_solar_cells, ("y", "domain"), images=True),
    "aitex": Source(_fabrics, ("y", "defect", "blank"), images=True),
}
BUILT_IN = {"digits": _digits}
ONE_CLASS = ("mvtec_resnet18",)  # sets whose anomalies have no classes, so that none can be kept unseen


def tasks(folder: str | os.PathLike[str] | None, name: str, seed: int) -> list[Task]:
    """The tasks of a data set.

    Args:
        folder: where ``<name>.npz`` lies; not looked at for "digits".
        name: one of ``SETS`` or ``BUILT_IN``.
        seed: of the choice of normal classes, where a set has many.

    Returns:
        One task, or one for each category.

    Raises:
        OSError, ValueError: as ``read_labelled``; the name is unknown; there is no folder.

    Example:
        >>> [task] = tasks(None, "digits", 0)
        >>> task.x.shape, len(np.unique(task.anomaly_class))
        ((1797, 64), 6)
    """
    if name in BUILT_IN:
        return BUILT_IN[name](seed)
    if name not in SETS:
        raise ValueError(f"set: expected one of {', '.join([*SETS, *BUILT_IN])}, got {name!r}")
    source = SETS[name]
    return source.tasks(read_labelled(set_file(folder, name), source.labels, images=source.images), seed)


def set_file(folder: str | os.PathLike[str] | None, name: str) -> Path:
    """The file of a data set; ValueError where there is no folder."""
    if folder is None:
        raise ValueError(f"data: expected a folder with {name}.npz, got none")
    return Path(folder) / f"{name}.npz"


def split_task(task: Task, shots: int, rng: np.random.Generator, *, hard: bool) -> Split:
    """Draw training and test rows.

    70 % of the normals (at most 300) train. In the general setting the seen anomalies are drawn from all, and all
    others are tested; in the hard setting they are of one class drawn at random, and only other classes are tested.
    At most 1,000 anomalies, and as many normals, are tested.

    Args:
        task: the task.
        shots: M, seen anomalies.
        rng: source of randomness; a lower M with the same state sees a part of the same anomalies.
        hard: which setting.

    Returns:
        The rows.

    Raises:
        ValueError: there are too few normals or anomalies to train and to test, or, in the hard setting, classes.

    Source:
        Ding et al. (CVPR 2022), section 4; Zhu et al. (CVPR 2024), section 4.

    Example:
        >>> task = Task("t", np.arange(60.0)[:, None], np.repeat([-1, 0, 1], 20))
        >>> drawn = split_task(task, 2, np.random.default_rng(0), hard=True)
        >>> len(drawn.x), int(drawn.y.sum()), len(drawn.test_x), int(drawn.test_y.sum())
        (16, 2, 26, 20)
    """
    kind = task.anomaly_class
    train_normal, test_normal = divide_normals(task, rng)
    classes, size = np.unique(kind[kind != NORMAL], return_counts=True)
    if hard and len(classes) < 2:
        raise ValueError(f"task {task.name!r}: expected two classes of anomalies or more, got {len(classes)}")
    seen_class = rng.choice(classes[size >= min(MOST_SHOTS, size.max())]) if hard else None
    pool = rng.permutation(np.flatnonzero(kind == seen_class if hard else kind != NORMAL))
    least, of = (shots, "of one class") if hard else (shots + 1, "of any class")
    n_normal = len(train_normal) + len(test_normal)
    if len(pool) < least or n_normal < 2:
        raise ValueError(
            f"task {task.name!r}: expected at least {least} anomalies {of} and two normals, got {len(pool)} and "
            f"{n_normal}"
        )
    unseen = rng.permutation(np.flatnonzero((kind != NORMAL) & (kind != seen_class))) if hard else pool[shots:]
    train = np.concatenate([train_normal[:MOST_NORMALS], pool[:shots]])
    test = np.concatenate([test_normal[:MOST_TESTED], unseen[:MOST_TESTED]])
    y = (kind[train] != NORMAL).astype(np.int64)
    return Split(task.x[train], y, task.x[test], (kind[test] != NORMAL).astype(np.int64))


def divide_normals(task: Task, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the normals to train on and to test: what a split draws first, so the same for every M."""
    normal = rng.permutation(np.flatnonzero(task.anomaly_class == NORMAL))
    n_train = round(TRAIN_SHARE * len(normal))
    return normal[:n_train], normal[n_train:]


def learn_network(task: Task, number: int) -> nn.Module:
    """A small backbone that learned from the training normals of one split of a task of images.

    Args:
        task: rows are images ``[n, 1, H, W]`` uint8.
        number: the split's, and the seed of the network.

    Cost:
        600 batches of 32 images, about 20 s on one core at 64 x 64.
    """
    normal, _ = divide_normals(task, split_rng(number))
    return learn_backbone(SMALL, task.x[normal[:MOST_NORMALS]], number, torch.device("cpu"))


def split_rng(number: int) -> np.random.Generator:
    """The source of randomness of one split's rows."""
    return np.random.default_rng([number, 2])


def to_maps(split: Split, net: nn.Module) -> Split:
    """Rows ``[n, 1, H, W]`` uint8 as feature maps ``[n, 64, H / 8, W / 8]`` float32."""
    return split._replace(x=extract_maps(net, split.x), test_x=extract_maps(net, split.test_x))
