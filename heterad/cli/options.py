"""Which options of a command were given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any


def changed(command: Callable[..., None], values: Mapping[str, Any]) -> list[str]:
    """The names of the options of a command whose values are not the default.

    Example:
        >>> def command(rows: str, seed: int = 0, quick: bool = False) -> None: ...
        >>> changed(command, {"rows": "a", "seed": 0, "quick": True})
        ['quick']
    """
    options = inspect.signature(command).parameters.values()
    return [o.name for o in options if o.default is not o.empty and values[o.name] != o.default]
