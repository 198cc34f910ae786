"""deviation_loss and soft_threshold as users write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rivals.base import Call, compiled, forward_backward

PRIOR = (0.0, 1.0)
MARGIN = 5.0


@dataclass
class Judged:
    """Scores and labels; the gradient that arrives is that of the mean."""

    scores: Tensor
    y: Tensor


def deviation(scores: Tensor, y: Tensor) -> Tensor:
    """DevNet's loss with the prior's statistics cached."""
    dev = (scores - PRIOR[0]) / PRIOR[1]
    return torch.where(y == 1, torch.relu(MARGIN - dev), dev.abs()).mean()


def deviation_call(function: Any, inputs: Judged) -> Call:
    return forward_backward(lambda scores: function(scores, inputs.y), (inputs.scores,))


def deviation_compile(inputs: Judged) -> Call:
    return deviation_call(compiled(deviation), inputs)


@dataclass
class Threshold:
    r: Tensor
    t: Tensor
    cotangent: Tensor


def soft_threshold(r: Tensor, t: Tensor) -> Tensor:
    return torch.sign(r) * torch.relu(r.abs() - t)


def threshold_call(function: Any, inputs: Threshold) -> Call:
    return forward_backward(function, (inputs.r, inputs.t), (inputs.cotangent,))


def threshold_compile(inputs: Threshold) -> Call:
    return threshold_call(compiled(soft_threshold), inputs)


def softshrink(inputs: Threshold) -> Call:
    """torch's own, whose threshold is a constant and gets no gradient."""
    t = inputs.t.item()
    return forward_backward(lambda r: torch.nn.functional.softshrink(r, t), (inputs.r,), (inputs.cotangent,))
