"""One small network for each task, as stacked weights: all of them run, and are trained, at once.

Stacked weights are a flat tuple, for each layer a matrix ``[..., n_in, n_out]`` and a bias ``[..., 1, n_out]``, where
``...`` are the tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from heterad.nn import MLP

Weights = tuple[Tensor, ...]


def stack(net: MLP, tasks: Sequence[int]) -> Weights:
    """Give each task the network's weights, as views that take no memory."""
    pairs = [(layer.weight.mT, layer.bias[None]) for layer in (net.first, *net.rest)]
    return tuple(w.expand(*tasks, *w.shape) for pair in pairs for w in pair)


def run(weights: Weights, x: Tensor) -> Tensor:
    """Map rows ``x [..., N, D]`` of each task by its own network, with ReLU between the layers."""
    for i in range(0, len(weights), 2):
        x = (torch.relu(x) if i else x) @ weights[i] + weights[i + 1]
    return x


def train(
    start: Weights,
    loss: Callable[[Weights], Tensor],
    n_iter: int,
    lr: float,
    callback: Callable[[int, int], None] | None = None,
) -> Weights:
    """Minimise the sum over tasks of their losses by Adam, which is as if each were minimised alone.

    Args:
        start: stacked weights to start from; not written to.
        loss: the loss of each task, given stacked weights.
        n_iter: number of steps.
        lr: learning rate.
        callback: told after each step how many are done and how many there are.

    Returns:
        The trained weights, without a graph.

    Cost:
        ``n_iter`` forward and backward passes; memory four times the stacked weights.
    """
    weights = tuple(w.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for w in start)
    optimizer = torch.optim.Adam(weights, lr=lr, fused=True)
    with torch.enable_grad():
        for step in range(1, n_iter + 1):
            optimizer.zero_grad(set_to_none=True)
            loss(weights).sum().backward()
            optimizer.step()
            if callback is not None:
                callback(step, n_iter)
    return tuple(w.detach() for w in weights)


def shares(support: Tensor, mask: Tensor | None) -> Tensor:
    """Weights ``[..., N]`` of each task's rows that make a sum their mean: padded rows have none."""
    real = torch.ones_like(support[..., 0]) if mask is None else mask.to(support.dtype)
    return real / real.sum(-1, keepdim=True).clamp(min=1)
