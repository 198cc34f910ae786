"""A training step that a GPU repeats without being told of each kernel anew."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM_UP = 3


class Graph:
    """A step that is taken three times as it is, then recorded in a CUDA graph, and replayed from then on.

    Launching a kernel takes a CPU some microseconds, which of small networks is most of a step. A graph launches all
    at once.

    Args:
        step: what to repeat; returns a tensor. Each call must launch the same kernels on tensors of the same shapes,
            wait for nothing on the device, draw from ``generator`` alone, and find what it reads where it was before.
        generator: of the GPU.

    Raises:
        ValueError: the generator is not a GPU's.
        RuntimeError: of torch, when the step cannot be recorded, e.g. because it waits for the device.

    Cost:
        Memory of one step's tensors, kept as long as the graph. Recording takes some tenths of a second.
    """

    def __init__(self, step: Callable[[], Tensor], generator: torch.Generator) -> None:
        if generator.device.type != "cuda":
            raise ValueError(f"graph: expected a generator and a model on a GPU, got {generator.device}")
        self.step = step
        self.generator = generator
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Tensor | None = None

    def __call__(self) -> Tensor:
        """Take the step; what it returned, in memory of its own."""
        with torch.cuda.device(self.generator.device):
            if self._calls < WARM_UP:
                self._calls += 1
                return self._aside()
            if self._graph is None:
                self._graph = self._recorded()
            self._graph.replay()
            assert self._result is not None
            return self._result.clone()

    def _aside(self) -> Tensor:
        """The step itself, on a stream of its own: what it leaves behind must not belong to the default one."""
        here, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(here)
        with torch.cuda.stream(side):
            result = self.step().detach().clone()
        here.wait_stream(side)
        return result

    def _recorded(self) -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        with torch.cuda.graph(graph):
            self._result = self.step().detach()
        return graph
