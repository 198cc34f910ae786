"""Checks with errors that name what they found wrong."""

from __future__ import annotations

from torch import Tensor


def at_least_one(name: str, value: int) -> int:
    """Return the value, or raise a ValueError that names it."""
    if value < 1:
        raise ValueError(f"{name}: expected at least 1, got {value}")
    return value


def positive(name: str, value: float) -> float:
    """Return the value, or raise a ValueError that names it."""
    if not value > 0:
        raise ValueError(f"{name}: expected a number > 0, got {value}")
    return value


def check_rows(support: Tensor, n_features: int) -> None:
    """Raise a ValueError unless there are rows, of length ``n_features``."""
    if support.ndim < 2 or support.shape[-1] != n_features or support.shape[-2] == 0:
        raise ValueError(f"support: expected shape [..., N, {n_features}] with N > 0, got {tuple(support.shape)}")
