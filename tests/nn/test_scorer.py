"""DevNet, DRA and foreign scorers: shapes, losses, and the heads that published code got wrong."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from heterad.nn.devnet import DevNet
from heterad.nn.dra import DRA
from heterad.nn.scorer import NORMAL, PSEUDO, SEEN, Scorer, as_scorer, top_mean

VECTOR, MAP = (7,), (5, 6, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(shape: tuple[int, ...], n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(n, *shape, generator=generator(1))
    return x, torch.tensor([NORMAL, SEEN, PSEUDO] * (n // 3))


def built(model, shape: tuple[int, ...]) -> Scorer:
    scorer = model(shape, generator())
    scorer.draw_references(*rows(shape), generator())
    return scorer


@pytest.mark.parametrize("shape", [VECTOR, MAP, (3, 1, 1)])
@pytest.mark.parametrize("model", [DevNet, DRA])
def test_every_parameter_learns_and_a_row_scores_alone_as_in_a_batch(model, shape: tuple[int, ...]) -> None:
    scorer = built(model, shape)
    x, kind = rows(shape)
    with torch.no_grad():
        for p in scorer.parameters():  # leave the starting point, where a zero layer holds back those before it
            p.add_(0.1 * torch.randn(p.shape, generator=generator(2)))
    heads = scorer(x)
    assert {tuple(h.shape) for h in heads.values()} == {(12,)}
    scorer.loss(heads, kind).mean().backward()
    assert [n for n, p in scorer.named_parameters() if p.grad is None or not p.grad.any()] == []
    scorer.eval()
    alone = torch.cat([scorer.total(scorer(x[i : i + 1])) for i in range(len(x))])
    torch.testing.assert_close(scorer.total(scorer(x)), alone)


@pytest.mark.parametrize("shape", [VECTOR, MAP])
def test_heads_of_dra_learn_on_their_own_kinds(shape: tuple[int, ...]) -> None:
    dra = built(DRA, shape)
    x, kind = rows(shape)
    for name, skipped in (("seen", PSEUDO), ("pseudo", SEEN)):
        dra.zero_grad()
        dra.loss(dra(x), kind)[kind == skipped].sum().backward()
        assert not any(p.grad is not None and p.grad.any() for p in getattr(dra, name).parameters())
        assert any(p.grad.any() for p in dra.normality.parameters())


@pytest.mark.parametrize("shape", [(5, 6, 4), (5, 7, 3), (5, 1, 4)])
def test_devnet_looks_at_maps_at_two_resolutions(shape: tuple[int, ...]) -> None:
    devnet = built(DevNet, shape).double()
    x = rows(shape)[0].double()
    scales = [x, nn.functional.avg_pool2d(x, 2)] if min(shape[1:]) > 1 else [x]
    places = [(torch.einsum("c,nchw->nhw", devnet.score.weight, part) + devnet.score.bias).abs() for part in scales]
    wanted = torch.stack([top_mean(p.flatten(1), devnet.top) for p in places]).mean(0)
    torch.testing.assert_close(devnet(x)["score"], wanted, rtol=1e-12, atol=1e-12)


def test_dra_calls_the_abnormal_anomalous_in_every_head() -> None:
    dra = DRA(VECTOR, generator())
    heads = {name: torch.tensor([0.0, 5.0]) for name in ("seen", "pseudo", "residual")}
    heads["normality"] = torch.tensor([5.0, 0.0])
    kind = torch.tensor([NORMAL, SEEN])
    assert dra.total(heads).tolist() == [-5, 15]
    assert dra.loss(heads, kind).max() < 0.1
    assert dra.loss({name: h.flip(0) for name, h in heads.items()}, kind).min() > 9


def test_the_residual_of_vectors_starts_as_the_nearest_neighbour_distance() -> None:
    dra = built(DRA, VECTOR).eval()
    x = torch.randn(40, *VECTOR, generator=generator(3))
    nearest = torch.cdist(x, dra.residual.references).amin(1)
    torch.testing.assert_close(dra.residual(x), (nearest - dra.residual.level[0]) / dra.residual.level[1])


def test_the_residual_leaves_the_row_itself_out_while_training() -> None:
    dra = built(DRA, VECTOR)
    references = dra.residual.references
    others = torch.cdist(references, references).fill_diagonal_(torch.inf).amin(1)
    expected = (others - others.mean()) / dra.residual.level[1]
    torch.testing.assert_close(dra.residual(references), expected, atol=1e-5, rtol=1e-5)
    assert (dra.eval().residual(references) < -others.mean() / dra.residual.level[1] + 1e-3).all()


def test_the_residual_of_maps_moves_with_the_reference() -> None:
    dra = built(DRA, MAP)
    x, kind = rows(MAP)
    torch.testing.assert_close(dra.residual.reference, x[kind == NORMAL].mean(0))
    assert (dra.residual.norm.weight == 1).all()


def test_heat_maps_point_at_the_odd_place() -> None:
    for model in (DevNet, DRA):
        scorer = built(model, MAP)
        x = torch.zeros(1, *MAP)
        x[0, :, 4, 1] = 50.0
        heat = scorer.heat_map(x)
        assert heat is not None
        assert heat.shape == (1, 6, 4)
        assert built(model, VECTOR).heat_map(torch.zeros(1, *VECTOR)) is None
    assert heat[0].argmax() == 4 * 4 + 1


def test_top_mean_takes_at_least_one_place() -> None:
    scores = torch.tensor([[1.0, 5.0, 3.0, 2.0]])
    assert top_mean(scores, 0.01).tolist() == [5]
    assert top_mean(scores, 0.5).tolist() == [4]
    assert top_mean(scores, 1.0).tolist() == [2.75]


def test_probabilities_do_not_punish_a_score_beyond_the_margin() -> None:
    p = DevNet(VECTOR, generator()).probability(torch.tensor([-5.0, 0.0, 2.5, 5.1, 15.0]))
    assert p[0] == 0
    assert p[3:].tolist() == [1, 1]
    assert 0.45 < p[2] < 0.55


def test_a_foreign_module_becomes_a_scorer_with_its_own_loss() -> None:
    class Foreign(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(3, 1)

        def forward(self, x):
            return self.line(x).squeeze(-1)

        def loss(self, heads, kind):
            return heads["score"] * 0 + 7

    scorer = as_scorer(Foreign())
    heads = scorer(torch.ones(4, 3))
    assert list(heads) == ["score"]
    assert scorer.loss(heads, torch.zeros(4)).tolist() == [7] * 4
    assert as_scorer(scorer) is scorer
    assert float(scorer.penalty()) == 0


@pytest.mark.parametrize("found", [lambda x: x, lambda x: {"a": x[:, 0], "b": x[:1, 0]}, lambda x: "no"])
def test_a_base_of_the_wrong_shape_is_named(found) -> None:
    class Wrong(nn.Module):
        def forward(self, x):
            return found(x)

    with pytest.raises(ValueError, match=r"base: expected scores of shape \(4,\) for 4 rows, got"):
        as_scorer(Wrong())(torch.ones(4, 3))


def test_a_base_that_is_no_module_is_named() -> None:
    with pytest.raises(TypeError, match=r"base: expected a torch\.nn\.Module, got function"):
        as_scorer(lambda x: x)  # type: ignore[arg-type]
