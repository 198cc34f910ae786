"""Pseudo anomalies made of normals: CutMix, CutPaste and the DREAM mask, for pixels, feature maps and vectors.

Everything runs on whole batches on their device, and all randomness comes from the generator passed in. Rows are
vectors ``[B, d]`` or maps ``[B, C, H, W]``; an image is a map of its colours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

KINDS = ("cutmix", "cutpaste", "dream")

AREA = (0.02, 0.15)  # share of a map that a patch or mask covers
ASPECT = (0.3, 3.3)  # height over width of a patch
FEATURES = (0.1, 0.5)  # share of a vector's features that is changed
OPACITY = (0.5, 1.0)  # weight of what is blended in
LATTICE = (2, 8)  # cells of Perlin noise along a map


class Normals(NamedTuple):
    """What foreign sources are measured against: statistics of the normals, per cluster k and feature or channel c.

    ``mean``, ``std`` ``[K, c]`` and ``low``, ``high`` ``[c]``.
    """

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor


def describe(x: Tensor, cluster: Tensor) -> Normals:
    """Measure normals ``x [n, d]`` or ``[n, C, H, W]`` of clusters ``cluster [n]``, numbered from 0 without gaps.

    Cost:
        O(numel) time; memory of one cluster.
    """
    columns = [part.transpose(0, 1).flatten(1) for part in (x[cluster == k] for k in range(int(cluster.max()) + 1))]
    mean = torch.stack([part.mean(1) for part in columns])
    std = torch.stack([part.std(1, correction=0) for part in columns])
    low = torch.stack([part.amin(1) for part in columns]).amin(0)
    high = torch.stack([part.amax(1) for part in columns]).amax(0)
    return Normals(mean, std, low, high)


def kinds_for(shape: tuple[int, ...]) -> tuple[str, ...]:
    """The kinds that can change a row of this shape: of a single feature, or a map of one place, "dream" alone.

    Example:
        >>> kinds_for((7,)), kinds_for((3, 1, 1))
        (('cutmix', 'cutpaste', 'dream'), ('dream',))
    """
    places = shape[0] if len(shape) == 1 else math.prod(shape[1:])
    return KINDS if places > 1 else ("dream",)


def pseudo_anomalies(
    kind: str, x: Tensor, donors: Tensor, normals: Normals, generator: torch.Generator, *, jitter: float = 0.1
) -> Tensor:
    """Make one pseudo anomaly of each row.

    Args:
        kind: "cutmix", "cutpaste" or "dream".
        x: normals to change ``[B, d]`` or ``[B, C, H, W]``.
        donors: other normals of the same shape, whose parts "cutmix" takes and "dream" may blend in.
        normals: what ``describe`` measured.
        generator: of the device of ``x``.
        jitter: relative spread of a patch's brightness (or of a map patch's strength), >= 0; vectors have none.

    Returns:
        A new tensor like ``x``.

    Raises:
        ValueError: ``kind`` is unknown, or ``x`` and ``donors`` differ in shape or are neither vectors nor maps.

    Cost:
        O(numel) time and memory; no loop over rows.

    Source:
        Zhu et al. (CVPR 2024), appendix B.1; Yun et al. (2019), Li et al. (2021), Zavrtanik et al. (2021). The
        vector forms are this library's.

    Example:
        >>> x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> normals = describe(x, torch.zeros(4, dtype=torch.long))
        >>> pseudo_anomalies("cutmix", x, x.flip(0), normals, torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3, 8, 8])
    """
    if x.shape != donors.shape or x.ndim not in (2, 4):
        raise ValueError(
            f"x, donors: expected the same shape [B, d] or [B, C, H, W], got {tuple(x.shape)} and {tuple(donors.shape)}"
        )
    made, row = x.clone(), torch.arange(len(x), device=x.device)
    alter(kind, made, row, torch.cat([x, donors]), row, row + len(x), normals, generator, jitter=jitter)
    return made


def alter(
    kind: str,
    made: Tensor,
    position: Tensor,
    x: Tensor,
    own: Tensor,
    donor: Tensor,
    normals: Normals,
    generator: torch.Generator,
    *,
    jitter: float = 0.1,
) -> None:
    """Turn copies of rows into pseudo anomalies, in place: of maps only the few places that change are touched.

    Args:
        kind, normals, generator, jitter: as of ``pseudo_anomalies``.
        made: rows like those of ``x``, contiguous.
        position: the numbers of those to change in ``made`` ``[B]``.
        x: normals ``[n, d]`` or ``[n, C, H, W]``.
        own: what each row is a copy of, as numbers of rows of ``x`` ``[B]``.
        donor: its donors, likewise.

    Cost:
        O(B d) for vectors; O(B C) times the places that change for maps.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    if x.ndim == 2:
        if kind == "cutmix":
            made[position] = _swap(x[own], x[donor], generator)
        elif kind == "cutpaste":
            made[position] = _permute(x[own], generator)
        else:
            made[position] = _blend(x[own], x[donor], normals, generator)
        return
    size, flat = (len(own), *x.shape[2:]), x.flatten(2)
    if kind == "dream":
        at, place = _noisy_places(size, x, generator)
        values = torch.lerp(
            flat[own[at], :, place],
            _texture(flat, donor, at, place, normals, generator),
            _between(OPACITY, len(own), x, generator)[at, None],
        )
    else:
        at, place, taken = _moved_patch(size, x, generator)
        strength = 1 + jitter * (2 * _uniform((len(own), 1), x, generator) - 1)
        values = flat[(donor if kind == "cutmix" else own)[at], :, taken] * strength[at]
    made.flatten(2)[position[at], :, place] = values


