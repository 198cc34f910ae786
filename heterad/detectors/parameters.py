"""Checks of a detector's options, once, when it is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch

from heterad.detectors.thresholds import check_share

COUNTS = (
    *("n_iter", "task_dim", "embed_dim", "hidden", "tasks_per_step", "max_iter", "eval_every"),
    *("epochs", "batches", "batch_size", "inner_steps", "n_clusters"),
)
OPTIONAL_COUNTS = ("support_size", "query_size", "patience", "n_references", "window")
POSITIVE = ("lam_init", "mu_init", "lr", "inner_lr", "temperature", "top")
SHARES = ("contamination", "validation_fraction", "l2")


def check_parameters(detector: Any) -> None:
    """Raise TypeError or ValueError naming the first option of ``detector`` that is out of range.

    A name means the same in every detector; those that a detector does not have are passed over, and so is None where
    it is the default.
    """
    known = signature(type(detector)).parameters
    options = detector.get_params(deep=False).items()
    check_numbers({name: value for name, value in options if value is not None or known[name].default is not None})
    check_device(detector.device)


def check_numbers(options: Mapping[str, Any]) -> None:
    """Raise TypeError or ValueError naming the first of the options, by name, that is out of range."""
    for name in [name for name in COUNTS + OPTIONAL_COUNTS if name in options]:
        value = options[name]
        if value is None and name in OPTIONAL_COUNTS:
            continue
        if not isinstance(value, Integral) or isinstance(value, bool):
            raise TypeError(f"{name}: expected an integer, got {value!r}")
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    for name in [name for name in POSITIVE + SHARES if name in options]:
        value = options[name]
        if not isinstance(value, Real) or isinstance(value, bool):
            raise TypeError(f"{name}: expected a number, got {value!r}")
        if name in SHARES:
            check_share(name, float(value))
        elif not 0 < float(value) < float("inf"):
            raise ValueError(f"{name}: expected a finite number above 0, got {value}")
        elif name == "top" and float(value) > 1:
            raise ValueError(f"{name}: expected a share above 0 and of at most 1, got {value}")


def check_device(device: str | torch.device | None) -> torch.device:
    """The device to compute on; raise unless it is there."""
    try:
        found = torch.device("cpu" if device is None else device)
    except RuntimeError:
        found = None
    here = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if found is None or str(found) not in [*here, *(["cuda"] if len(here) > 1 else [])]:
        raise ValueError(f"device: expected one of {', '.join(here)}, got {device!r}")
    return found


def seeds(random_state: int | np.random.RandomState | None) -> list[int]:
    """Three independent seeds: of the initial weights, of the tasks drawn, of the validation tasks.

    The global state of NumPy is never used: None takes entropy from the operating system.
    """
    if isinstance(random_state, np.random.RandomState):
        entropy: int | None = int(random_state.randint(2**31))
    elif random_state is None or (isinstance(random_state, Integral) and random_state >= 0):
        entropy = None if random_state is None else int(random_state)
    else:
        raise ValueError(f"random_state: expected an integer >= 0, a RandomState or None, got {random_state!r}")
    return [int(seed) for seed in np.random.SeedSequence(entropy).generate_state(3)]
