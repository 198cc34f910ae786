"""Batches of several distributions: the shares of each kind, and that rows stay within their own distribution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heterad.data.augment import KINDS, describe
from heterad.data.mixture import Mixture
from heterad.nn.scorer import NORMAL, PSEUDO, SEEN

X = torch.arange(40.0)[:, None].expand(-1, 6) + torch.linspace(0, 0.5, 6)
NORMALS = describe(X[:30], torch.zeros(30, dtype=torch.long))
NORMAL_ROWS = [np.arange(10), np.arange(10, 13), np.arange(13, 30)]
SEEN_ROWS = [np.arange(30, 35), np.arange(39, 40), np.arange(35, 39)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_row_belongs_to_its_distribution_and_kind() -> None:
    mixture = Mixture(X, NORMAL_ROWS, SEEN_ROWS, 48, NORMALS, [("cutmix",), ("cutpaste",), ("cutmix", "cutpaste")])
    g = generator()
    for _ in range(20):
        x, kind = mixture.draw(g)
        assert x.shape == (3, 48, 6)
        assert [int((kind == k).sum()) for k in (NORMAL, SEEN, PSEUDO)] == [48, 48, 48]
        rows = x.floor()
        for t in range(3):
            assert set(rows[t][kind[t] == NORMAL].flatten().tolist()) <= set(NORMAL_ROWS[t])
            assert set(rows[t][kind[t] == SEEN].flatten().tolist()) <= set(SEEN_ROWS[t])
            # CutMix and CutPaste only rearrange values, so a donor from another distribution would show here
            assert set(rows[t][kind[t] == PSEUDO].flatten().tolist()) <= set(NORMAL_ROWS[t])


def test_no_pseudo_anomaly_is_a_normal_unchanged() -> None:
    pairs = [np.arange(2), np.arange(10, 13), np.arange(13, 30)]
    mixture = Mixture(X, pairs, SEEN_ROWS, 48, NORMALS, [("cutmix",)] * 3)
    g = generator()
    for _ in range(20):
        x, kind = mixture.draw(g)
        made = x[kind == PSEUDO].floor()
        assert (made.amin(1) < made.amax(1)).all()  # of two rows, each of one number and its own fraction


def test_a_normal_alone_is_its_own_donor() -> None:
    x, kind = Mixture(X, [np.arange(1)], [np.arange(0)], 6, NORMALS, [("cutmix",)]).draw(generator())
    assert torch.equal(x[kind == PSEUDO], X[:1].expand(3, -1))


@pytest.mark.parametrize(
    ("seen", "normals", "counts"),
    [(SEEN_ROWS, None, [5, 5, 0]), ([np.arange(0)] * 3, NORMALS, [5, 0, 5]), (SEEN_ROWS, NORMALS, [4, 3, 3])],
)
def test_the_kinds_there_are_share_the_batch(seen, normals, counts: list[int]) -> None:
    mixture = Mixture(X, NORMAL_ROWS, seen, 10, normals, [KINDS] * 3 if normals else ())
    _, kind = mixture.draw(generator())
    assert [int((kind[0] == k).sum()) for k in (NORMAL, SEEN, PSEUDO)] == counts


def test_one_seed_gives_one_sequence_of_batches() -> None:
    mixture = Mixture(X, NORMAL_ROWS, SEEN_ROWS, 9, NORMALS, [KINDS] * 3)
    assert torch.equal(mixture.draw(generator()).x, mixture.draw(generator()).x)
    assert not torch.equal(mixture.draw(generator()).x, mixture.draw(generator(1)).x)


@pytest.mark.parametrize(
    ("normal", "seen", "size", "normals", "message"),
    [
        ([np.arange(0)], [np.arange(3)], 9, NORMALS, "expected normals in every distribution"),
        ([np.arange(2)] * 2, [np.arange(3), np.arange(0)], 9, NORMALS, "anomalies in all or in none"),
        ([np.arange(2)], [np.arange(0)], 9, None, "expected seen anomalies or pseudo anomalies, got neither"),
        ([np.arange(2)], [np.arange(3)], 2, NORMALS, "batch_size: expected at least 3"),
    ],
)
def test_bad_input(normal, seen, size: int, normals, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mixture(X, normal, seen, size, normals, [KINDS] * len(normal))
