"""A bounded uniform sample of the rows of each of many tasks, from one pass over rows in any batches."""

from __future__ import annotations

import numpy as np

PENDING = 1 << 15


class Reservoir:
    """So many rows of each task, every subset equally likely, the same for the same seed however the rows come.

    A row's key is a hash of its number and the seed; a task keeps the rows with the smallest keys. A row whose key
    is above all that its task keeps is passed over by one comparison, so after the first rows hardly any is copied.

    Args:
        sizes: rows to keep of each task ``[T]``, at most as many as it has.
        n_features: D.
        seed: of the keys.

    Cost:
        A comparison a row, and amortised one sort of all keys for 32 K rows chosen. Memory is the rows kept.

    Example:
        >>> reservoir = Reservoir([3, 1], 1, seed=0)
        >>> task, row = np.array([0, 0, 0, 0, 0, 1]), np.arange(6)
        >>> chosen = reservoir.choose(task, row)
        >>> reservoir.add(row[chosen, None] * 1.0, task[chosen], row[chosen])
        >>> reservoir.rows(0, 1).shape, reservoir.rows(1, 2).tolist()
        ((3, 1), [[5.0]])
    """

    def __init__(self, sizes, n_features: int, seed: int) -> None:
        self.sizes = np.asarray(sizes)
        self._start = np.r_[0, np.cumsum(self.sizes)]
        n = int(self._start[-1])
        self._x = np.empty((n, n_features))
        self._task = np.repeat(np.arange(len(self.sizes)), self.sizes)
        self._key = np.full(n, np.iinfo(np.uint64).max, np.uint64)  # of an empty place: the first to go
        self._limit = np.full(len(self.sizes), np.iinfo(np.uint64).max, np.uint64)
        self._salt = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._n_pending = 0

    def choose(self, task: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Which of the rows, of tasks ``task [n]`` and with numbers ``row [n]`` of their own, to ``add``."""
        return np.flatnonzero(self._hash(row) <= self._limit[task])

    def add(self, x: np.ndarray, task: np.ndarray, row: np.ndarray) -> None:
        """Offer chosen rows ``x [m, D]``, all or in portions, in any order."""
        self._parts.append((x, task, self._hash(row)))
        self._n_pending += len(x)
        if self._n_pending >= PENDING:
            self._merge()

    def rows(self, first: int, last: int) -> np.ndarray:
        """The rows kept of tasks ``first`` to ``last - 1``, by task and then by key."""
        self._merge()
        part = slice(self._start[first], self._start[last])
        return self._x[part][np.lexsort((self._key[part], self._task[part]))]

    def _hash(self, row: np.ndarray) -> np.ndarray:
        """SplitMix64's mixing of the row's number."""
        with np.errstate(over="ignore"):
            z = row.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + self._salt
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            return z ^ (z >> np.uint64(31))

    def _merge(self) -> None:
        """Put pending rows with small keys in the places of rows with large ones."""
        if not self._parts:
            return
        x, task, key = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        self._parts, self._n_pending = [], 0
        n = len(self._task)
        all_tasks = np.r_[self._task, task]
        order = np.lexsort((np.r_[self._key, key], all_tasks))
        ordered = all_tasks[order]
        start = np.searchsorted(ordered, np.arange(len(self.sizes)))
        kept = np.arange(len(order)) - start[ordered] < self.sizes[ordered]
        enter = order[kept & (order >= n)] - n
        leave = order[~kept & (order < n)]  # as many of each task as enter, and both by task
        self._x[leave], self._key[leave] = x[enter], key[enter]
        if n:
            filled = self.sizes > 0
            self._limit[filled] = np.maximum.reduceat(self._key, self._start[:-1][filled])
