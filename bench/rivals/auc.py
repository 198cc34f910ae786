"""smoothed_auc and roc_auc as users write them, and the libraries that have something alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rivals.base import Absent, Call, compiled, forward_backward, jax_on_the_same_threads, peer, to_jax


@dataclass
class Scores:
    """Scores of the anomalies [..., P] and of the normals [..., Q]."""

    pos: Tensor
    neg: Tensor


def broadcast(pos: Tensor, neg: Tensor) -> Tensor:
    """Eq. (10) as it stands: a [P, Q] matrix."""
    return torch.sigmoid(pos[..., :, None] - neg[..., None, :]).mean((-2, -1))


def call(function: Any, inputs: Scores) -> Call:
    return forward_backward(function, (inputs.pos, inputs.neg))


def compile_call(inputs: Scores) -> Call:
    return call(compiled(broadcast), inputs)


def jax_call(inputs: Scores) -> Call:
    jax = jax_on_the_same_threads()

    @jax.jit
    def both(pos: Any, neg: Any) -> Any:
        def total(pos: Any, neg: Any) -> Any:
            value = jax.nn.sigmoid(pos[..., :, None] - neg[..., None, :]).mean((-2, -1))
            return value.sum(), value

        (_, value), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(pos, neg)
        return (value, *gradients)

    pos, neg = to_jax(jax, inputs.pos), to_jax(jax, inputs.neg)
    return lambda: jax.block_until_ready(both(pos, neg))


def keops_call(inputs: Scores) -> Call:
    """A KeOps reduction over pairs: no matrix, but every pair."""
    try:
        lazy = peer("pykeops.torch").LazyTensor
    except Exception as error:  # it builds itself with a compiler when imported
        raise Absent(f"pykeops does not start ({error})") from error

    def value(pos: Tensor, neg: Tensor) -> Tensor:
        gap = lazy(neg.view(1, -1, 1)) - lazy(pos.view(-1, 1, 1))
        return (1 / (1 + gap.exp())).sum(1).sum() / (len(pos) * len(neg))

    return call(value, inputs)


def libauc_call(inputs: Scores) -> Call:
    """LibAUC's pairwise loss with the logistic surrogate: another function of the same pairs."""
    loss = peer("libauc.losses").PairwiseAUCLoss(surr_loss="logistic")
    y = torch.cat([torch.ones_like(inputs.pos), torch.zeros_like(inputs.neg)])
    return call(lambda pos, neg: loss(torch.cat([pos, neg]), y), inputs)


def sort(inputs: Scores) -> Call:
    """torch.sort of the same scores: what no method that ranks can go below."""
    scores = torch.cat([inputs.pos, inputs.neg], -1).detach()
    return lambda: torch.sort(scores)


@dataclass
class Labelled:
    """Scores in (0, 1), as torchmetrics wants them, and labels 0 and 1."""

    scores: Tensor
    y: Tensor


def sklearn_call(inputs: Labelled) -> Call:
    metrics = peer("sklearn.metrics")
    scores, y = inputs.scores.numpy(), inputs.y.numpy()
    return lambda: [metrics.roc_auc_score(y, scores)]


def numpy_call(inputs: Labelled) -> Call:
    """The fastest form found of plain NumPy: a vectorised sort of each class and a binary search."""
    scores, y = inputs.scores.numpy(), inputs.y.numpy()

    def auc() -> list[float]:
        pos, neg = np.sort(scores[y == 1]), np.sort(scores[y == 0])
        below = np.searchsorted(neg, pos, "left").sum() + np.searchsorted(neg, pos, "right").sum()
        return [below / 2 / (len(pos) * len(neg))]

    return auc


def torch_call(inputs: Labelled) -> Call:
    def auc() -> list[Tensor]:
        pos, neg = inputs.scores[inputs.y == 1], inputs.scores[inputs.y == 0].sort().values
        below = torch.searchsorted(neg, pos).sum() + torch.searchsorted(neg, pos, right=True).sum()
        return [below.double() / 2 / (len(pos) * len(neg))]

    return auc


def torchmetrics_call(inputs: Labelled) -> Call:
    auroc = peer("torchmetrics.functional.classification").binary_auroc
    return lambda: [auroc(inputs.scores, inputs.y)]
