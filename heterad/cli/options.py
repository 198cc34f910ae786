"""Options of a command in errors: those that have no meaning for what it is given, and how each is spelled."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
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
            raise ValueError(f"{option.name}: has no meaning {where}")


def as_typed(command: Callable[..., None], message: str, arguments: Sequence[str] = ()) -> str:
    """An error's message with the option that it begins with, if any, spelled as on the command line.

    A message about one of the ``arguments``, such as a folder of an option's name, stays as it is.

    Example:
        >>> def command(rows: str, max_iter: int = 0) -> None: ...
        >>> as_typed(command, "max_iter: expected at least 1, got 0")
        'max-iter: expected at least 1, got 0'
        >>> as_typed(command, "max_iter: expected a file, got nothing there", ["max_iter"])
        'max_iter: expected a file, got nothing there'
    """
    name, _, rest = message.partition(": ")
    for option in inspect.signature(command).parameters.values():
        group = fields(option.default) if is_dataclass(option.default) else ()
        typed = {option.name: option.name} | {field.name: f"{option.name}.{field.name}" for field in group}
        if rest and name in typed and name not in arguments:
            return f"{typed[name].replace('_', '-')}: {rest}"
    return message
