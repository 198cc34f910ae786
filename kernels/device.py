"""Where kernels are launched: on the tensor's device, in its current stream."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

_HERE = contextlib.nullcontext()


def on(t: Tensor) -> contextlib.AbstractContextManager[object]:
    """Launches go to the current device: make it the tensor's. Free where it is that already."""
    return _HERE if not t.is_cuda or t.get_device() == torch.cuda.current_device() else torch.cuda.device(t.device)


def stream(t: Tensor) -> int:
    """The handle of the current stream of the tensor's device."""
    return torch._C._cuda_getCurrentRawStream(t.get_device())
