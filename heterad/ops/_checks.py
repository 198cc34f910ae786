"""The checks of the public ops. Each message names the argument, what was expected and what came.

Values are looked at only where that synchronises no device: on CPU tensors, outside of tracing and of torch.func.
"""

from __future__ import annotations

from numbers import Real

import torch
from torch import Tensor

from heterad.ops._library import traced, transformed

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def floating(**tensors: object) -> torch.dtype:
    """All are floating tensors on one device; returns their common dtype."""
    first: Tensor | None = None
    first_name = ""
    dtype: torch.dtype | None = None
    for name, t in tensors.items():
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(t).__name__}")
        if t.dtype not in FLOATS:
            raise TypeError(f"{name}: expected a floating tensor (float32, float64, bfloat16, float16), got {t.dtype}")
        if t.layout is not torch.strided:
            raise TypeError(f"{name}: expected a dense tensor, got {t.layout}")
        if first is None:
            first, first_name, dtype = t, name, t.dtype
        elif t.device != first.device:
            raise ValueError(f"{name}: expected a tensor on {first.device} like {first_name}, got one on {t.device}")
        elif t.dtype != dtype:
            dtype = torch.promote_types(dtype, t.dtype)  # type: ignore[arg-type]
    assert dtype is not None
    return dtype


def number(name: str, value: object) -> float:
    """A number, which no derivative is taken by: a tensor's gradient would be lost without a word."""
    if type(value) is float:
        return value
    if not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    return float(value)


def at_least(rank: int, layout: str, **tensors: Tensor) -> None:
    for name, t in tensors.items():
        if t.ndim < rank:
            raise ValueError(f"{name}: expected shape {layout}, got {tuple(t.shape)}")


def shape(name: str, t: Tensor, expected: tuple[int, ...], like: str) -> None:
    if tuple(t.shape) != expected:
        raise ValueError(f"{name}: expected shape {expected} to match {like}, got {tuple(t.shape)}")


def mask(name: str, m: Tensor | None, expected: tuple[int, ...], like: Tensor) -> Tensor | None:
    """A boolean mask on `like`'s device that broadcasts to `expected`, expanded to it."""
    if m is None:
        return None
    if not isinstance(m, Tensor) or m.dtype != torch.bool:
        got = m.dtype if isinstance(m, Tensor) else type(m).__name__
        raise TypeError(f"{name}: expected a boolean tensor, got {got}")
    if m.device != like.device:
        raise ValueError(f"{name}: expected a tensor on {like.device}, got one on {m.device}")
    if tuple(m.shape) == expected:
        return m
    if m.ndim > len(expected) or any(a not in (1, b) for a, b in zip(m.shape[::-1], expected[::-1], strict=False)):
        raise ValueError(f"{name}: expected a shape that broadcasts to {expected}, got {tuple(m.shape)}")
    return m.expand(expected)


def per_task(name: str, t: Tensor, batch: tuple[int, ...]) -> Tensor:
    """A scalar, or one number a task: broadcast to the batch shape."""
    if t.shape == batch:
        return t
    if t.ndim > len(batch) or any(a not in (1, b) for a, b in zip(t.shape[::-1], batch[::-1], strict=False)):
        raise ValueError(
            f"{name}: expected a scalar or a shape that broadcasts to the batch {batch}, got {tuple(t.shape)}"
        )
    return t.expand(batch)


def cast(t: Tensor, dtype: torch.dtype) -> Tensor:
    """`t.to(dtype)`, which costs a microsecond or two even where it has nothing to do."""
    return t if t.dtype == dtype else t.to(dtype)


def visible(t: Tensor) -> bool:
    """True where the values of `t` can be looked at for free."""
    return t.device.type == "cpu" and not (traced() or transformed())


def not_negative(name: str, t: Tensor, *, zero: bool = True) -> None:
    """No entry is below zero (nor zero, where `zero` is False). NaN passes: ops propagate it."""
    if not visible(t):
        return
    low = t.item() if t.ndim == 0 else t.min().item() if t.numel() else 1.0
    if low < 0 or (low == 0 and not zero):
        raise ValueError(f"{name}: expected {'a number >= 0' if zero else 'a number > 0'}, got {low}")
