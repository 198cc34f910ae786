"""Disentangled representations of abnormality: four heads, each learned on its own kind of rows."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from heterad.nn.mlp import MLP, linear
from heterad.nn.scorer import NORMAL, PSEUDO, SEEN, PlaceHead, Scorer, deviation, top_mean

NOTHING = -1
SKIPPED = {"normality": NOTHING, "seen": PSEUDO, "pseudo": SEEN, "residual": NOTHING}  # what a head does not learn on


class DRA(Scorer):
    """Heads for normality, seen abnormality, pseudo abnormality, and abnormality of the residual to known normals.

    The total is seen + pseudo + residual - normality. Every head learns by the deviation loss, that of normality
    with its labels inverted.

    Args:
        shape: of one row, ``(d,)`` or ``(C, H, W)``.
        generator: source of the initial weights.
        hidden: width of the hidden layers, and channels of the residual head on maps.
        l2: weight of the squared norm of all weight matrices.
        top: share of a map's places that make its score.
        n_references: reference normals: a map's residual is to the mean of so many (None: 5), a vector's to the
            nearest of so many (None: 512).

    Source:
        Ding et al. (CVPR 2022). The vector form is this library's.

    Example:
        >>> g = torch.Generator().manual_seed(0)
        >>> x, dra = torch.rand(20, 6, generator=g), DRA((6,), g)
        >>> dra.draw_references(x, torch.zeros(20), g)
        >>> sorted(dra(x)), dra.total(dra(x)).shape
        (['normality', 'pseudo', 'residual', 'seen'], torch.Size([20]))
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        generator: torch.Generator,
        *,
        hidden: int = 64,
        l2: float = 1e-5,
        top: float = 0.1,
        n_references: int | None = None,
    ) -> None:
        super().__init__()
        self.l2 = l2
        vectors = len(shape) == 1
        self.normality = _Holistic(shape[0], hidden, generator)
        self.seen, self.pseudo = (
            _Holistic(shape[0], hidden, generator) if vectors else _Places(shape[0], top, generator) for _ in range(2)
        )
        self.residual = (
            NearestResidual(shape[0], hidden, n_references or 512, generator)
            if vectors
            else MapResidual(shape, hidden, top, n_references or 5, generator)
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if x.ndim == 2:
            return {name: getattr(self, name)(x) for name in SKIPPED}
        places = {name: head.pool(seen) for (name, head), seen in zip(self._map_heads(), self._look(x), strict=True)}
        return {"normality": self.normality(x), **places}

    def _map_heads(self) -> list[tuple[str, _Places]]:
        return [(name, head) for name in SKIPPED if isinstance(head := getattr(self, name), _Places)]

    def _look(self, x: Tensor) -> list[Tensor]:
        """The place scores of each map head: all that is linear in x, in one product that reads x once."""
        heads = [head for _, head in self._map_heads()]
        weights = [head.linear() for head in heads]
        found = (torch.cat(weights) @ x.flatten(2)).unflatten(-1, x.shape[2:])
        parts = found.split([len(w) for w in weights], dim=1)
        return [head.places(part) for head, part in zip(heads, parts, strict=True)]

    def total(self, heads: dict[str, Tensor]) -> Tensor:
        return heads["seen"] + heads["pseudo"] + heads["residual"] - heads["normality"]

    def loss(self, heads: dict[str, Tensor], kind: Tensor) -> Tensor:
        losses = []
        for name, scores in heads.items():
            y = (kind == NORMAL) if name == "normality" else (kind != NORMAL)
            learns = (kind != SKIPPED[name]).to(scores.dtype)
            losses.append(deviation(scores, y) * learns / learns.mean(-1, keepdim=True))
        return torch.stack(losses).sum(0)

    def penalty(self) -> Tensor:
        return self.l2 * torch.stack([p.square().sum() for p in self.parameters() if p.ndim > 1]).sum()

    def draw_references(self, x: Tensor, kind: Tensor, generator: torch.Generator) -> None:
        normal = x[kind == NORMAL]
        chosen = torch.randperm(len(normal), device=x.device, generator=generator)[: self.residual.n_references]
        self.residual.keep(normal[chosen.sort().values])

    def heat_map(self, x: Tensor) -> Tensor | None:
        return torch.stack(self._look(x)).sum(0) if x.ndim == 4 else None


class _Holistic(nn.Module):
    """|MLP| of a vector, or of the mean of a map over its places."""

    def __init__(self, channels: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.mlp = MLP((channels, hidden, 1), generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x.flatten(2).mean(-1) if x.ndim > 2 else x).squeeze(-1).abs()


class _Places(nn.Module):
    """The mean of the highest scores of a map's places, which start from ``linear() @ x``."""

    def __init__(self, channels: int, top: float, generator: torch.Generator) -> None:
        super().__init__()
        self.top = top
        self.head = PlaceHead(channels, generator)

    def linear(self) -> Tensor:
        """``[k, C]``."""
        return self.head.weight[None]

    def places(self, found: Tensor) -> Tensor:
        """``[n, H, W]`` of ``linear() @ x``, ``[n, k, H, W]``."""
        return (found.squeeze(1) + self.head.bias).abs()

    def pool(self, places: Tensor) -> Tensor:
        return top_mean(places.flatten(1), self.top)


class MapResidual(_Places):
    """The place scores of what sets a map apart from the mean of the reference normals.

    Residual, 3 x 3 convolution through a bottleneck of its own width (at C = 512 and 64
    channels a full one costs eight times as much), normalisation over each row, ReLU, place scores.

    Args:
        shape: ``(C, H, W)`` of the maps.
        width: channels of the convolution.
        top: share of the places that make the score.
        n_references: normals whose mean is the reference.
        generator: source of the initial weights.
    """

    def __init__(
        self, shape: tuple[int, ...], width: int, top: float, n_references: int, generator: torch.Generator
    ) -> None:
        super().__init__(width, top, generator)
        self.n_references = n_references
        self.narrow = linear(shape[0], width, generator, bias=False)
        self.conv = skip_init(nn.Conv2d, width, width, 3, padding=1, bias=False)
        bound = (9 * width) ** -0.5
        with torch.no_grad():
            self.conv.weight.uniform_(-bound, bound, generator=generator)
        self.norm = nn.GroupNorm(1, width)
        self.reference: Tensor
        self.register_buffer("reference", torch.zeros(shape))

    def keep(self, normal: Tensor) -> None:
        self.reference.copy_(normal.mean(0))

    def linear(self) -> Tensor:
        return self.narrow.weight

    def places(self, found: Tensor) -> Tensor:
        narrow = (self.narrow.weight @ self.reference.flatten(1)).view_as(found[0]) - found
        return self.head(torch.relu(self.norm(self.conv(narrow))))


class NearestResidual(nn.Module):
    """The distance of a vector to the nearest reference normal, sharpened by what is learned of the residual.

    With delta the distance, standardised by the references' own, and r = |x - nearest reference|, the score is
    a delta + MLP(r), where a = 1 and MLP = 0 at the start: it begins as the nearest-neighbour detector.

    In training mode the very nearest reference is left out, since it is the training normal itself or the normal
    that a pseudo anomaly is made of; what is then nearest is at the distance that a fresh row would see.

    Args:
        n_features: d of the vectors.
        hidden: width of the MLP.
        n_references: at most so many normals are kept.
        generator: source of the initial weights.
    """

    def __init__(self, n_features: int, hidden: int, n_references: int, generator: torch.Generator) -> None:
        super().__init__()
        self.n_references = n_references
        self.mlp = MLP((n_features, hidden, 1), generator)
        with torch.no_grad():
            for parameter in self.mlp.rest[-1].parameters():
                parameter.zero_()
        self.slope = nn.Parameter(torch.ones(()))
        self.references: Tensor
        self.level: Tensor
        self.register_buffer("references", torch.zeros(n_references, n_features))
        self.register_buffer("level", torch.tensor([0.0, 1.0]))

    def keep(self, normal: Tensor) -> None:
        self.references = normal.clone()
        own = self._residual(normal, skip=1).norm(dim=-1)
        self.level.copy_(torch.stack([own.mean(), (own.std(correction=0) + 1e-3 * own.mean()).clamp(min=1e-6)]))

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        """As many references as were kept."""
        if (kept := state_dict.get(f"{prefix}references")) is not None:
            self.references = self.references.new_zeros(kept.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _residual(self, x: Tensor, skip: int) -> Tensor:
        """``[n, d]`` difference to the nearest reference, or to the one after it."""
        square = self.references.square().sum(-1) - 2 * x @ self.references.T
        n_wanted = min(1 + skip, len(self.references))
        nearest = square.topk(n_wanted, dim=-1, largest=False).indices[:, -1]
        return x - self.references[nearest]

    def forward(self, x: Tensor) -> Tensor:
        residual = self._residual(x, skip=int(self.training))
        delta = (residual.norm(dim=-1) - self.level[0]) / self.level[1]
        return self.slope * delta + self.mlp(residual.abs()).squeeze(-1)
