"""Draws without replacement: distinct, in range, as many as asked, every row equally likely."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heterad.data.sampling import draw_rows


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 70), min_size=1, max_size=5), st.integers(1, 20), st.integers(0, 99))
def test_distinct_in_range_and_as_many_as_asked(sizes: list[int], width: int, seed: int) -> None:
    size = torch.tensor(sizes)
    take = size.clamp(max=width)
    index, real = draw_rows(size, take, width, max(sizes), torch.Generator().manual_seed(seed))
    assert index.shape == real.shape == (len(sizes), width)
    assert real.sum(-1).tolist() == take.tolist()
    for row, mask, n in zip(index, real, sizes, strict=True):
        drawn = row[mask].tolist()
        assert len(set(drawn)) == len(drawn)
        assert all(0 <= value < n for value in drawn)
        assert not row[~mask].any()


@pytest.mark.parametrize(("n", "width"), [(3, 2), (8, 2), (9, 2), (50, 5)])
def test_every_row_is_equally_likely(n: int, width: int) -> None:
    n_draws = 20_000
    sizes = torch.full((n_draws,), n)
    index, real = draw_rows(sizes, sizes.clamp(max=width), width, n, torch.Generator().manual_seed(0))
    share = torch.bincount(index[real], minlength=n) / real.sum()
    assert share.sum() == pytest.approx(1)
    torch.testing.assert_close(share, torch.full((n,), 1 / n), atol=5 / (n_draws * width / n) ** 0.5 / n, rtol=0)


def test_a_large_task_beside_a_small_one_costs_no_more_columns() -> None:
    size = torch.tensor([10**7, 3])
    index, real = draw_rows(size, size.clamp(max=32), 32, 10**7, torch.Generator().manual_seed(0))
    assert real.sum(-1).tolist() == [32, 3]
    assert len(index[0].unique()) == 32
    assert index[0].max() > 10**6
    assert sorted(index[1, :3].tolist()) == [0, 1, 2]
