"""Samples of a stream: uniform, without repetition, and the same however the rows come."""

from __future__ import annotations

import numpy as np
import pytest

from heterad.data import reservoir
from heterad.data.reservoir import Reservoir


def sample(task: np.ndarray, sizes: np.ndarray, order: np.ndarray, batch: int, seed: int = 0) -> np.ndarray:
    found = Reservoir(sizes, 1, seed)
    for i in range(0, len(order), batch):
        row = order[i : i + batch]
        chosen = row[found.choose(task[row], row)]
        found.add(chosen[:, None] * 1.0, task[chosen], chosen)
    return found.rows(0, len(sizes))[:, 0].astype(int)


@pytest.mark.parametrize("pending", [7, 1 << 15])
def test_neither_batches_nor_order_matter(monkeypatch, pending: int) -> None:
    monkeypatch.setattr(reservoir, "PENDING", pending)
    rng = np.random.default_rng(0)
    task = rng.integers(0, 9, 3000)
    task[task == 4] = 5
    sizes = np.minimum(np.bincount(task, minlength=9), 40)
    first = sample(task, sizes, np.arange(3000), 3000)
    np.testing.assert_array_equal(task[first], np.repeat(np.arange(9), sizes))
    assert len(set(first)) == sizes.sum()
    for batch, order in ((1, np.arange(3000)), (77, np.arange(3000)[::-1]), (500, rng.permutation(3000))):
        np.testing.assert_array_equal(sample(task, sizes, order, batch), first)
    assert set(sample(task, sizes, np.arange(3000), 3000, seed=1)) != set(first)


def test_every_row_is_as_likely() -> None:
    task, sizes = np.zeros(50, int), np.array([10])
    counts = np.zeros(50)
    for seed in range(2000):
        counts[sample(task, sizes, np.arange(50), 50, seed)] += 1
    assert abs(counts / 2000 - 0.2).max() < 5 * (0.2 * 0.8 / 2000) ** 0.5