def foreign(x: Tensor, donors: Tensor, normals: Normals, generator: torch.Generator) -> Tensor:
    """Draw a foreign source for each vector of ``x [n, d]``.

    One of these, drawn anew for each row: uniform over 1.1 times the normals' range; a Gaussian mixture of the
    clusters with 5 times their variance, or with 5 times their means; or each feature of another donor, which keeps
    the margins and breaks the dependence.

    Returns:
        A tensor like ``x``.

    Cost:
        O(numel) time and memory.
    """
    n = len(x)
    component = _integers(n, len(normals.mean), x, generator)
    mean, std = normals.mean[component], normals.std[component]
    noise = torch.randn(x.shape, dtype=x.dtype, device=x.device, generator=generator)
    middle, reach = (normals.high + normals.low) / 2, 1.1 * (normals.high - normals.low) / 2
    uniform = middle + reach * (2 * _uniform(x.shape, x, generator) - 1)
    row = (_uniform(x.shape, x, generator) * n).long().clamp(max=n - 1)
    sources = torch.stack([uniform, mean + math.sqrt(5) * std * noise, 5 * mean + std * noise, donors.gather(0, row)])
    return sources[_integers(n, len(sources), x, generator), torch.arange(n, device=x.device)]


def _swap(x: Tensor, donors: Tensor, generator: torch.Generator) -> Tensor:
    return torch.where(_feature_mask(x, generator), donors, x)


def _permute(x: Tensor, generator: torch.Generator) -> Tensor:
    """Roll a random block of features (of at least two, where there are two) within each row."""
    n, d = x.shape
    length = (_between(FEATURES, n, x, generator) * d).round().long().clamp(2, max(d, 2))[:, None]
    start = _integers(n, d, x, generator)[:, None]
    roll = 1 + (_uniform((n, 1), x, generator) * (length - 1)).long().clamp(max=length - 2)
    place = (torch.arange(d, device=x.device) - start) % d
    source = torch.where(place < length, (place + roll) % length, place)
    return x.gather(1, (source + start) % d)


def _blend(x: Tensor, donors: Tensor, normals: Normals, generator: torch.Generator) -> Tensor:
    opacity = _between(OPACITY, len(x), x, generator)[:, None]
    return torch.lerp(x, foreign(x, donors, normals, generator), _feature_mask(x, generator) * opacity)


