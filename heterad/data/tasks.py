"""Many tasks of different sizes on one device, and the support and query sets drawn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from heterad.data.sampling import draw_rows

WHOLE = slice(None)


@dataclass(frozen=True)
class Episodes:
    """Support and query sets of B tasks, padded to common sizes.

    ``rows`` ``[B, N + P + Q, D]`` holds each task's support set, then the anomalies and the normals of its query
    set; the properties are views of it. A mask ``[B, N | P | Q]`` is True for real rows and None where all are.
    Rows that are not real hold arbitrary finite values.
    """

    tasks: Tensor
    rows: Tensor
    n_support: int
    n_anomalies: int
    support_mask: Tensor | None
    anomaly_mask: Tensor | None
    normal_mask: Tensor | None

    @property
    def support(self) -> Tensor:
        """Unlabelled rows to adapt to, ``[B, N, D]``."""
        return self.rows[:, : self.n_support]

    @property
    def query(self) -> Tensor:
        """Labelled rows to be judged by, ``[B, P + Q, D]``, the P anomalies first."""
        return self.rows[:, self.n_support :]


class TaskSet:
    """All rows of all tasks in one tensor on one device, with an index of each task's rows by label.

    Args:
        x: features ``[n, D]``, finite; array or tensor.
        y: labels ``[n]``: 1 anomaly, 0 normal, -1 unlabelled.
        groups: the task of each row ``[n]``, of any sortable type.
        device: where the rows live; None is the CPU (or where ``x`` is, if it is a tensor).
        dtype: floating type of the rows.

    Attributes:
        names: the tasks' names, sorted; a task's number is its place here.
        x: rows ``[n, D]``, ordered by task and within a task anomalies, normals, unlabelled.
        n_anomalies, n_normals, n_unlabelled: counts ``[T]`` on the host.

    Raises:
        ValueError: sizes differ, a label is unknown, there are no rows, or a task has no normal row (named).

    Cost:
        One sort of the groups, O(n log n); memory is one copy of the rows and 8 bytes a task and count.

    Example:
        >>> tasks = TaskSet(np.eye(6), [1, 0, -1, 0, 0, -1], ["a", "a", "a", "b", "b", "b"])
        >>> drawn = tasks.sample(2, torch.Generator().manual_seed(0))
        >>> drawn.support.shape, drawn.query.shape
        (torch.Size([2, 1, 6]), torch.Size([2, 3, 6]))
    """

    def __init__(self, x, y, groups, *, device=None, dtype: torch.dtype = torch.float32) -> None:
        x = torch.as_tensor(x)
        y = np.asarray(y)
        groups = np.asarray(groups)
        if x.ndim != 2 or len(x) == 0:
            raise ValueError(f"x: expected rows and features [n, D] with n > 0, got shape {tuple(x.shape)}")
        for name, value in (("y", y), ("groups", groups)):
            if value.shape != (len(x),):
                raise ValueError(f"{name}: expected shape ({len(x)},), got {value.shape}")
        unknown = np.setdiff1d(y, (-1, 0, 1))
        if unknown.size:
            raise ValueError(f"y: expected 1 (anomaly), 0 (normal) or -1 (unlabelled), got {unknown[:5].tolist()}")
        names, task = np.unique(groups, return_inverse=True)
        counts = np.stack([np.bincount(task[y == label], minlength=len(names)) for label in (1, 0, -1)])
        for name, n_normals in zip(names.tolist(), counts[1], strict=True):
            if n_normals == 0:
                raise ValueError(f"task {name!r}: expected at least one row labelled normal (0), got none")
        order = np.lexsort((np.choose(y.astype(int) + 1, (2, 1, 0)), task))
        self.names = names
        self.n_anomalies, self.n_normals, self.n_unlabelled = counts
        self.x = x.to(device=device, dtype=dtype)[torch.as_tensor(order, device=device or x.device)]
        start = np.cumsum(counts.sum(0)) - counts.sum(0)
        self._start, self._n_pos, self._n_neg, self._n_unl = (
            torch.as_tensor(v, device=self.x.device) for v in (start, *counts)
        )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def device(self) -> torch.device:
        return self.x.device

    def sample(
        self,
        n_tasks: int,
        generator: torch.Generator,
        *,
        support_size: int | None = None,
        query_size: int | None = None,
        part: slice = WHOLE,
    ) -> Episodes:
        """Draw tasks at random, each as often as any other (±1), and an episode of each; see ``episodes``."""
        n_rounds = -(-n_tasks // len(self))
        deals = [torch.randperm(len(self), device=self.device, generator=generator) for _ in range(n_rounds)]
        tasks = deals[0] if n_rounds == 1 else torch.cat(deals)
        return self.episodes(tasks[:n_tasks], generator, support_size=support_size, query_size=query_size, part=part)

    def episodes(
        self,
        tasks: Tensor,
        generator: torch.Generator,
        *,
        support_size: int | None = None,
        query_size: int | None = None,
        part: slice = WHOLE,
    ) -> Episodes:
        """Draw a support and a query set of each given task.

        The support is drawn from the unlabelled rows, or, where a task has none, from its labelled rows with
        their labels ignored. The query is drawn from the labelled rows; a query smaller than these keeps the
        share of anomalies but at least one row of each class that the task has.

        Args:
            tasks: task numbers ``[B]``.
            generator: of this set's device.
            support_size: at most so many support rows a task; None takes all.
            query_size: at most so many query rows a task (but for the at least one of each class); None takes all.
            part: of the tasks whose episodes are wanted; the draws, and the sizes padded to, are those of all.

        Returns:
            Episodes padded to the largest of the drawn tasks (on the CPU) or of all tasks (elsewhere, where
            asking for the largest would wait for the device).

        Cost:
            O(B (N + P + Q) D) time and memory, independent of the sizes of the tasks.

        Source:
            Kumagai et al. (2023), Algorithm 1, lines 3 and 4, and section 3.3.
        """
        start, n_pos, n_neg, n_unl = (v[tasks] for v in (self._start, self._n_pos, self._n_neg, self._n_unl))
        n_labelled = n_pos + n_neg
        pool = torch.where(n_unl > 0, n_unl, n_labelled)
        pool_start = torch.where(n_unl > 0, start + n_labelled, start)
        take_pos, take_neg = n_pos, n_neg
        if query_size is not None:
            share = torch.clamp(query_size / n_labelled, max=1.0)
            take_pos = torch.minimum(n_pos, (n_pos * share).round().long().clamp(min=1))
            take_neg = torch.minimum(n_neg, (n_neg * share).round().long().clamp(min=1))
        take = pool if support_size is None else pool.clamp(max=support_size)
        parts = [(pool_start, pool, take), (start, n_pos, take_pos), (start + n_pos, n_neg, take_neg)]
        on_cpu = self.device.type == "cpu"
        largest = [(int(n.max()), int(s.max())) for _, s, n in parts] if on_cpu else self._largest(support_size)
        index, masks = [], []
        for (first, size, wanted), bounds in zip(parts, largest, strict=True):
            offset, real = draw_rows(size, wanted, *bounds, generator)
            index.append((first[part, None] + offset[part]).clamp_(max=len(self.x) - 1))
            masks.append(None if on_cpu and bool(real.all()) else real[part])
        return Episodes(
            tasks[part], self.x[torch.cat(index, 1)], index[0].shape[1], index[1].shape[1], masks[0], masks[1], masks[2]
        )

    def _largest(self, support_size: int | None) -> list[tuple[int, int]]:
        """Columns that suffice for any task, and the largest size, of support, anomalies and normals."""
        labelled = self.n_anomalies + self.n_normals
        pool = int(np.where(self.n_unlabelled > 0, self.n_unlabelled, labelled).max())
        support = pool if support_size is None else min(pool, support_size)
        anomalies, normals = int(self.n_anomalies.max()), int(self.n_normals.max())
        return [(support, pool), (anomalies, anomalies), (normals, normals)]
