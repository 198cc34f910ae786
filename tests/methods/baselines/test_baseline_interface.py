"""What every baseline keeps to: shapes, masks, batches, seeds, gradients and named errors."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch

from heterad.data import TaskSet, toy_tasks
from heterad.methods import MetaLearner, meta_fit
from heterad.methods.baselines import BASELINES
from heterad.train import Settings

QUICK: dict[str, dict[str, Any]] = {"if": {"n_trees": 7}, **{name: {"n_iter": 4} for name in ("ae", "rae", "dagm")}}
META_LEARNED = [name for name, method in BASELINES.items() if method.meta_learned]
EVERY = pytest.mark.parametrize("name", BASELINES)


def make(name: str, n_features: int = 5, seed: int = 0, **options: Any) -> MetaLearner:
    return BASELINES[name](n_features, torch.Generator().manual_seed(seed), **QUICK.get(name, {}), **options)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def episodes(n_features: int = 5):
    toy = toy_tasks(3, 30, n_features=n_features)
    return TaskSet(toy.x, toy.y, toy.groups).sample(3, torch.Generator().manual_seed(0))


def test_all_eleven_are_there() -> None:
    assert list(BASELINES) == ["osvm", "if", "ae", "rae", "dagm", "np", "tnp", "maml", "proto", "rproto", "mc"]
    assert [n for n in BASELINES if n not in META_LEARNED] == ["osvm", "if", "ae", "rae", "dagm"]


@EVERY
def test_the_grid_is_of_settings_that_the_constructor_knows(name: str) -> None:
    method = BASELINES[name]
    assert len({tuple(setting.items()) for setting in method.GRID}) == len(method.GRID) >= 3
    for setting in method.GRID:
        learner = method(5, torch.Generator().manual_seed(0), **setting)
        assert learner.meta_learned == any(p.requires_grad for p in learner.parameters())


@EVERY
@pytest.mark.parametrize("tasks", [(), (1,), (4,), (2, 3)])
def test_shapes(name: str, tasks: tuple[int, ...]) -> None:
    learner = make(name)
    scores = learner.score(normal(*tasks, 3, 5, seed=1), learner.adapt(normal(*tasks, 7, 5)))
    assert scores.shape == (*tasks, 3)
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()


@EVERY
def test_tasks_of_different_sizes_in_a_batch_are_as_each_alone(name: str) -> None:
    sizes = (7, 12, 9)
    support, x = normal(3, 12, 5, dtype=torch.float64), normal(3, 4, 5, seed=1, dtype=torch.float64)
    mask = torch.arange(12) < torch.tensor(sizes)[:, None]
    learner = make(name).double()
    together = learner.score(x, learner.adapt(support, mask))
    for t, n in enumerate(sizes):
        alone = learner.score(x[t], learner.adapt(support[t, :n]))
        torch.testing.assert_close(together[t], alone, atol=1e-5, rtol=1e-5)


@EVERY
def test_padded_rows_change_nothing_and_the_support_is_not_written_to(name: str) -> None:
    support, x = normal(2, 9, 5, dtype=torch.float64), normal(2, 4, 5, seed=1, dtype=torch.float64)
    mask = torch.arange(9) < torch.tensor([[9], [6]])
    learner = make(name).double()
    before = support.clone()
    scores = learner.score(x, learner.adapt(support, mask))
    assert torch.equal(support, before)
    other = torch.where(mask[..., None], support, 1e3)
    torch.testing.assert_close(learner.score(x, learner.adapt(other, mask)), scores)


@pytest.mark.parametrize("name", [name for name in BASELINES if name not in ("if", "osvm")])
def test_the_order_of_the_support_does_not_matter(name: str) -> None:
    """But for a forest, which draws rows by their place, and the SVM, whose solver stops early."""
    support, x = normal(1, 9, 5, dtype=torch.float64), normal(1, 4, 5, seed=1, dtype=torch.float64)
    learner = make(name).double()
    flipped = learner.score(x, learner.adapt(support.flip(-2)))
    torch.testing.assert_close(flipped, learner.score(x, learner.adapt(support)), atol=1e-5, rtol=1e-5)


@EVERY
def test_a_seed_gives_the_same_scores_bit_for_bit_and_no_global_generator_is_touched(name: str) -> None:
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    support, x = normal(2, 9, 5), normal(2, 4, 5, seed=1)
    first, again, other = ((learner := make(name, seed=seed)).score(x, learner.adapt(support)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (name == "osvm")
    assert torch.equal(state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()  # noqa: NPY002


@pytest.mark.parametrize("name", META_LEARNED)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    learner = make(name)
    learner.loss(episodes()).sum().backward()
    assert [name for name, p in learner.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("name", META_LEARNED)
def test_scores_and_gradients_need_no_grad_mode_to_adapt(name: str) -> None:
    learner = make(name)
    drawn = episodes()
    with torch.no_grad():
        quiet = learner.auc(drawn)
    assert torch.equal(quiet, learner.auc(drawn))


@EVERY
def test_rows_of_another_length_and_no_rows_are_refused(name: str) -> None:
    learner = make(name)
    for shape in ((2, 7, 4), (2, 0, 5), (5,)):
        with pytest.raises(
            ValueError, match=rf"support: expected shape \[..., N, 5\] with N > 0, got {re.escape(str(shape))}"
        ):
            learner.adapt(torch.zeros(shape))
    with pytest.raises(ValueError, match="x: expected rows of length 5, got 4"):
        learner.score(normal(2, 3, 4), learner.adapt(normal(2, 7, 5)))


@pytest.mark.parametrize("name", [name for name in BASELINES if name not in META_LEARNED])
def test_what_learns_from_the_target_alone_refuses_to_be_meta_trained(name: str) -> None:
    learner = make(name)
    assert learner.auc(episodes()).shape == (3,)
    with pytest.raises(TypeError, match=f"meta-learned parameters, got {type(learner).__name__}"):
        learner.loss(episodes())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ae", {"n_iter": 0}, "n_iter: expected at least 1, got 0"),
        ("rae", {"lam": 0.0}, "lam: expected a number > 0, got 0.0"),
        ("dagm", {"n_iter": -1}, "n_iter: expected at least 1, got -1"),
        ("tnp", {"lam": -1.0}, "lam: expected a number > 0, got -1.0"),
        ("maml", {"n_iter": 0}, "n_iter: expected at least 1, got 0"),
        ("maml", {"step_size": 0.0}, "step_size: expected a number > 0, got 0.0"),
        ("mc", {"radius": 0.0}, "radius: expected a number > 0, got 0.0"),
        ("osvm", {"width": 0.0}, "width: expected a number > 0, got 0.0"),
    ],
)
def test_bad_settings_are_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BASELINES[name](5, torch.Generator().manual_seed(0), **options)


@pytest.mark.parametrize(("name", "options"), [("osvm", {"nu": 2.0}), ("if", {"n_trees": 0})])
def test_bad_settings_of_scikit_learn_are_named_by_it(name: str, options: dict[str, Any]) -> None:
    learner = BASELINES[name](5, torch.Generator().manual_seed(0), **options)
    with pytest.raises(ValueError, match=r"nu|n_estimators"):
        learner.adapt(normal(1, 7, 5))


@pytest.mark.parametrize("name", META_LEARNED)
def test_they_are_meta_trained_by_the_common_loop(name: str) -> None:
    toy = toy_tasks(4, 30, n_features=5)
    tasks = TaskSet(toy.x, toy.y, toy.groups)
    learner = make(name)
    loop = meta_fit(
        learner, tasks, torch.Generator().manual_seed(0), validation=tasks, settings=Settings(max_iter=4, eval_every=2)
    )
    assert loop.step == 4
    assert 0 <= loop.best_value <= 1
