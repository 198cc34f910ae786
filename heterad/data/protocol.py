"""The evaluation protocol of Kumagai et al. (2023), section 4.1: from a labelled data set to anomaly detection tasks.

Everything here deals in row numbers of the caller's arrays, so no data are copied and any storage will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CONTAMINATIONS = (0.1, 0.2, 0.3, 0.4, 0.5)


class Pool(NamedTuple):
    """All rows of one anomaly detection task with the truth about them: row numbers of normals and of anomalies."""

    name: str
    normal: np.ndarray
    anomaly: np.ndarray


class SourceRows(NamedTuple):
    """Rows of many source tasks, ready for ``fit(x[rows], y, groups)``."""

    rows: np.ndarray
    y: np.ndarray
    groups: np.ndarray


class TargetRows(NamedTuple):
    """One target task: an unlabelled, contaminated support set (its truth is for pictures only) and test rows."""

    support: np.ndarray
    support_y: np.ndarray
    test: np.ndarray
    test_y: np.ndarray


def split_values(values: np.ndarray, sizes: Sequence[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Deal the distinct values (domains, or classes) at random into groups of the given sizes.

    Args:
        values: any array; its distinct values are dealt.
        sizes: how many distinct values each group gets, e.g. ``(4, 1, 1)`` domains for Mnist-r.
        rng: source of randomness.

    Returns:
        One sorted array of values per size.

    Raises:
        ValueError: there are fewer distinct values than ``sum(sizes)``.

    Example:
        >>> [g.size for g in split_values(np.arange(6), (4, 1, 1), np.random.default_rng(0))]
        [4, 1, 1]
    """
    distinct = np.unique(values)
    if sum(sizes) > distinct.size:
        raise ValueError(f"sizes: expected at most {distinct.size} values in all, got {tuple(sizes)}")
    dealt = rng.permutation(distinct)
    ends = np.cumsum(sizes)
    return [np.sort(dealt[end - size : end]) for size, end in zip(sizes, ends, strict=True)]


def one_class_tasks(
    classes: np.ndarray, domains: np.ndarray | None = None, keep: np.ndarray | None = None
) -> list[Pool]:
    """Make one task per domain and class: that class is normal, the domain's other classes are anomalous.

    Args:
        classes: class of each row ``[n]``.
        domains: domain of each row ``[n]``; None puts all rows into one.
        keep: the domains (or, without domains, the classes) to use; None uses all.

    Returns:
        Tasks in the order of domain, then class, named ``"domain/class"`` or ``"class"``.

    Raises:
        ValueError: a domain holds fewer than two classes.

    Example:
        >>> tasks = one_class_tasks(np.array([0, 0, 1, 1]), np.array(["a", "b", "a", "b"]))
        >>> [(t.name, t.normal.tolist(), t.anomaly.tolist()) for t in tasks[:2]]
        [('a/0', [0], [2]), ('a/1', [2], [0])]
    """
    rows = np.arange(len(classes))
    if domains is None:
        parts = {"": rows if keep is None else rows[np.isin(classes, keep)]}
    else:
        parts = {f"{d}/": rows[domains == d] for d in (np.unique(domains) if keep is None else keep)}
    tasks = []
    for prefix, part in parts.items():
        present = np.unique(classes[part])
        if present.size < 2:
            raise ValueError(f"classes: expected two or more in domain {prefix[:-1]!r}, got {present.tolist()}")
        for c in present:
            normal = classes[part] == c
            tasks.append(Pool(f"{prefix}{c}", part[normal], part[~normal]))
    return tasks


