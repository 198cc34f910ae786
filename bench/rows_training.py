"""Builders of the rows on training and adaptation, which stand on the ops' correctness."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from rivals import training
from rivals.training import Meta
from row import Row
from torch import Tensor

NEEDS = ("robust_ridge", "smoothed_auc")


def _same_loss(inputs: Meta, dtype: torch.dtype) -> list[Tensor | None]:
    """The loss of the first step, from Algorithm 1 with the learner's weights."""
    part = inputs.to(dtype)
    return [training.rival_step(training.algorithm1(part), part)()[0]]


def _same_scores(inputs: Meta, dtype: torch.dtype) -> list[Tensor | None]:
    part = inputs.to(dtype)
    return [training.rival_adaptation(training.algorithm1(part), part)()[0]]


def step_row(d: int = training.D, **kwargs: Any) -> Row:
    return Row(
        "training step",
        "one task",
        partial(training.make, d=d),
        training.heterad_step,
        {
            "proto": lambda inputs: training.rival_step(training.proto(inputs), inputs),
            "algorithm 1": lambda inputs: training.rival_step(training.algorithm1(inputs), inputs),
        },
        _same_loss,
        needs=NEEDS,
        unlike=("proto",),
        **kwargs,
    )


def throughput_row(tasks_per_step: int = 32, d: int = training.D, **kwargs: Any) -> Row:
    steps = training.HETERAD_STEPS[kwargs.get("device", "cpu")]
    return Row(
        "training throughput",
        f"{tasks_per_step} tasks a step",
        partial(training.make, d=d),
        partial(training.heterad_training, tasks_per_step=tasks_per_step),
        {"algorithm 1": training.rival_training},
        needs=NEEDS,
        per_call={"heterad": steps * tasks_per_step, "algorithm 1": training.STEPS},
        unlike=("algorithm 1",),
        **kwargs,
    )


def adaptation_row(d: int = training.D, **kwargs: Any) -> Row:
    return Row(
        "adaptation and scoring",
        "one task",
        partial(training.make, d=d),
        training.heterad_adaptation,
        {
            "proto": lambda inputs: training.rival_adaptation(training.proto(inputs), inputs),
            "algorithm 1": lambda inputs: training.rival_adaptation(training.algorithm1(inputs), inputs),
            "detector": training.detector_adaptation,
        },
        _same_scores,
        needs=NEEDS,
        unlike=("proto", "detector"),
        **kwargs,
    )
