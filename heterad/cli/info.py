"""``heterad info``."""

from __future__ import annotations

import platform

import torch

import heterad


def info() -> None:
    """Print versions, and which implementation serves each op on each device, and why."""
    print(
        f"heterad {heterad.__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, CUDA {'yes' if torch.cuda.is_available() else 'no'}"
    )
    print(heterad.ops.info())
