"""How much time stacks save where each task has networks of its own: ``python -m heterad.experiments.meta_speed``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from heterad.methods.baselines import BASELINES
from heterad.methods.baselines.networks import Networks

SHAPES = {"mnist_r": (10, 50, 256), "isolet": (26, 30, 617), "iot": (1, 250, 115), "omniglot": (19, 10, 784)}
"""Tasks of a batch, rows of a support set and their length, as the protocol has them."""

LAYOUTS = ("one by one", "tasks", "tasks and grid")
METHODS = ("ae", "rae", "dagm")


def measure(
    shapes: Mapping[str, tuple[int, int, int]] = SHAPES, *, shrink: int = 20, repeats: int = 3
) -> dict[tuple[str, str], dict[str, float]]:
    """Train the paper's grid on every task: each network alone, one stack of tasks for each choice, or all at once.

    Args:
        shapes: tasks, rows and features by name.
        shrink: the grid's numbers of steps are divided by it.
        repeats: the least time counts.

    Returns:
        CPU seconds of each of ``LAYOUTS`` by shape and method; "one by one" is of two tasks, scaled to all.

    Cost:
        Two minutes.
    """
    found = {}
    for name, (n_tasks, *shape) in shapes.items():
        x = torch.rand(n_tasks, *shape, generator=torch.Generator().manual_seed(0))
        for method in METHODS:
            made: Any = BASELINES[method]
            steps = [{**choice, "n_iter": max(1, choice["n_iter"] // shrink)} for choice in made.GRID]
            grid: list[Networks] = [made(shape[1], torch.Generator().manual_seed(0), **choice) for choice in steps]
            turns = [_turn(grid, x) for _ in range(repeats)]
            found[name, method] = dict(zip(LAYOUTS, map(min, zip(*turns, strict=True)), strict=True))
    return found


def _turn(grid: Sequence[Networks], x: Tensor) -> list[float]:
    few = x[:2]

    def one_by_one() -> None:
        for learner in grid:
            for task in few:
                learner.adapt(task)

    def tasks() -> None:
        for learner in grid:
            learner.adapt(x)

    def tasks_and_grid() -> None:
        grid[0].adapt_all(grid, x)

    return [_seconds(one_by_one) * len(x) / len(few), _seconds(tasks), _seconds(tasks_and_grid)]


def _seconds(run: Callable[[], Any]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


if __name__ == "__main__":
    torch.set_num_threads(1)
    for (shape, method), seconds in measure().items():
        times = ", ".join(f"{layout} {seconds[layout] / seconds[LAYOUTS[-1]]:.1f}" for layout in LAYOUTS[:-1])
        print(f"{shape} {method}: {seconds[LAYOUTS[-1]]:.2f} s in one stack; times as long {times}")
