"""Many small networks as stacked weights: all of them run, and are trained, at once.

Stacked weights are a flat tuple, for each layer a matrix ``[..., n_in, n_out]`` and a bias ``[..., 1, n_out]``, where
``...`` are the tasks, or models and tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from heterad.nn import MLP
from heterad.nn.mlp import check_width

Weights = tuple[Tensor, ...]


def stack(net: MLP, tasks: Sequence[int]) -> Weights:
    """Give each task the network's weights, as views that take no memory."""
    pairs = [(layer.weight.mT, layer.bias[None]) for layer in (net.first, *net.rest)]
    return tuple(w.expand(*tasks, *w.shape) for pair in pairs for w in pair)


def run(weights: Weights, x: Tensor) -> Tensor:
    """Map rows ``x [..., N, D]`` of each task by its own network, with ReLU between the layers."""
    check_width(x, weights[0].shape[-2])
    for i in range(0, len(weights), 2):
        x = (torch.relu(x) if i else x) @ weights[i] + weights[i + 1]
    return x


def train(
    start: Weights,
    slope: Callable[[Weights], tuple[Tensor, Tensor]],
    n_iters: Collection[int],
    lr: float,
    callback: Callable[[int, int], None] | None = None,
) -> dict[int, Weights]:
    """Minimise a sum of losses, one for each network, by Adam: which is as if each were minimised alone.

    Args:
        start: stacked weights to start from; not written to.
        slope: given stacked weights, something computed of them and the sum's gradient with respect to that.
        n_iters: numbers of steps after which the weights are wanted.
        lr: learning rate.
        callback: told after each step how many are done and how many there are.

    Returns:
        The weights, without a graph, after each of these numbers of steps.

    Cost:
        ``max(n_iters)`` forward and backward passes; memory four times the stacked weights, and once for each number.
    """
    weights = tuple(w.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for w in start)
    optimizer = torch.optim.Adam(weights, lr=lr, fused=True)
    kept = {}
    for step in range(1, max(n_iters) + 1):
        with torch.enable_grad():
            outputs, gradient = slope(weights)
        for w, g in zip(weights, torch.autograd.grad(outputs, weights, gradient), strict=True):
            w.grad = g
        optimizer.step()
        if step in n_iters:
            kept[step] = tuple(w.detach().clone() for w in weights)
        if callback is not None:
            callback(step, max(n_iters))
    return kept


def shares(support: Tensor, mask: Tensor | None) -> Tensor:
    """Weights ``[..., N]`` of each task's rows that make a sum their mean: padded rows have none."""
    real = torch.ones_like(support[..., 0]) if mask is None else mask.to(support.dtype)
    return real / real.sum(-1, keepdim=True).clamp(min=1)