def source_rows(
    tasks: Sequence[Pool],
    label_ratio: float,
    rng: np.random.Generator,
    *,
    labelled_anomalies: float = 0.1,
    contaminations: Sequence[float] = CONTAMINATIONS,
) -> SourceRows:
    """Draw labelled and contaminated unlabelled rows for source or validation tasks.

    A task's labelled rows number ``label_ratio`` times its normals, a share ``labelled_anomalies`` of them
    anomalous (at least one of each). All its other normals are unlabelled, with other anomalies mixed in so that
    their share is one of ``contaminations``, drawn anew for every task (or as large a share as there are anomalies).

    Args:
        tasks: the tasks, at most one group each.
        label_ratio: labelled rows per normal row, the paper's l_r (0.1, 0.2 or 0.3).
        rng: source of randomness.
        labelled_anomalies: share of anomalies among the labelled rows.
        contaminations: shares of anomalies among the unlabelled rows, each in [0, 1).

    Returns:
        Row numbers, labels (int8: 1 anomaly, 0 normal, -1 unlabelled) and the task's name for each row.

    Raises:
        ValueError: a ratio is outside its range, or a task is too small to have one row of each kind.

    Cost:
        O(rows) time and memory.

    Source:
        Kumagai et al. (2023), section 4.1; shares of labelled anomalies: 0.1, in section F.4 0.01.

    Example:
        >>> task = Pool("t", np.arange(20), np.arange(20, 60))
        >>> drawn = source_rows([task], 0.5, np.random.default_rng(0), contaminations=[0.5])
        >>> [int((drawn.y == label).sum()) for label in (1, 0, -1)]
        [1, 9, 22]
    """
    _check_share("label_ratio", label_ratio)
    _check_share("labelled_anomalies", labelled_anomalies)
    for share in contaminations:
        _check_contamination("contaminations", share)
    rows, labels, groups = [], [], []
    for task in tasks:
        n_labelled = label_ratio * len(task.normal)
        n_pos = max(1, round(n_labelled * labelled_anomalies))
        n_neg = max(1, round(n_labelled) - n_pos)
        if n_pos > len(task.anomaly) or n_neg >= len(task.normal):
            raise ValueError(
                f"task {task.name!r}: expected {n_pos} anomalies and more than {n_neg} normals for "
                f"label_ratio={label_ratio}, got {len(task.anomaly)} and {len(task.normal)}"
            )
        normal, anomaly = rng.permutation(task.normal), rng.permutation(task.anomaly)
        share = float(rng.choice(np.asarray(contaminations)))
        n_mixed = round((len(normal) - n_neg) * share / (1 - share))
        part = [anomaly[:n_pos], normal[:n_neg], normal[n_neg:], anomaly[n_pos : n_pos + n_mixed]]
        rows.extend(part)
        labels.append(np.repeat(np.array([1, 0, -1, -1], np.int8), [len(p) for p in part]))
        groups.append(np.full(sum(len(p) for p in part), task.name))
    return SourceRows(np.concatenate(rows), np.concatenate(labels), np.concatenate(groups))


def target_rows(
    task: Pool, contamination: float, rng: np.random.Generator, *, support_share: float = 0.5
) -> TargetRows:
    """Draw a contaminated support set of a target task; every other row of the task is for testing.

    The support has ``support_share`` times the task's number of normals as its size, anomalies included. One seed
    gives nested draws: a higher contamination swaps more of the same normals for more of the same anomalies.

    Args:
        task: the target task.
        contamination: share of anomalies in the support set, in [0, 1).
        rng: source of randomness.
        support_share: size of the support set per normal row of the task.

    Returns:
        Row numbers of the support and test sets and their truth (int8, 1 anomaly).

    Raises:
        ValueError: a share is outside its range, or no normal or no anomaly would be left for the test.

    Cost:
        O(rows) time and memory.

    Source:
        Kumagai et al. (2023), section 4.1, and Fig. 4 (support of 50 from 100 normals: 20 anomalies, 30 normals).

    Example:
        >>> task = Pool("t", np.arange(100), np.arange(100, 400))
        >>> drawn = target_rows(task, 0.4, np.random.default_rng(0))
        >>> len(drawn.support), int(drawn.support_y.sum()), len(drawn.test)
        (50, 20, 350)
    """
    _check_contamination("contamination", contamination)
    _check_share("support_share", support_share)
    size = max(1, round(support_share * len(task.normal)))
    n_pos = round(contamination * size)
    n_neg = size - n_pos
    if n_pos >= len(task.anomaly) or n_neg >= len(task.normal):
        raise ValueError(
            f"task {task.name!r}: expected more than {n_pos} anomalies and more than {n_neg} normals, "
            f"got {len(task.anomaly)} and {len(task.normal)}"
        )
    normal, anomaly = rng.permutation(task.normal), rng.permutation(task.anomaly)
    support = np.concatenate([anomaly[:n_pos], normal[:n_neg]])
    test = np.concatenate([anomaly[n_pos:], normal[n_neg:]])
    truth = np.repeat(np.array([1, 0], np.int8), [n_pos, n_neg])
    test_truth = np.repeat(np.array([1, 0], np.int8), [len(anomaly) - n_pos, len(normal) - n_neg])
    return TargetRows(support, truth, test, test_truth)


def _check_share(name: str, value: float) -> None:
    if not 0 < value <= 1:
        raise ValueError(f"{name}: expected a share in (0, 1], got {value}")


def _check_contamination(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name}: expected a share in [0, 1), got {value}")
