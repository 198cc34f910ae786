"""Training batches of normals, seen anomalies and pseudo anomalies, for many anomaly distributions at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from heterad.data.augment import Normals, alter
from heterad.nn.scorer import NORMAL, PSEUDO, SEEN

STOCK = 2**22  # numbers of the batches that are made together


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
        names = sorted({kind for kinds in pseudo_kinds for kind in kinds})
        dealt = [[names.index(kinds[j % len(kinds)]) for j in range(self._n_pseudo)] for kinds in pseudo_kinds]
        self._made = {name: torch.tensor(dealt, device=x.device) == k for k, name in enumerate(names)}

    def draw(self, generator: torch.Generator) -> Batch:
        """Draw one batch of every distribution, with a generator of the rows' device.

        Cost:
            O(T b) rows gathered, and as many pseudo anomalies made as ``pseudo_anomalies`` costs; no loop over T.
        """
        return Batch(self._make(1, generator)[0], self._kind)

    def batches(self, generator: torch.Generator) -> Iterator[Batch]:
        """Endless batches as of ``draw``, small ones made up to 32 at a time: a third of the time for vectors.

        Cost:
            As ``draw``; memory of 4 million numbers, or of one batch if that is larger.
        """
        n = max(1, min(32, STOCK // (self._kind.numel() * self._x[0].numel())))
        while True:
            for x in self._make(n, generator):
                yield Batch(x, self._kind)

    def _make(self, n: int, generator: torch.Generator) -> Tensor:
        """Rows ``[n, T, b, ...]`` of ``n`` batches."""
        chosen = [self._normal.draw(n, self._n_normal, generator)]
        if self._anomaly is not None:
            chosen.append(self._anomaly.draw(n, self._n_seen, generator))
        if self._normals is not None:
            own, donor = self._normal.draw_pairs(n, self._n_pseudo, generator)
            chosen.append(own)
        number = torch.cat(chosen, 2)
        rows = self._x.index_select(0, number.flatten())
        if self._normals is not None:
            place = torch.arange(len(rows), device=rows.device).view(number.shape)[:, :, -self._n_pseudo :]
            for kind, of_kind in self._made.items():
                at = of_kind.expand(n, -1, -1)
                alter(kind, rows, place[at], self._x, own[at], donor[at], self._normals, generator)
        return rows.view(*number.shape, *self._x.shape[1:])


class _Padded:
    """Lists of row numbers of different lengths as one matrix to draw from."""

    def __init__(self, rows: Sequence[np.ndarray], device: torch.device) -> None:
        self.size = torch.tensor([len(r) for r in rows], device=device)[:, None]
        self.rows = torch.zeros(len(rows), int(self.size.max()), dtype=torch.int64)
        for t, r in enumerate(rows):
            self.rows[t, : len(r)] = torch.as_tensor(r)
        self.rows = self.rows.to(device)

    def draw(self, n: int, size: int, generator: torch.Generator) -> Tensor:
        """``[n, T, size]`` row numbers, drawn independently with replacement."""
        return self._rows(self._among(self.size, n, size, generator))

    def draw_pairs(self, n: int, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same, and for each another row of its list; the row itself only where that is alone."""
        at = self._among(self.size, n, size, generator)
        further = 1 + self._among(self.size - 1, n, size, generator)
        return self._rows(at), self._rows((at + further) % self.size)

    def _rows(self, at: Tensor) -> Tensor:
        return self.rows.expand(len(at), -1, -1).gather(2, at)

    def _among(self, bound: Tensor, n: int, size: int, generator: torch.Generator) -> Tensor:
        """Numbers ``[n, T, size]`` below ``bound [T, 1]``."""
        shape = (n, len(self.rows), size)
        return (torch.rand(shape, dtype=torch.float64, device=self.rows.device, generator=generator) * bound).long()
