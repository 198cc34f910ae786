"""Are two processes one? How equal their gradients and weights are, and how fast a step is.

    python bench/two_processes.py                                  # prints the table
    python bench/two_processes.py > bench/results/two_processes.md

The same global batches are trained on by one process, and by two that share each of them (gloo, a thread each). Turns
are taken twice; the time is the least of the turns, of whole steps without evaluation.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from heterad.data import TaskSet, toy_tasks
from heterad.methods import RobustMeta, Sampling, meta_fit
from heterad.train import Loop, Settings, join, read_tensors, write_tensors

ROWS = ((8, 10, 32), (32, 64, 64))  # tasks a step, features, hidden width
STEPS = 20
TURNS = 2


def work(path: str, n_tasks: int, n_features: int, hidden: int) -> None:
    """Train; the first process writes its first gradients, last weights and seconds a step."""
    torch.set_num_threads(1)
    toy = toy_tasks(80, 100, n_features=n_features)
    learner = RobustMeta(n_features, torch.Generator().manual_seed(0), hidden=hidden)
    first: dict[str, torch.Tensor] = {}
    marks: list[float] = []

    def callback(loop: Loop) -> None:
        if not first:
            parts = loop.vector.leaf.grad.split([p.numel() for p in learner.parameters()])
            names = (name for name, _ in learner.named_parameters())
            first.update({f"gradient.{name}": g.clone() for name, g in zip(names, parts, strict=True)})
        marks.append(time.perf_counter())

    with join(timeout=300) as processes:
        meta_fit(
            learner,
            TaskSet(toy.x, toy.y, toy.groups),
            torch.Generator().manual_seed(1),
            sampling=Sampling(n_tasks),
            settings=Settings(STEPS, eval_every=1),
            callback=callback,
            processes=processes,
        )
        if processes.first:
            seconds = min(b - a for a, b in zip(marks[:-5], marks[5:], strict=True)) / 5
            weights = {f"weight.{name}": t for name, t in learner.state_dict().items()}
            write_tensors(path, first | weights, {"seconds": seconds})


def measure(size: int, path: str, *row: int) -> tuple[dict[str, torch.Tensor], float]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    common = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--work", path, *map(str, row)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size)},
        )
        for rank in range(size)
    ]
    if any([process.wait() for process in started]):
        raise SystemExit("a process failed")
    tensors, record = read_tensors(path)
    return tensors, record["seconds"]


def difference(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], kind: str) -> float:
    """The largest difference of an entry, over the largest entry."""
    names = [name for name in one if name.startswith(kind)]
    return float(max((one[n] - two[n]).abs().max() for n in names) / max(one[n].abs().max() for n in names))


def main() -> None:
    print("# Two processes beside one\n")
    print("`python bench/two_processes.py > bench/results/two_processes.md`\n")
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, gloo, a thread each;")
    load = os.getloadavg()[0]
    busy = " (others were at work: the times say little)" if load > 1 else ""
    print(f"load average {load:.1f} at the start{busy}. Differences are relative to the largest entry.\n")
    weights_after = f"Weights after {STEPS} steps"
    print(f"| Tasks a step | Features | Gradients differ by | {weights_after} | One: ms a step | Two | Ratio |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "found")
        for row in ROWS:
            seconds: dict[int, list[float]] = {1: [], 2: []}
            found = {}
            for _ in range(TURNS):
                for size in (1, 2):
                    found[size], spent = measure(size, path, *row)
                    seconds[size].append(spent)
            one, two = (1e3 * min(seconds[size]) for size in (1, 2))
            gradients, weights = (difference(found[1], found[2], kind) for kind in ("gradient", "weight"))
            figures = f"{gradients:.1e} | {weights:.1e} | {one:.1f} | {two:.1f} | {one / two:.2f}"
            print(f"| {row[0]} | {row[1]} | {figures} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
