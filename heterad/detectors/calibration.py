"""Conformal p-values from the scores of normal rows of held-out tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

MOST_SUPPORT, MOST_SCORES = 512, 20_000


@dataclass(frozen=True)
class Calibration:
    """Scores of normal rows that neither training nor their task's adaptation has seen, and their tasks.

    Args:
        scores: of all held-out normal rows ``[n]``.
        tasks: the held-out task of each ``[n]``, as a number below K.

    Example:
        >>> Calibration(np.array([1.0, 2.0, 3.0]), np.array([0, 0, 0])).p_values(np.array([0.0, 2.5, 9.0]))
        array([1.  , 0.5 , 0.25])
    """

    scores: np.ndarray
    tasks: np.ndarray

    @property
    def n_tasks(self) -> int:
        """K."""
        return len(np.unique(self.tasks))

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        r"""The share of held-out normal rows that score at least as high, every task weighing the same.

        .. math:: p(s) = \frac{1 + \sum_i w_i [s_i \ge s]}{n + 1}, \quad w_i = \frac{n}{K n_{k(i)}}

        For n_k rows of task k, K tasks and n rows in all. For a normal row that its task was not adapted to:

        * P(p <= alpha) <= alpha, if it is exchangeable with the held-out rows and these come in equal number from
          every task (p is then the usual split-conformal one);
        * P(p <= alpha) <= alpha + (1 - alpha) / (K + 1), if its task, a new one, is exchangeable with the K
          held-out tasks.

        Rows that were adapted to score a little lower, so that their p-values are rather too large.

        Args:
            scores: ``[m]``, of one task or of many.

        Returns:
            float64 ``[m]`` in [1 / (n + 1), 1].

        Cost:
            O((n + m) log n).

        Source:
            The usual p-value: Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005). For new
            tasks: with m the mean over tasks of the share of rows with s_i >= s, p' = (1 + K m) / (K + 1) is valid
            (Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023), and p >= m.
        """
        order = np.argsort(self.scores)
        n_rows = np.bincount(self.tasks)
        n = len(order)
        weight = n / (self.n_tasks * n_rows[self.tasks[order]])
        above = np.r_[np.cumsum(weight[::-1])[::-1], 0]
        return np.minimum((1 + above[np.searchsorted(self.scores[order], scores)]) / (n + 1), 1)


def calibrate(
    score_each: Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], np.ndarray],
    x: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray,
    rng: np.random.Generator,
) -> Calibration | None:
    """Adapt to the held-out tasks as to new ones, and score those of their normal rows that were not adapted to.

    A task is adapted to its unlabelled rows, or, where it has not two, to a random half of all its rows; normal are
    the others labelled 0 (where nothing at all is labelled, all others, which makes p-values too large rather than
    too small).

    Args:
        score_each: given sets to adapt to and rows of the task of each, the rows' scores, one task after the other.
        x: raw rows ``[n, D]`` of the held-out tasks; labels: 1, 0 or -1 ``[n]``; groups: their tasks ``[n]``.
        rng: what draws the halves, and at most 512 rows to adapt to and 20,000 scores in all.

    Returns:
        The calibration; None if no normal row is left.
    """
    names, task = np.unique(groups, return_inverse=True)
    normal = labels == 0 if (labels >= 0).any() else np.ones(len(labels), bool)
    most = max(1, MOST_SCORES // max(1, len(names)))
    support, rest = [], []
    for t in range(len(names)):
        rows = rng.permutation(np.flatnonzero(task == t))
        own = rows[labels[rows] == -1]
        if len(own) < 2 or normal.all():
            own = rows[: len(rows) // 2]
        held = np.setdiff1d(rows[normal[rows]], own)
        if len(own) >= 2 and len(held):
            support.append(own[:MOST_SUPPORT])
            rest.append(rng.permutation(held)[:most])
    if not support:
        return None
    scores = score_each([x[rows] for rows in support], [x[rows] for rows in rest])
    return Calibration(scores, np.repeat(np.arange(len(rest)), [len(rows) for rows in rest]))
