"""Many tasks adapted together, and rows of many tasks scored together, without a loop over rows or tasks."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from heterad.detectors.inputs import Scaling
from heterad.methods import RobustMeta
from heterad.methods.robust_meta import Adapted

CELLS = 1 << 17  # numbers in the padded rows of a chunk of tasks: what is computed from them stays in the cache


class UnusableError(ValueError):
    """Finite values that are too large to compute with."""


class AdaptedTasks:
    """What the support sets of many tasks determine: task vectors ``z``, decoders W and ``thresholds``.

    Everything is computed in float64, as by ``TaskDetector``, so chunks do not show in the scores.

    Args:
        model: the meta-learned networks, in float64.
        scaling: of raw rows.
        like: some task adapted by the model, of the same shapes.
        n_tasks: tasks are numbered below it.
        file: file to keep the decoders in, where they would take too much memory: D J numbers a task. One that is
            there is taken up.

    Attributes:
        z: ``[T, K]``; thresholds: ``[T]``. To be stored, and put back, by whoever stores the decoders' file.
    """

    def __init__(
        self,
        model: RobustMeta,
        scaling: Scaling,
        like: Adapted,
        n_tasks: int,
        file: str | os.PathLike[str] | None = None,
    ) -> None:
        self.model, self.scaling = model, scaling
        self._device = like.w.device
        w_shape = tuple(like.w.shape[-2:])
        assert like.z is not None, "the detector's model has task vectors"
        self.z = np.zeros((n_tasks, like.z.shape[-1]))
        self.thresholds = np.full(n_tasks, np.nan)
        self._map: mmap.mmap | None = None
        if file is None:
            self._w = np.zeros((n_tasks, *w_shape))
        else:
            with Path(file).open("a+b") as opened:
                opened.truncate(8 * n_tasks * w_shape[0] * w_shape[1])
                self._map = mmap.mmap(opened.fileno(), 0)
            self._w = np.frombuffer(self._map, np.float64).reshape(n_tasks, *w_shape)

    def put(self, task: int, adapted: Adapted, threshold: float) -> None:
        """Take up one task adapted elsewhere."""
        self._put(task, adapted)
        self.thresholds[task] = threshold

    def adapt(self, tasks: np.ndarray, x: np.ndarray, sizes: np.ndarray, contamination: float) -> None:
        """Adapt ``tasks [t]`` to their support sets and set their thresholds.

        Args:
            tasks: numbers.
            x: raw rows ``[sum(sizes), D]``, task after task.
            sizes: rows of each ``[t]``, >= 2.
            contamination: share of each support set above the threshold.

        Raises:
            UnusableError: values are too large to adapt to.

        Cost:
            As ``RobustMetaDetector.adapt`` of each; memory of chunks of a few tens of MB.

        Source:
            Kumagai et al. (2023), Algorithm 1, lines 5 to 9.
        """
        start = np.cumsum(sizes) - sizes
        for chunk in _chunks(sizes, x.shape[1]):
            index, real = _padded(start[chunk], sizes[chunk])
            support = self._to_model(x[index])
            mask = None if real.all() else torch.as_tensor(real, device=self._device)
            try:
                with torch.no_grad():
                    adapted = self.model.adapt(support, mask)
                    scores = self.model.score(support, adapted).cpu().numpy()
            except torch.linalg.LinAlgError as error:
                raise UnusableError(
                    f"expected values that can be adapted to, got up to {np.abs(x[index]).max():.3g} ({error})"
                ) from None
            which = tasks[chunk]
            self._put(which, adapted)
            self.thresholds[which] = _quantiles(np.where(real, scores, np.inf), sizes[chunk], 1 - contamination)
        self._release()

    def score(self, x: np.ndarray, task: np.ndarray, *, explain: bool = False) -> tuple[np.ndarray, np.ndarray | None]:
        """Score raw rows ``x [n, D]`` of tasks ``task [n]``.

        Returns:
            Scores ``[n]`` and, with ``explain``, anomalous attributes ``[n, D]``; see ``TaskDetector``.

        Raises:
            UnusableError: values are too large to square.

        Cost:
            O(n (D + J) hidden) time, and O(D J) for each task among the rows.

        Source:
            Kumagai et al. (2023), Eqs. (5) and (7).
        """
        order = np.argsort(task, kind="stable")
        tasks, start, sizes = np.unique(task[order], return_index=True, return_counts=True)
        tasks, start, sizes = _pieces(tasks, start, sizes, max(1, CELLS // x.shape[1]))
        scores = np.empty(len(x))
        attributes = np.empty(x.shape) if explain else None
        for chunk in _chunks(sizes, x.shape[1], each=self._w[0].size):
            index, real = _padded(start[chunk], sizes[chunk])
            rows = order[index]
            with torch.no_grad():
                u = self._to_model(x[rows])
                which = tasks[chunk]
                adapted = Adapted(self._tensor(self.z[which]), self._tensor(self._w[which]))
                scores[rows[real]] = self.model.score(u, adapted).cpu().numpy()[real]
                if attributes is not None:
                    attributes[rows[real]] = self.model.autoencoder.attributes(u, *adapted).cpu().numpy()[real]
        self._release()
        if not np.isfinite(scores).all():
            raise UnusableError(f"expected values whose squares are finite, got values up to {np.abs(x).max():.3g}")
        return scores, attributes

    def flush(self) -> None:
        """Make sure that the decoders are in their file."""
        if self._map is not None:
            self._map.flush()

    def _put(self, which: int | np.ndarray, adapted: Adapted) -> None:
        assert adapted.z is not None
        self.z[which], self._w[which] = adapted.z.cpu().numpy(), adapted.w.cpu().numpy()

    def _release(self) -> None:
        """Give the file's pages back: they are read again where needed."""
        if self._map is not None:
            self._map.madvise(mmap.MADV_DONTNEED)

    def _to_model(self, x: np.ndarray) -> Tensor:
        return self._tensor(self.scaling.apply(x))

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.as_tensor(x, dtype=torch.float64, device=self._device)


