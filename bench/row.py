"""A row of the bench: one job at one size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from rivals.base import Call
from torch import Tensor

Provider = Callable[[Any], Call]
Exact = Callable[[Any, torch.dtype], "list[Tensor | None]"]


@dataclass(frozen=True)
class Row:
    """One job at one size.

    `exact(inputs, dtype)` gives what the outputs and gradients must be in plain torch of that dtype: per output its
    leading entries, or None where they are not worth computing. `flops`, `moved` (bytes) or `special` (special
    functions) set the floor. `per_call` divides a provider's time where a call does several units of work. `point`
    places the row in the scaling picture of its op. `needs` names the ops whose correctness the row stands on.
    """

    op: str
    size: str
    make: Callable[[str], Any]
    ours: Provider
    rivals: Mapping[str, Provider]
    exact: Exact | None = None
    device: str = "cpu"
    flops: float = 0.0
    moved: float = 0.0
    special: float = 0.0
    per_call: Mapping[str, float] = field(default_factory=dict)
    point: float | None = None
    smoke: bool = False
    needs: tuple[str, ...] = ()
    reference_can: bool = True
    unlike: tuple[str, ...] = ()  # rivals that compute something else by design

    @property
    def name(self) -> str:
        return f"{self.op} {self.size}"

    @property
    def has_floor(self) -> bool:
        return bool(self.flops or self.moved or self.special)

    @property
    def id(self) -> str:
        return "-".join([*(["smoke"] if self.smoke else []), self.device, self.name])
