"""Deviation networks: one scorer, of vectors or of maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heterad.nn.mlp import MLP
from heterad.nn.scorer import PlaceHead, Scorer, top_mean


class DevNet(Scorer):
    """A network whose one score is learned by the deviation loss.

    Vectors ``[n, d]``: d - hidden - 1 with ReLU. Maps ``[n, C, H, W]``: the mean of the highest scores of all
    places, averaged over the map and the map at half its resolution.

    Args:
        shape: of one row, ``(d,)`` or ``(C, H, W)``.
        generator: source of the initial weights.
        hidden: width of the hidden layer of vectors; maps have none.
        l2: weight of the squared norm of the hidden weights of vectors or of a map's channel weights; None is what was
            published, 0.01 or 1e-5.
        top: share of a map's places that make its score.

    Source:
        Pang et al. (KDD 2019), and for images Pang et al. (2021); sizes there: 20; 0.1.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> DevNet((6,), g)(torch.ones(4, 6))["score"].shape
        torch.Size([4])
        >>> DevNet((3, 8, 8), g)(torch.ones(4, 3, 8, 8))["score"].shape
        torch.Size([4])
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        *,
        hidden: int = 20,
        l2: float | None = None,
        top: float = 0.1,
    ) -> None:
        super().__init__()
        self.l2 = l2 if l2 is not None else 0.01 if len(shape) == 1 else 1e-5
        self.top = top
        self.score = MLP((shape[0], hidden, 1), generator) if len(shape) == 1 else PlaceHead(shape[0], generator)
        if isinstance(self.score, MLP):  # the published start: on thyroid data worth 0.01 of AUROC over torch's
            for parameter in self.score.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter, generator=generator)
                else:
                    nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if isinstance(self.score, MLP):
            return {"score": self.score(x).squeeze(-1)}
        found = self.score.response(x)
        scales = [found, F.avg_pool2d(found, 2)] if min(x.shape[2:]) > 1 else [found]  # linear: as of half the map
        tops = [top_mean(part.abs().flatten(1), self.top) for part in scales]
        return {"score": torch.stack(tops).mean(0)}

    def penalty(self) -> Tensor:
        weight = self.score.first.weight if isinstance(self.score, MLP) else self.score.weight
        return self.l2 * weight.square().sum()

    def heat_map(self, x: Tensor) -> Tensor | None:
        return None if isinstance(self.score, MLP) else self.score(x)
