"""What compute-sanitizer finds on a GPU, found where Triton interprets: addresses outside every tensor, and races.

A launch may touch only the tensors it was given, and no program of it what another of its programs writes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from triton.runtime import interpreter

Executor, builder = interpreter.GridExecutor, interpreter.interpreter_builder


class Launch:
    """The tensors of a launch, and the addresses that each of its programs has touched."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []
        self.touched: dict[str, list[np.ndarray]] = {"reads": [], "writes": []}

    def give(self, values: Any) -> None:
        tensors = [v for v in values if isinstance(v, torch.Tensor)]
        self.ranges += [(t.data_ptr(), t.data_ptr() + t.numel() * t.element_size()) for t in tensors]

    def touch(self, kind: str, addresses: np.ndarray, size: int) -> None:
        inside = np.zeros(addresses.shape, bool)
        for first, end in self.ranges:
            inside |= (addresses >= first) & (addresses + size <= end)
        assert inside.all(), f"{(~inside).sum()} {kind} outside every tensor of the launch"
        program = np.full_like(addresses, builder.grid_idx[0])
        self.touched[kind].append(np.stack([addresses, program], 1))

    def check(self) -> None:
        """Each address that is written has one writer, and no reader but that."""
        if not self.touched["writes"]:
            return
        writes = np.unique(np.concatenate(self.touched["writes"]), axis=0)
        written, writers = writes.T
        assert (np.diff(written) > 0).all(), "two programs of a launch write the same address"
        if self.touched["reads"]:
            read, readers = np.concatenate(self.touched["reads"]).T
            at = np.minimum(np.searchsorted(written, read), len(written) - 1)
            raced = (written[at] == read) & (writers[at] != readers)
            assert not raced.any(), "a program reads what another of its launch writes"


def watch() -> None:
    """From now on check every launch of this process."""
    launch = Launch()
    take_arguments, run = Executor._init_args_hst, Executor.__call__
    load, store = builder.create_masked_load, builder.create_masked_store

    def taking(self: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = take_arguments(self, args, kwargs)
        launch.give([*args, *kwargs.values()])
        return args, kwargs

    def running(self: Any, *args: Any, **kwargs: Any) -> None:
        nonlocal launch
        launch = Launch()
        run(self, *args, **kwargs)
        launch.check()

    def touching(kind: str, pointers: Any, mask: Any) -> None:
        size = interpreter._get_np_dtype(pointers.get_element_ty())
        launch.touch(kind, pointers.data[mask.data].astype(np.int64), np.dtype(size).itemsize)

    def loading(pointers: Any, mask: Any, *rest: Any) -> Any:
        touching("reads", pointers, mask)
        return load(pointers, mask, *rest)

    def storing(pointers: Any, value: Any, mask: Any, *rest: Any) -> Any:
        touching("writes", pointers, mask)
        return store(pointers, value, mask, *rest)

    Executor._init_args_hst, Executor.__call__ = taking, running
    builder.create_masked_load, builder.create_masked_store = loading, storing
