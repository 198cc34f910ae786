"""Options of a command that have no meaning for what it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any


def refuse(command: Callable[..., None], values: Mapping[str, Any], names: Collection[str], where: str) -> None:
    """Raise ValueError for the first option of a command, among ``names``, whose value is not the default.

    Example:
        >>> def command(rows: str, seed: int = 0, quick: bool = False) -> None: ...
        >>> refuse(command, {"rows": "a", "seed": 0, "quick": True}, {"seed", "quick"}, "for one row")
        Traceback (most recent call last):
        ValueError: quick: has no meaning for one row
    """
    for option in inspect.signature(command).parameters.values():
        if option.name in names and values[option.name] != option.default:
            raise ValueError(f"{option.name.replace('_', '-')}: has no meaning {where}")
