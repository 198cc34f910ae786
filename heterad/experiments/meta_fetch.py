"""Where the data sets of Kumagai et al. (2023) come from."""

from __future__ import annotations

from pathlib import Path

WHERE = {name: "" for name in ("omniglot", "mnist_r", "isolet", "iot")}


def fetched(name: str) -> Path:
    raise FileNotFoundError(name)
