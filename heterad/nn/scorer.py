"""What AHL asks of a base model, so that any network that scores rows can be one."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from heterad import ops
from heterad.ops.deviation_loss import PRIOR

NORMAL, SEEN, PSEUDO = 0, 1, 2
MARGIN = 5.0


class Scorer(nn.Module):
    """A network that gives each row one anomaly score per head, with its loss.

    A base model defines ``forward``; everything else has a default that suits scores learned by the deviation loss.
    ``forward`` is run under ``torch.func.vmap`` over several sets of parameters: it may not write into buffers, ask
    for values (``.item()``), or draw random numbers.

    Example:
        >>> class Linear(Scorer):
        ...     def __init__(self, d):
        ...         super().__init__()
        ...         self.w = nn.Parameter(torch.ones(d))
        ...     def forward(self, x):
        ...         return {"score": x @ self.w}
        >>> scorer = Linear(2)
        >>> heads = scorer(torch.tensor([[0.0, 0.0], [3.0, 3.0]]))
        >>> scorer.total(heads).tolist()
        [0.0, 6.0]
    """

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Scores ``[n]`` of rows ``x [n, ...]``, by head."""
        raise NotImplementedError

    def total(self, heads: dict[str, Tensor]) -> Tensor:
        """The anomaly score ``[..., n]`` that the heads ``[..., n]`` make together; higher is more anomalous."""
        return torch.stack(list(heads.values())).sum(0)

    def loss(self, heads: dict[str, Tensor], kind: Tensor) -> Tensor:
        """The loss of each row ``[..., n]``, given what it is, ``kind [..., n]``: NORMAL, SEEN or PSEUDO."""
        y = kind != NORMAL
        return torch.stack([deviation(scores, y) for scores in heads.values()]).sum(0)

    def probability(self, score: Tensor) -> Tensor:
        """Squash total scores into [0, 1], 0 where a normal should stand and 1 where an anomaly should."""
        return ((score - PRIOR[0]) / PRIOR[1] / MARGIN).clamp(0, 1)

    def penalty(self) -> Tensor:
        """What is added to the mean loss for the size of the weights, a scalar."""
        return next(self.parameters()).new_zeros(())

    def draw_references(self, x: Tensor, kind: Tensor, generator: torch.Generator) -> None:
        """Keep in buffers what scores are measured against, once, before training on rows ``x [n, ...]``."""

    def heat_map(self, x: Tensor) -> Tensor | None:
        """Where rows ``x [n, C, H, W]`` are anomalous, ``[n, H, W]``; None if the model does not know."""
        return None


class Plain(Scorer):
    """Any module as a ``Scorer``: it returns scores ``[n]`` or a dictionary of them, and may define its own
    ``loss``, ``total``, ``probability``, ``penalty``, ``draw_references`` and ``heat_map``.

    Example:
        >>> scorer = as_scorer(nn.Sequential(nn.Linear(3, 1), nn.Flatten(0)))
        >>> {name: tuple(scores.shape) for name, scores in scorer(torch.ones(5, 3)).items()}
        {'score': (5,)}
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        for name in ("loss", "total", "probability", "penalty", "draw_references", "heat_map"):
            if callable(own := getattr(module, name, None)):
                setattr(self, name, own)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        found = self.module(x)
        heads = found if isinstance(found, dict) else {"score": found}
        if not heads:
            raise ValueError("base: expected scores, or a dictionary of them by head, got an empty one")
        for name, scores in heads.items():
            if not isinstance(scores, Tensor) or scores.shape != x.shape[:1]:
                got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                raise ValueError(f"base: expected scores of shape ({len(x)},) for {len(x)} rows, got {got} ({name!r})")
            if not scores.is_floating_point():
                raise ValueError(f"base: expected scores of floating numbers, got {scores.dtype} ({name!r})")
        return heads


def as_scorer(module: nn.Module) -> Scorer:
    """``module`` itself if it is a ``Scorer``, else wrapped in one.

    Raises:
        TypeError: it is no module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"base: expected a torch.nn.Module, got {type(module).__name__}")
    return module if isinstance(module, Scorer) else Plain(module)


def deviation(scores: Tensor, y: Tensor) -> Tensor:
    """The deviation loss of each score, with the margin that ``Scorer.probability`` is measured by."""
    return ops.deviation_loss(scores, y, margin=MARGIN, reduction="none")


def top_mean(scores: Tensor, share: float) -> Tensor:
    """The mean of the highest ``share`` (at least one) of the scores ``[..., P]`` of each row's places, ``[...]``.

    Example:
        >>> top_mean(torch.tensor([[1.0, 4.0, 2.0, 3.0]]), 0.5).tolist()
        [3.5]
    """
    return scores.topk(max(1, math.ceil(share * scores.shape[-1])), dim=-1).values.mean(-1)


class PlaceHead(nn.Module):
    """A score for each place of a map: the size |w · x + b| of a 1 x 1 convolution.

    Args:
        channels: C of the maps.
        generator: source of the initial weights.

    Example:
        >>> PlaceHead(3, torch.Generator().manual_seed(0))(torch.ones(2, 3, 4, 5)).shape
        torch.Size([2, 4, 5])
    """

    def __init__(self, channels: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = channels**-0.5
        self.weight = nn.Parameter(torch.empty(channels).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """``[n, H, W]`` of maps ``x [n, C, H, W]``."""
        return self.response(x).abs()

    def response(self, x: Tensor) -> Tensor:
        """w · x + b of each place, ``[n, H, W]``."""
        return ((self.weight @ x.flatten(2)) + self.bias).unflatten(-1, x.shape[2:])
