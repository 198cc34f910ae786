"""Training DevNet and DRA: that they learn, from whom, and that one seed gives one model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heterad.methods.supervised import Recipe, fit_scorer
from heterad.nn.devnet import DevNet
from heterad.nn.dra import DRA
from heterad.ops import roc_auc

SHORT = Recipe(epochs=8, lr=1e-2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors(n_anomalies: int = 5) -> tuple[torch.Tensor, np.ndarray, torch.Tensor, torch.Tensor]:
    """Normals near a plane, anomalies off it; training rows with labels, and test rows."""
    y = np.repeat([0, 1], [60, n_anomalies])
    truth = torch.cat([torch.as_tensor(y), torch.tensor([0] * 50 + [1] * 50)])
    latent = torch.randn(len(truth), 2, generator=generator(5))
    draw = latent @ torch.randn(2, 6, generator=generator(6)) + 0.1 * torch.randn(len(truth), 6, generator=generator(7))
    draw[:, 0] += 2 * truth
    return draw[: len(y)], y, draw[len(y) :], truth[len(y) :]


def maps() -> tuple[torch.Tensor, np.ndarray, torch.Tensor, torch.Tensor]:
    """A gradient with some noise, and anomalies with one bright place."""
    y = np.repeat([0, 1], [30, 5])
    truth = torch.cat([torch.as_tensor(y), torch.tensor([0] * 30 + [1] * 30)])
    draw = torch.linspace(-1, 1, 6) + 0.3 * torch.randn(len(truth), 3, 6, 6, generator=generator(5))
    draw[truth.bool(), :, 2:4, 3:5] += 2
    return draw[: len(y)], y, draw[len(y) :], truth[len(y) :]


@pytest.mark.parametrize("data", [vectors, maps])
@pytest.mark.parametrize("model", [DevNet, DRA])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_it_learns(model, data, optimizer: str) -> None:
    x, y, test, truth = data()
    scorer = model(tuple(x.shape[1:]), generator())
    loop = fit_scorer(scorer, x, y, generator(), Recipe(epochs=6, lr=1e-2, optimizer=optimizer))
    assert len(loop.history["loss"]) == 6
    assert loop.history["loss"][-1] < 0.9 * loop.history["loss"][0]
    assert not scorer.training
    with torch.no_grad():
        assert roc_auc(scorer.total(scorer(test)), truth) > 0.95


def test_without_anomalies_pseudo_anomalies_teach() -> None:
    x, y, test, truth = vectors(0)
    scorer = DRA((6,), generator())
    fit_scorer(scorer, x, y, generator(), Recipe(epochs=8, lr=1e-2, pseudo=False))
    with torch.no_grad():
        assert roc_auc(scorer.total(scorer(test)), truth) > 0.9


def test_the_epoch_of_the_lowest_loss_is_kept() -> None:
    x, y, _, _ = vectors()
    loop = fit_scorer(DevNet((6,), generator()), x, y, generator(), Recipe(epochs=6, lr=0.3, keep_best=True))
    lowest = int(np.argmin(loop.history["loss"]))
    assert loop.best_step == loop.history["step"][lowest]


def test_one_seed_gives_one_model_and_leaves_the_global_generator_alone() -> None:
    x, y, test, _ = vectors()
    before = torch.get_rng_state()
    scores = []
    for _ in range(2):
        scorer = DRA((6,), generator(3))
        fit_scorer(scorer, x, y, generator(4), SHORT)
        scores.append(scorer.total(scorer(test)))
    assert torch.equal(*scores)
    assert torch.equal(before, torch.get_rng_state())


def test_no_normals() -> None:
    with pytest.raises(ValueError, match=r"y: expected at least one normal \(0\), got none"):
        fit_scorer(DevNet((2,), generator()), torch.ones(3, 2), np.ones(3), generator(), SHORT)
