"""``heterad info``."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import torch
import tyro

import heterad
from heterad.detectors.card import model_card

Model = Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[MODEL]")]


def info(model: Model = None) -> None:
    """Print versions, and which implementation serves each op on each device, and why; or a model's card.

    Args:
        model: File that heterad fit wrote.
    """
    if model is not None:
        print(model_card(model))
        return
    print(
        f"heterad {heterad.__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, CUDA {'yes' if torch.cuda.is_available() else 'no'}"
    )
    print(heterad.ops.info())
