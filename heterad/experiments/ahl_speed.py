"""How long an epoch of AHL on feature maps takes: ``python -m heterad.experiments.ahl_speed [BATCHES] [DEVICE]``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from heterad.methods.ahl import AHL, AHLRecipe
from heterad.nn.dra import DRA

SHAPE = (512, 14, 14)
N_NORMAL, N_SEEN = 60, 10
BATCHES = 20  # of an epoch, with two inner steps each: 40 passes of the base models and 20 of what g learns from


def measure(batches: int = BATCHES, *, repeats: int = 3, device: str = "cpu") -> dict[str, float]:
    """Time part of an epoch of 60 normals, and a pass of all base models against a loop over them.

    Args:
        batches: of the 20 of an epoch; the time is given for all 20.
        repeats: of the passes that are compared; the least time of each counts.
        device: where to compute.

    Returns:
        ``epoch`` in seconds, ``loop_over_stack`` (how many times longer the loop takes), and ``peak`` in GiB of
        memory, the device's if it is a GPU, 0 where the system does not tell.

    Cost:
        15 s to a minute for a whole epoch, 1 GiB.
    """
    on_cpu, g = torch.Generator().manual_seed(0), torch.Generator(device).manual_seed(0)
    x = torch.rand(N_NORMAL + N_SEEN, *SHAPE, generator=on_cpu).to(device)
    y = np.repeat([0, 1], [N_NORMAL, N_SEEN])
    recipe = AHLRecipe(epochs=1, batches=batches, window=None)
    ahl = AHL(DRA(SHAPE, on_cpu).to(device), x, y, g, np.random.default_rng(0), recipe)
    seconds = _seconds(lambda: ahl.fit(), device) * BATCHES / batches
    batch = ahl.support.draw(g)
    theta = torch.cat([p.detach().flatten() for p in ahl.model.parameters()])
    theta = theta.repeat(len(ahl.distributions), 1).requires_grad_()

    def stack() -> None:
        torch.autograd.grad(ahl.losses(theta, batch).sum(), theta)

    def loop() -> None:
        for rows, kind in zip(batch.x, batch.kind, strict=True):
            loss = ahl.model.loss(ahl.model(rows), kind).mean()
            torch.autograd.grad(loss, list(ahl.model.parameters()))

    ratio = min(_seconds(loop, device) for _ in range(repeats)) / min(_seconds(stack, device) for _ in range(repeats))
    return {"epoch": seconds, "loop_over_stack": ratio, "peak": _peak(device)}


def _seconds(run: Callable[[], Any], device: str) -> float:
    synchronize = partial(torch.cuda.synchronize, device) if device.startswith("cuda") else lambda: None
    synchronize()
    started = time.perf_counter()
    run()
    synchronize()
    return time.perf_counter() - started


def _peak(device: str) -> float:
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**30
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    where = sys.argv[2] if len(sys.argv) > 2 else "cpu"
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else BATCHES, device=where)
    on = f"{torch.get_num_threads()} threads" if where == "cpu" else where
    print(
        f"epoch {found['epoch']:.1f} s on {on}, a loop over the base models "
        f"{found['loop_over_stack']:.2f} times the stack, peak {found['peak']:.2f} GiB"
    )
