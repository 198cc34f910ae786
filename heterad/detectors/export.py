"""An adapted detector as a program of plain PyTorch, for a service that has nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from heterad.data.whole_file import whole_file
from heterad.detectors.inputs import Scaling
from heterad.nn.mlp import MLP

if TYPE_CHECKING:
    from heterad.detectors.task import TaskDetector


class Scores(nn.Module):
    """Raw rows ``x [n, D]`` to scores and labels ``[n]``, with the task vector folded into the first layer's bias."""

    mean: Tensor
    scale: Tensor
    tail: Tensor
    w: Tensor

    def __init__(self, scaling: Scaling, h: MLP, z: Tensor | None, w: Tensor, threshold: float) -> None:
        super().__init__()
        for name, value in scaling._asdict().items():
            self.register_buffer(name, torch.as_tensor(value))
        self.register_buffer("w", w.cpu())
        self.threshold = threshold
        first = nn.Linear(h.first.in_features, h.first.out_features, dtype=w.dtype)
        with torch.no_grad():
            bias = h.first.bias if h.context is None or z is None else h.first.bias + z @ h.context.weight.mT
            first.weight.copy_(h.first.weight)
            first.bias.copy_(bias)
        layers: list[nn.Module] = [first]
        for source in h.rest:
            assert isinstance(source, nn.Linear)
            layer = nn.Linear(source.in_features, source.out_features, dtype=w.dtype)
            layer.load_state_dict(source.state_dict())
            layers += [nn.ReLU(), layer]
        self.h = nn.Sequential(*layers).requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u = (x - self.mean) / self.scale
        excess = (u.abs() - self.tail).clamp(min=0)
        u = torch.where(excess > 0, torch.sign(u) * (self.tail + torch.log1p(excess)), u)
        scores = (u - self.h(u) @ self.w.mT).square().sum(-1)
        return scores, scores > self.threshold


def export(task: TaskDetector, path: str | os.PathLike[str]) -> None:
    """Write ``task`` as a program; see ``TaskDetector.export``."""
    adapted = task.adapted_
    scores = Scores(task.scaling_, task.model_.autoencoder.h, adapted.z, adapted.w, task.threshold_).eval()
    example = torch.zeros(3, len(task.scaling_.mean), dtype=torch.float64)
    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(scores, (example,), dynamic_shapes=({0: rows},))
    with whole_file(path) as partial:
        torch.export.save(program, partial)
