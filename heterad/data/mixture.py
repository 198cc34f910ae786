"""Training batches of normals, seen anomalies and pseudo anomalies, for many anomaly distributions at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from heterad.data.augment import Normals, pseudo_anomalies
from heterad.nn.scorer import NORMAL, PSEUDO, SEEN


class Batch(NamedTuple):
    """Rows ``x [T, b, ...]`` of T distributions and what each is, ``kind [T, b]``: NORMAL, SEEN or PSEUDO."""

    x: Tensor
    kind: Tensor


class Mixture:
    """Draws batches of T distributions, rows with replacement and equal shares of each kind there is.

    Args:
        x: all rows ``[n, ...]`` on their device.
        normal: row numbers of each distribution's normals, none empty.
        anomaly: row numbers of each distribution's seen anomalies; all empty or none.
        batch_size: rows of a batch and distribution; what three does not divide goes to the normals.
        normals: what ``describe`` measured; None makes no pseudo anomalies.
        pseudo_kinds: of each distribution, the kinds of pseudo anomalies dealt in turn over its rows.

    Raises:
        ValueError: a distribution has no normals, only some have anomalies, there is nothing but normals, or the
            batch is too small for one row of each kind.

    Example:
        >>> from heterad.data.augment import describe
        >>> x = torch.arange(12.0).view(6, 2)
        >>> normals = describe(x[:4], torch.zeros(4, dtype=torch.long))
        >>> mixture = Mixture(x, [np.arange(4)], [np.arange(4, 6)], 6, normals, [("dream",)])
        >>> mixture.draw(torch.Generator().manual_seed(0)).kind.tolist()
        [[0, 0, 1, 1, 2, 2]]
    """

    def __init__(
        self,
        x: Tensor,
        normal: Sequence[np.ndarray],
        anomaly: Sequence[np.ndarray],
        batch_size: int,
        normals: Normals | None = None,
        pseudo_kinds: Sequence[Sequence[str]] = (),
    ) -> None:
        has_seen = {len(rows) > 0 for rows in anomaly}
        if len(has_seen) > 1 or any(len(rows) == 0 for rows in normal):
            raise ValueError("normal, anomaly: expected normals in every distribution, and anomalies in all or in none")
        n_kinds = 1 + has_seen.pop() + (normals is not None)
        if n_kinds == 1:
            raise ValueError("anomaly: expected seen anomalies or pseudo anomalies, got neither")
        if batch_size < n_kinds:
            raise ValueError(f"batch_size: expected at least {n_kinds}, one row of each kind, got {batch_size}")
        share = batch_size // n_kinds
        n_seen, self._n_pseudo = share * (len(anomaly[0]) > 0), share * (normals is not None)
        self._n_normal = batch_size - n_seen - self._n_pseudo
        self._x = x
        self._normals = normals
        self._normal = _Padded(normal, x.device)
        self._anomaly = _Padded(anomaly, x.device) if n_seen else None
        self._n_seen = n_seen
        counts = torch.tensor([self._n_normal, n_seen, self._n_pseudo])
        kinds_in_order = torch.tensor([NORMAL, SEEN, PSEUDO])
        self._kind = kinds_in_order.repeat_interleave(counts).expand(len(normal), -1).to(x.device)
        places: dict[str, list[int]] = {}
        for t, kinds in enumerate(pseudo_kinds):
            for j in range(self._n_pseudo):
                places.setdefault(kinds[j % len(kinds)], []).append(t * self._n_pseudo + j)
        self._places = {kind: torch.tensor(at, device=x.device) for kind, at in places.items()}

    def draw(self, generator: torch.Generator) -> Batch:
        """Draw one batch of every distribution, with a generator of the rows' device.

        Cost:
            O(T b) rows gathered, and as many pseudo anomalies made as ``pseudo_anomalies`` costs; no loop over T.
        """
        parts = [self._x[self._normal.draw(self._n_normal, generator)]]
        if self._anomaly is not None:
            parts.append(self._x[self._anomaly.draw(self._n_seen, generator)])
        if self._normals is not None:
            parts.append(self._make_pseudo(self._normals, generator))
        return Batch(torch.cat(parts, 1), self._kind)

    def _make_pseudo(self, normals: Normals, generator: torch.Generator) -> Tensor:
        source, donor = (self._x[self._normal.draw(self._n_pseudo, generator)].flatten(0, 1) for _ in range(2))
        made = torch.empty_like(source)
        for kind, at in self._places.items():
            made[at] = pseudo_anomalies(kind, source[at], donor[at], normals, generator)
        return made.unflatten(0, (-1, self._n_pseudo))


class _Padded:
    """Lists of row numbers of different lengths as one matrix to draw from."""

    def __init__(self, rows: Sequence[np.ndarray], device: torch.device) -> None:
        self.size = torch.tensor([len(r) for r in rows], device=device)[:, None]
        self.rows = torch.zeros(len(rows), int(self.size.max()), dtype=torch.int64)
        for t, r in enumerate(rows):
            self.rows[t, : len(r)] = torch.as_tensor(r)
        self.rows = self.rows.to(device)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """``[T, n]`` row numbers, drawn independently with replacement."""
        u = torch.rand(len(self.rows), n, dtype=torch.float64, device=self.rows.device, generator=generator)
        return self.rows.gather(1, (u * self.size).long())
