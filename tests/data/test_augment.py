"""Pseudo anomalies: what changes, by how much, and where the changed values come from."""

from __future__ import annotations

import pytest
import torch

from heterad.data import augment
from heterad.data.augment import AREA, KINDS, describe, foreign, kinds_for, perlin_noise, pseudo_anomalies

SHAPES = [(1,), (2,), (7,), (64,), (3, 1, 1), (3, 5, 9), (1, 32, 32)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(shape: tuple[int, ...], n: int = 200):
    x = torch.rand(n, *shape, generator=generator())
    return x, x.roll(1, 0), describe(x, torch.arange(n) % 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_change_in_part_and_inputs_do_not(kind: str, shape: tuple[int, ...]) -> None:
    x, donors, normals = draw(shape)
    before = x.clone(), donors.clone()
    made = pseudo_anomalies(kind, x, donors, normals, generator())
    assert made.shape == x.shape
    assert made.isfinite().all()
    assert torch.equal(x, before[0])
    assert torch.equal(donors, before[1])
    changed = (made != x).flatten(1).any(1)
    if kind in kinds_for(shape):
        assert changed.float().mean() > 0.9
    again = pseudo_anomalies(kind, x, donors, normals, generator())
    assert torch.equal(made, again)


def test_what_cannot_change_is_not_offered() -> None:
    assert kinds_for((1,)) == kinds_for((8, 1, 1)) == ("dream",)
    assert kinds_for((2,)) == kinds_for((8, 1, 2)) == KINDS


def test_cutmix_of_vectors_takes_features_of_the_donor() -> None:
    x, donors, normals = draw((10,))
    made = pseudo_anomalies("cutmix", x, donors, normals, generator())
    assert ((made == x) | (made == donors)).all()
    taken = (made != x).sum(1)
    assert taken.min() >= 1
    assert taken.max() <= 5


def test_cutpaste_of_vectors_permutes_within_the_row() -> None:
    x, donors, normals = draw((10,))
    made = pseudo_anomalies("cutpaste", x, donors, normals, generator())
    assert torch.equal(made.sort(1).values, x.sort(1).values)
    assert ((made != x).sum(1) <= 5).all()


@pytest.mark.parametrize(("kind", "source"), [("cutmix", 1), ("cutpaste", 0)])
def test_patches_of_maps_come_from_elsewhere(kind: str, source: int) -> None:
    rows = torch.arange(2 * 20 * 20.0).view(2, 1, 20, 20)
    x, donors = rows[:1].expand(500, -1, -1, -1), rows[source : source + 1].expand(500, -1, -1, -1)
    made = pseudo_anomalies(kind, x, donors, describe(x, torch.zeros(500).long()), generator(), jitter=0.0)
    changed = made != x
    share = changed.flatten(1).float().mean(1)
    assert share.max() <= AREA[1] * 1.3
    moved = made - x
    assert all(len(m[c].unique()) == 1 for m, c in zip(moved, changed, strict=True) if c.any())
    assert torch.isin(made, donors[0]).logical_or(~changed).all()


def test_channels_move_together() -> None:
    x, donors, normals = draw((4, 16, 16))
    for kind in KINDS:
        changed = pseudo_anomalies(kind, x, donors, normals, generator()) != x
        assert torch.equal(changed.all(1), changed.any(1))


def test_foreign_vectors_leave_the_range_of_the_normals() -> None:
    x, donors, normals = draw((30,), n=2000)
    source = foreign(x, donors, normals, generator())
    outside = ((source > normals.high) | (source < normals.low)).float().mean(1)
    assert (outside == 0).float().mean() > 0.15
    assert (outside > 0.3).float().mean() > 0.2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_vectors_of_any_type_swap_features(dtype: torch.dtype) -> None:
    x, donors = torch.zeros(50, 30, dtype=dtype), torch.ones(50, 30, dtype=dtype)
    swapped = augment._swap(x, donors, generator()).float().mean(1)
    assert swapped.min() > 0
    assert swapped.max() < 1


def test_statistics_are_those_of_the_clusters() -> None:
    x = torch.rand(9, 2, 3, 4, generator=generator(), dtype=torch.float64)
    normals = describe(x, torch.tensor([0, 1, 1, 0, 0, 0, 0, 0, 0]))
    torch.testing.assert_close(normals.mean[1], x[1:3].mean((0, 2, 3)))
    torch.testing.assert_close(normals.std[1], x[1:3].std((0, 2, 3), correction=0))
    torch.testing.assert_close(normals.high, x.amax((0, 2, 3)))


def test_perlin_noise_is_smooth_centred_and_bounded() -> None:
    noise = perlin_noise(200, 64, 48, generator())
    assert noise.abs().max() <= 1.5
    assert noise.mean().abs() < 0.02
    assert noise.std() > 0.15
    step = noise.diff(dim=1).abs().mean()
    assert step < 0.3 * (noise - noise.roll(1, 0)).abs().mean()


@pytest.mark.parametrize(
    ("kind", "x", "donors", "message"),
    [
        ("mixup", torch.ones(2, 3), torch.ones(2, 3), "kind: expected one of cutmix, cutpaste, dream, got 'mixup'"),
        ("dream", torch.ones(2, 3), torch.ones(2, 4), r"expected the same shape .* \(2, 3\) and \(2, 4\)"),
        ("dream", torch.ones(2, 3, 4), torch.ones(2, 3, 4), r"\[B, d\] or \[B, C, H, W\]"),
    ],
)
def test_bad_input(kind: str, x: torch.Tensor, donors: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pseudo_anomalies(kind, x, donors, draw((3,))[2], generator())