def _pieces(
    tasks: np.ndarray, start: np.ndarray, sizes: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same rows as more tasks, none with more than ``most``."""
    n = -(-sizes // most)
    number = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    left = np.repeat(sizes, n) - number * most
    return np.repeat(tasks, n), np.repeat(start, n) + number * most, np.minimum(left, most)


def _chunks(sizes: np.ndarray, row: int, *, each: int = 0) -> Iterator[np.ndarray]:
    """Tasks of similar sizes, at most double, whose padded rows (of ``row`` numbers) are at most ``CELLS`` numbers
    or which are one task."""
    order = np.argsort(sizes, kind="stable")
    first = 0
    while first < len(order):
        smallest = sizes[order[first]]
        widest = int(np.searchsorted(sizes[order], 2 * smallest, side="right"))
        n = np.arange(1, widest - first + 1)
        fits = n * (sizes[order[first:widest]] * row + each) <= CELLS
        last = first + max(1, int(fits.sum()))
        yield order[first:last]
        first = last


def _padded(start: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the rows of tasks, padded by repeating the last ``[B, M]``, and which of them are real."""
    column = np.arange(sizes.max())
    real = column < sizes[:, None]
    return start[:, None] + np.minimum(column, sizes[:, None] - 1), real


def _quantiles(scores: np.ndarray, sizes: np.ndarray, q: float) -> np.ndarray:
    """``np.quantile(row[:size], q)`` of every row, whose numbers beyond its size are infinite."""
    ordered = np.sort(scores, axis=1)
    place = q * (sizes - 1)
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, sizes - 1)
    a, b = (np.take_along_axis(ordered, i[:, None], 1)[:, 0] for i in (low, high))
    return a + (b - a) * (place - low)
