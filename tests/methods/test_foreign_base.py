"""AHL with base models that it has never heard of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heterad.methods.ahl import AHL, AHLRecipe
from heterad.nn.scorer import NORMAL, SEEN, as_scorer
from heterad.ops import roc_auc


class Classifier(nn.Module):
    """A network with the cross-entropy as its loss."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(d, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def loss(self, heads: dict[str, Tensor], kind: Tensor) -> Tensor:
        y = (kind != NORMAL).to(heads["score"].dtype)
        return F.binary_cross_entropy_with_logits(heads["score"], y, reduction="none")

    def probability(self, score: Tensor) -> Tensor:
        return score.sigmoid()


class Pairs(nn.Module):
    """Scores of pairs with known rows, as PReNet learns them: two anomalies 8, one of each 4, two normals 0."""

    def __init__(self, d: int, n_references: int = 8) -> None:
        super().__init__()
        self.n_references = n_references
        self.embed = nn.Sequential(nn.Linear(d, 16), nn.ReLU())
        self.relate = nn.Linear(32, 1)
        self.register_buffer("known", torch.zeros(2, n_references, d))

    def draw_references(self, x: Tensor, kind: Tensor, generator: torch.Generator) -> None:
        for side, label in enumerate((NORMAL, SEEN)):
            rows = x[kind == label]
            at = torch.randint(len(rows), (self.n_references,), device=x.device, generator=generator)
            self.known[side] = rows[at]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        own, known = self.embed(x), self.embed(self.known)
        left, right = self.relate.weight[0].chunk(2)
        score = (own @ left)[:, None] + (known @ right).mean(1) + self.relate.bias
        return {"with_normal": score[:, 0], "with_anomaly": score[:, 1]}

    def loss(self, heads: dict[str, Tensor], kind: Tensor) -> Tensor:
        odd = (kind != NORMAL).to(heads["with_normal"].dtype)
        return (heads["with_normal"] - 4 * odd).abs() + (heads["with_anomaly"] - 4 * odd - 4).abs()

    def probability(self, score: Tensor) -> Tensor:
        return ((score - 4) / 8).clamp(0, 1)


@pytest.mark.parametrize("base", [Classifier, Pairs])
def test_a_foreign_base_learns(base) -> None:
    g = torch.Generator().manual_seed(0)
    y = np.repeat([0, 1], [60, 6])
    x = torch.randn(166, 5, generator=g)
    truth = torch.arange(100) % 2
    x[60:66] += 3
    x[66:] += 3 * truth[:, None]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = as_scorer(base(5))
    recipe = AHLRecipe(epochs=4, batches=10, lr=1e-2, window=2)
    loop = AHL(model, x[:66], y, g, np.random.default_rng(0), recipe).fit()
    assert loop.history["r"][-1] is not None
    with torch.no_grad():
        assert roc_auc(model.total(model(x[66:])), truth) > 0.95


class Looks(nn.Sequential):
    """A network whose course depends on the rows."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > 0 else -x)


class Odd(nn.Sequential):
    """A network with something of its own that is not as it should be."""

    def __init__(self, **own) -> None:
        super().__init__(nn.Linear(5, 1), nn.Flatten(0))
        self.__dict__.update(own)


class Whole(nn.Module):
    """Rounds scores to whole numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x.round().long()


def short(module: nn.Module) -> AHL:
    g = torch.Generator().manual_seed(0)
    y, recipe = np.repeat([0, 1], [20, 4]), AHLRecipe(epochs=1, batches=1)
    return AHL(as_scorer(module), torch.randn(24, 5, generator=g), y, g, np.random.default_rng(0), recipe)


@pytest.mark.parametrize(
    "layers",
    [
        (nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)),
        (nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 1)),
        (nn.BatchNorm1d(5), nn.Linear(5, 1)),
        (Looks(nn.Linear(5, 1)),),
    ],
)
def test_a_base_that_cannot_be_stacked_is_refused(layers) -> None:
    with pytest.raises(ValueError, match=r"base: expected a forward that torch\.func\.vmap can run"):
        short(nn.Sequential(*layers, nn.Flatten(0))).fit()


@pytest.mark.parametrize(
    ("base", "message"),
    [
        (nn.Flatten(0, -1), "base: expected parameters to train, got none"),
        (Odd(forward=lambda x: {}), "base: expected scores, or a dictionary of them by head, got an empty one"),
        (Odd(loss=lambda heads, kind: 1.0), r"base: expected losses of shape \(7, 2\), one of each row, got float"),
        (Odd(loss=lambda heads, kind: heads["score"].detach()), "base: expected losses that depend on the parameters"),
        (Odd(total=lambda heads: heads["score"].sum()), r"base: expected total to give .* \(7, 2\), got \(\)"),
        (Odd(probability=lambda score: score.mean()), r"base: expected probability to give .* got \(\)"),
        (
            Odd(probability=lambda score: 2 + score.sigmoid()),
            r"base: expected probability .* 0 to 1, got 2\.\d+ to",
        ),
        (nn.Sequential(Odd(), Whole()), r"base: expected scores of floating numbers, got torch\.int64 \('score'\)"),
    ],
)
def test_a_base_that_is_not_as_said_is_named(base: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        short(base).fit()


def test_frozen_parameters_stay_in_every_model_and_references_are_drawn_once() -> None:
    drawn = []
    model = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1), nn.Flatten(0))
    model.draw_references = lambda *given: drawn.append(len(given))
    model[0].requires_grad_(False)
    kept = model[0].weight.clone()
    ahl = short(model)
    ahl.fit()
    assert drawn == [3]
    assert torch.equal(model[0].weight, kept)
    assert ahl.adapt([next(ahl.support.batches(torch.Generator().manual_seed(0)))]).shape == (7, 5)  # 4 weights, a bias
