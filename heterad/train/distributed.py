"""One training run in several processes: each computes its share of a step, and the sums are the same on all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """The processes of one run, seen from one of them.

    All draw the same global batch from generators of the same seed, and each computes the loss of its ``share``,
    divided by the size of the whole batch. Summed, losses and gradients are those of one process but for rounding,
    whatever the number of processes and however uneven the shares.

    Args:
        rank: number of this process, 0 to size - 1; the one numbered 0 writes files and prints.
        size: number of processes; of one, every method returns what it is given.
        device: where this process computes.

    Example:
        >>> ALONE.first, ALONE.share(8)
        (True, slice(0, 8, None))
        >>> [Processes(rank, 3).share(8) for rank in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 8, None)]
    """

    rank: int = 0
    size: int = 1
    device: torch.device | str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of ``n`` things; parts differ in length by one at most.

        Raises:
            ValueError: a process would get nothing.
        """
        if n < self.size:
            raise ValueError(f"processes: expected at most one for each of the {n} to share, got {self.size}")
        least, more = divmod(n, self.size)
        start = self.rank * least + min(self.rank, more)
        return slice(start, start + least + (self.rank < more))

    def combine(self, loss: Tensor, leaf: Tensor) -> Tensor:
        """Sum the loss and the gradient of ``leaf`` of all processes, in one message; the gradient is replaced.

        Returns:
            The summed loss, detached, the same bits on every process.

        Raises:
            ConnectionError: another process died, or did not answer in time.

        Cost:
            One all-reduce of all parameters, and a copy of their size.
        """
        if self.size == 1:
            return loss.detach()
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        sums = torch.cat([loss.detach().reshape(1), gradient])
        self._together(lambda: dist.all_reduce(sums))
        leaf.grad = sums[1:]
        return sums[0]

    def agree(self, value: float) -> float:
        """The first process's ``value``, on all of them; decisions made on it cannot part.

        Raises:
            ConnectionError: as ``combine``.
        """
        if self.size == 1:
            return value
        common = torch.tensor(value, dtype=torch.float64, device=self.device)
        self._together(lambda: dist.broadcast(common, src=0))
        return float(common)

    def _together(self, exchange) -> None:
        try:
            exchange()
        except RuntimeError as error:
            raise ConnectionError(
                f"process {self.rank} of {self.size} lost another, which died or did not answer in time; "
                f"see what that one said, then start again with the same --checkpoint ({error})"
            ) from None


ALONE = Processes()


@contextmanager
def join(device: str | torch.device | None = None, *, timeout: float = 600.0) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` started, if it did.

    Args:
        device: where to compute; None is the CPU. Of "cuda" each process takes the GPU of its local rank.
        timeout: seconds to wait for another process before it counts as dead.

    Yields:
        What to give to ``fit`` as ``processes``: ``ALONE``'s like where torchrun did not start this process.

    Raises:
        ValueError: the device is unknown or absent, or there are fewer GPUs than processes on this machine.
        ConnectionError: the others cannot be reached.

    Source:
        The variables ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK`` of torchrun's environment.

    Example:
        >>> with join() as processes:
        ...     processes.size
        1
    """
    try:
        where = torch.device("cpu" if device is None else device)
    except RuntimeError:
        raise ValueError(f"device: expected cpu or cuda, got {device!r}") from None
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "RANK" not in os.environ:
        if where.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device: expected cpu, since this machine has no GPU that torch can use, got {device!r}")
        yield Processes(device=where)
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if where.type == "cuda" and where.index is None:
        if local >= torch.cuda.device_count():
            raise ValueError(
                f"device: expected a GPU for each process, got {torch.cuda.device_count()} for {local + 1}"
            )
        where = torch.device("cuda", local)
        torch.cuda.set_device(where)
    backend = "nccl" if where.type == "cuda" else "gloo"
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    except RuntimeError as error:
        raise ConnectionError(f"the {size} processes of this run did not find each other ({error})") from None
    try:
        yield Processes(int(os.environ["RANK"]), size, where)
    finally:
        dist.destroy_process_group()
