"""Feed-forward networks, optionally conditioned on a task vector, with weights drawn from a given generator."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from heterad.nn.fused_mlp import mlp


def linear(
    n_in: int, n_out: int, generator: torch.Generator, *, bias: bool = True, fan_in: int | None = None
) -> nn.Linear:
    """A linear layer with torch's default initial distribution, drawn from ``generator`` and not the global state."""
    layer = skip_init(nn.Linear, n_in, n_out, bias=bias)
    bound = (fan_in or n_in) ** -0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return layer


def check_width(x: Tensor, n_features: int) -> None:
    """Raise a ValueError unless the rows ``x [..., D]`` are of length ``n_features``."""
    if x.shape[-1] != n_features:
        raise ValueError(f"x: expected rows of length {n_features}, got {x.shape[-1]}")


class MLP(nn.Module):
    """Linear layers with ReLU between them: ``x -> sizes[-1]``, or ``[x, z] -> sizes[-1]`` with a task vector z.

    The first layer on the concatenation ``[x, z]`` is computed as ``U x + V z``: all rows of a task share ``V z``,
    so z is never copied to the rows.

    Args:
        sizes: widths of input, hidden and output layers, e.g. ``(D, 32, 32, 32)`` for three layers.
        generator: source of the initial weights.
        context: length of z; 0 for none.

    Example:
        >>> net = MLP((5, 32, 2), torch.Generator().manual_seed(0), context=3)
        >>> net(torch.ones(4, 7, 5), torch.ones(4, 3)).shape
        torch.Size([4, 7, 2])
    """

    def __init__(self, sizes: Sequence[int], generator: torch.Generator, *, context: int = 0) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        fan_in = sizes[0] + context
        self.first = linear(sizes[0], sizes[1], generator, fan_in=fan_in)
        self.context = linear(context, sizes[1], generator, bias=False, fan_in=fan_in) if context else None
        self.rest = nn.ModuleList(linear(a, b, generator) for a, b in pairwise(sizes[1:]))
        #: where the tensors are found: a dictionary and a name in it; layers are not to be exchanged for others
        self.places: list[tuple[dict[str, Any], str]] = [
            ({"": None}, "") if self.context is None else (self.context._parameters, "weight"),
            *((layer._parameters, name) for layer in (self.first, *self.rest) for name in ("weight", "bias")),
        ]

        self.shapes = [t.shape for t in self.tensors() if t is not None]

    def tensors(self) -> list[Any]:
        """The context's weight or None, then weight and bias of each layer."""
        return [holder[name] for holder, name in self.places]

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """Map rows ``x [..., N, D]`` of tasks ``z [..., K]`` to ``[..., N, sizes[-1]]``; context 0 ignores z."""
        check_width(x, self.sizes[0])
        context, *layers = self.tensors()
        return mlp(x, z, context, *layers)