def _moved_patch(size: tuple[int, int, int], like: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A patch of each of n maps: row and place of what it covers, and the place that each value comes from."""
    n, height, width = size
    area = _between(AREA, n, like, generator) * height * width
    low, high = (math.log(a) for a in ASPECT)
    aspect = (low + (high - low) * _uniform((n,), like, generator)).exp()
    h = (area * aspect).sqrt().round().long().clamp(1, height)
    w = (area / aspect).sqrt().round().long().clamp(1, width)
    across = width - w + 1
    places = (height - h + 1) * across
    source = (_uniform((n,), like, generator) * places).long().clamp(max=places - 1)
    move = 1 + (_uniform((n,), like, generator) * (places - 1)).long()
    target = (source + move.clamp(max=places - 1)) % places
    row, column = torch.arange(height, device=like.device)[:, None], torch.arange(width, device=like.device)
    below = row - (target // across)[:, None, None]
    right = column - (target % across)[:, None, None]
    inside = (below >= 0) & (below < h[:, None, None]) & (right >= 0) & (right < w[:, None, None])
    at, place = inside.flatten(1).nonzero(as_tuple=True)
    start = (source // across - target // across) * width + source % across - target % across
    return at, place, place + start[at]


def _noisy_places(size: tuple[int, int, int], like: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Row and place where the Perlin noise of each of n maps is highest."""
    n, height, width = size
    noise = perlin_noise(n, height, width, generator, dtype=like.dtype).flatten(1)
    covered = (_between(AREA, n, like, generator) * height * width).ceil().long()
    at, place = (noise >= _ascending(noise).gather(1, height * width - covered[:, None])).nonzero(as_tuple=True)
    return at, place


def _texture(
    flat: Tensor, donor: Tensor, at: Tensor, place: Tensor, normals: Normals, generator: torch.Generator
) -> Tensor:
    """A foreign source of maps ``[n, C, P]`` at given places: for even rows the donor turned by 180 degrees with its
    channels rolled, for odd ones Gaussian noise of the channels' mean and twice their spread."""
    turned = flat[donor[at], :, flat.shape[2] - 1 - place].roll(1, dims=1)
    component = _integers(len(donor), len(normals.mean), flat, generator)[at]
    grain = torch.randn(turned.shape, dtype=flat.dtype, device=flat.device, generator=generator)
    grain = normals.mean[component] + 2 * normals.std[component] * grain
    return torch.where((at % 2 == 1)[:, None], grain, turned)


def perlin_noise(
    n: int, height: int, width: int, generator: torch.Generator, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Perlin's gradient noise: ``n`` smooth random maps, each of its own fineness along each axis.

    Args:
        n: maps.
        height, width: of a map.
        generator: of the device that the maps are wanted on.
        dtype: floating type of the maps.

    Returns:
        ``[n, height, width]``, about within [-1, 1], 0 on average.

    Cost:
        O(n height width) time and memory.

    Source:
        Perlin (SIGGRAPH 1985), with the fifth-degree fade of Perlin (2002).

    Example:
        >>> perlin_noise(2, 16, 8, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 16, 8])
    """
    device = generator.device
    like = torch.empty(0, dtype=dtype, device=device)
    least, most = LATTICE
    cells = least + (most - least) * _uniform((2, n, 1), like, generator)
    angle = 2 * math.pi * _uniform((n, (most + 1) ** 2), like, generator)
    corner, offset = [], []
    for size, count in zip((height, width), cells, strict=True):
        at = count * ((torch.arange(size, device=device, dtype=dtype) + 0.5) / size)
        corner.append(at.long())
        offset.append(at - at.floor())
    v, u = offset[0][:, :, None], offset[1][:, None, :]
    total = torch.zeros(n, height, width, dtype=dtype, device=device)
    for i in (0, 1):
        for j in (0, 1):
            node = (corner[0] + i)[:, :, None] * (most + 1) + (corner[1] + j)[:, None, :]
            turn = angle.gather(1, node.flatten(1)).view_as(total)
            slope = turn.sin() * (v - i) + turn.cos() * (u - j)
            total += _fade(1 - (v - i).abs()) * _fade(1 - (u - j).abs()) * slope
    return math.sqrt(2) * total


def _fade(t: Tensor) -> Tensor:
    return t**3 * (t * (6 * t - 15) + 10)


def _feature_mask(x: Tensor, generator: torch.Generator) -> Tensor:
    """A random subset of each row's features, at least one."""
    n, d = x.shape
    wanted = (_between(FEATURES, n, x, generator) * d).round().long().clamp(1, d)
    u = _uniform((n, d), x, generator)
    return u <= _ascending(u).gather(1, wanted[:, None] - 1)


def _ascending(rows: Tensor) -> Tensor:
    """Each row sorted; by NumPy on the CPU, which takes a fortieth of torch's time for 512 numbers (measured)."""
    numpy = rows.is_cpu and rows.dtype in (torch.float32, torch.float64)
    return torch.from_numpy(np.sort(rows.numpy(), axis=1)) if numpy else rows.sort(1).values


def _uniform(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, dtype=like.dtype, device=like.device, generator=generator)


def _between(bounds: tuple[float, float], n: int, like: Tensor, generator: torch.Generator) -> Tensor:
    return bounds[0] + (bounds[1] - bounds[0]) * _uniform((n,), like, generator)


def _integers(n: int, bound: int, like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randint(bound, (n,), device=like.device, generator=generator)
