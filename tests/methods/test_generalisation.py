"""Eqs. (5) to (7): who counts how much, and that a better model weighs more."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heterad.data.partition import Distribution
from heterad.methods.generalisation import Generalisation
from heterad.nn.importance import Importance

Y = np.array([0, 0, 0, 0, 1, 1])
SETS = [
    Distribution(np.array([0, 1]), np.array([4]), np.array([2, 3]), np.array([4, 5]), (0, 1)),
    Distribution(np.array([2]), np.array([4, 5]), np.array([3]), np.array([4, 5]), None),
]


def estimator(window: int | None = 2, temperature: float = 1.0) -> Generalisation:
    return Generalisation(SETS, Y, torch.Generator().manual_seed(0), window, temperature)


def test_errors_leave_out_the_normals_trained_on_and_halve_what_is_known() -> None:
    foretold = torch.tensor([[9.0, 0.2], [9.0, 0.4], [0.1, 9.0], [0.3, 0.0], [0.5, 1.0], [0.8, 0.7]])
    first = (0.5 * 0.1**2 + 0.5 * 0.3**2 + 0.5 * 0.5**2 + 1.0 * 0.2**2) / 4
    second = (0.5 * 0.2**2 + 0.5 * 0.4**2 + 0.5 * 0 + 0.5 * 0 + 0.5 * 0.3**2) / 5
    torch.testing.assert_close(estimator().errors(foretold), torch.tensor([first, second]))


@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_the_model_that_scores_better_weighs_more(temperature: float) -> None:
    good = torch.as_tensor(Y, dtype=torch.float32)
    scores = torch.stack([good, 1 - good], 1)
    watched = estimator(temperature=temperature)
    for _ in range(2):
        weights, errors = watched.look(scores)
        assert errors is None
        assert weights.tolist() == [0.5, 0.5]
    for _ in range(12):
        weights, errors = watched.look(scores)
    assert errors is not None
    assert errors[0] < 0.15 < 0.2 < errors[1]
    expected = torch.softmax(-torch.tensor(errors) / temperature, 0)
    torch.testing.assert_close(weights, expected)
    assert weights[0] > (0.9 if temperature < 1 else 0.55)


def test_the_first_look_already_foretells_the_errors_to_come() -> None:
    g = torch.Generator().manual_seed(3)
    y, truth = np.arange(60) % 2, torch.rand(60, 7, generator=g)
    halves = Distribution(np.arange(0, 30, 2), np.arange(1, 30, 2), np.arange(30, 60, 2), np.arange(1, 60, 2), None)
    watched = Generalisation([halves] * 7, y, torch.Generator().manual_seed(0), 3, 1.0)
    sharper = [truth + (i / 9) * (torch.as_tensor(y)[:, None] - truth) * torch.linspace(0, 1, 7) for i in range(5)]
    for scores in sharper[:4]:
        _, foretold = watched.look(scores)
    assert foretold is not None
    came = watched.errors(sharper[4])
    assert np.corrcoef(foretold, came.numpy())[0, 1] > 0.8


def test_without_a_window_all_weigh_alike() -> None:
    watched = estimator(window=None)
    for _ in range(9):
        weights, errors = watched.look(torch.rand(6, 2, generator=torch.Generator().manual_seed(1)))
        assert errors is None
        assert weights.tolist() == [0.5, 0.5]


def test_psi_reads_the_whole_sequence_from_a_zero_state() -> None:
    psi = Importance(3, torch.Generator().manual_seed(0))
    sequences = torch.rand(4, 5, 3, generator=torch.Generator().manual_seed(1)).requires_grad_()
    out = psi(sequences)
    assert torch.equal(out, psi(sequences))
    (slope,) = torch.autograd.grad(out.sum(), sequences)
    assert (slope != 0).any(-1).all()
    torch.testing.assert_close(out[:1], psi(sequences[:1]))
