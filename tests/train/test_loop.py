"""The loop: it minimises, stops early, keeps the best weights and resumes bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from heterad.train import Loop, Settings, read_tensors, write_tensors


def make(settings: Settings, *, width: int = 1, **options) -> Loop:
    model = nn.Linear(width, 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()

    def draw_loss(generator: torch.Generator) -> torch.Tensor:
        x = torch.rand(8, width, generator=generator)
        return (model(x) - x.sum(-1, keepdim=True) - 1).square().mean()

    return Loop(model, draw_loss, torch.Generator().manual_seed(0), settings, **options)


def test_it_minimises_and_records() -> None:
    loop = make(Settings(max_iter=230, lr=0.05, eval_every=50)).run()
    assert loop.step == loop.best_step == 230
    assert loop.history["step"] == [50, 100, 150, 200, 230]
    assert loop.history["validation"] == [None] * 5
    assert loop.history["loss"][-1] < 0.01 < loop.history["loss"][0]
    assert loop.history["seconds"] == sorted(loop.history["seconds"])
    assert loop.model.bias.item() == pytest.approx(1, abs=0.1)


def test_it_stops_when_the_validation_value_stays_down_and_keeps_the_best_weights() -> None:
    seen = []

    def validate() -> float:
        seen.append(loop.model.bias.item())
        return -abs(loop.step - 30)

    loop = make(Settings(max_iter=1000, eval_every=10, patience=4), validate=validate)
    loop.run()
    assert loop.stopped
    assert (loop.step, loop.best_step, loop.best_value) == (70, 30, 0)
    assert loop.model.bias.item() == seen[2]


def test_a_validation_value_that_is_nan_is_never_the_best() -> None:
    loop = make(Settings(max_iter=3, eval_every=1), validate=lambda: math.nan).run()
    assert loop.best_value == -math.inf
    assert loop.step == 3


def test_without_patience_it_trains_to_the_end() -> None:
    loop = make(Settings(max_iter=50, eval_every=1, patience=None), validate=lambda: 0.0).run()
    assert (loop.step, loop.best_step) == (50, 1)


def test_the_callback_sees_every_evaluation() -> None:
    steps: list[int] = []
    make(Settings(max_iter=25, eval_every=10), callback=lambda loop: steps.append(loop.step)).run()
    assert steps == [10, 20, 25]


OPTIONS = [{}, {"schedule": "cosine", "warm_up": 15, "averaging": 0.9}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("killed_at", [1, 3, 6])
def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path, killed_at: int, options: dict) -> None:
    settings = Settings(max_iter=80, lr=0.05, eval_every=10, patience=5, **options)

    def build(callback=None) -> Loop:
        loop = make(settings, width=3, callback=callback)
        loop.validate = lambda: -float(loop.model.weight.detach().sub(0.3).abs().sum())
        return loop

    file = tmp_path / "checkpoint"

    def save_and_die(loop: Loop) -> None:
        write_tensors(file, *loop.state())
        if len(loop.history["step"]) == killed_at:
            raise KeyboardInterrupt

    whole = build().run()
    with pytest.raises(KeyboardInterrupt):
        build(save_and_die).run()
    resumed = build().restore(*read_tensors(file)).run()
    assert resumed.step == whole.step
    assert resumed.best_step == whole.best_step
    for name in ("step", "loss", "validation"):
        assert resumed.history[name] == whole.history[name]
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_state_of_another_model_is_refused() -> None:
    state = make(Settings(max_iter=1), width=2).run().state()
    with pytest.raises(ValueError, match="expected that of this model"):
        make(Settings(), width=3).restore(*state)


def test_divergence_is_an_error() -> None:
    loop = make(Settings(max_iter=10, eval_every=5))
    with torch.no_grad():
        loop.model.weight.fill_(math.inf)
    with pytest.raises(ValueError, match="training diverged before step 5: expected a finite loss, got"):
        loop.run()


def test_a_system_that_cannot_be_solved_is_divergence() -> None:
    loop = make(Settings(max_iter=10))
    loop.draw_loss = lambda generator: torch.linalg.cholesky(-torch.eye(2)).sum()
    with pytest.raises(
        ValueError, match=r"training diverged at step 1: .* not positive-definite.*; scale the features"
    ):
        loop.run()


def test_the_learning_rate_follows_its_schedule() -> None:
    def rates(**options) -> list[float]:
        loop = make(Settings(max_iter=4, lr=0.1, **options))
        draw_loss, seen = loop.draw_loss, []

        def draw(generator: torch.Generator) -> torch.Tensor:
            seen.append(loop.optimizer.param_groups[0]["lr"])
            return draw_loss(generator)

        loop.draw_loss = draw
        loop.run()
        return seen

    assert rates() == [0.1] * 4
    assert rates(warm_up=2) == pytest.approx([0.05, 0.1, 0.1, 0.1])
    assert rates(schedule="cosine") == pytest.approx([0.1 * (1 + math.cos(math.pi * n / 4)) / 2 for n in range(4)])


def test_the_average_is_validated_and_kept_in_the_place_of_the_weights() -> None:
    def weights(loop: Loop) -> torch.Tensor:
        return torch.cat([p.detach().reshape(-1) for p in loop.model.parameters()])

    raw: list[torch.Tensor] = []
    make(Settings(max_iter=9, lr=0.1, eval_every=1), width=3, callback=lambda loop: raw.append(weights(loop))).run()
    average, averages = torch.zeros(4), []
    for step, w in enumerate(raw, 1):
        decay = min(0.5, (1 + step) / (10 + step))
        averages.append(average := decay * average + (1 - decay) * w)

    validated, called = [], []

    def validate() -> float:
        validated.append(weights(loop))
        return -abs(loop.step - 6)

    settings = Settings(max_iter=9, lr=0.1, eval_every=1, averaging=0.5)
    loop = make(settings, width=3, validate=validate, callback=lambda loop: called.append(weights(loop)))
    loop.run()
    assert torch.equal(torch.stack(called), torch.stack(raw))
    torch.testing.assert_close(torch.stack(validated), torch.stack(averages))
    assert torch.equal(weights(loop), validated[5])
    assert torch.equal(weights(make(settings, width=3).run()), validated[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "linear"}, "schedule: expected one of constant, cosine, got 'linear'"),
        ({"warm_up": -1}, "warm_up: expected an integer >= 0, got -1"),
        ({"warm_up": 0.5}, "warm_up: expected an integer >= 0, got 0.5"),
        ({"averaging": 1}, r"averaging: expected a number in \[0, 1\), got 1"),
        ({"averaging": "much"}, r"averaging: expected a number in \[0, 1\), got 'much'"),
    ],
)
def test_settings_out_of_range_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**options)
