"""Labels 0 and 1 in any dtype: checked once, and read by the compiled kernels as they lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from heterad.ops import _checks

# dtype -> (bit pattern of 1, bits of the sign of zero)
_BITS = {
    torch.float64: (0x3FF0000000000000, 1 << 63),
    torch.float32: (0x3F800000, 1 << 31),
    torch.float16: (0x3C00, 1 << 15),
    torch.bfloat16: (0x3F80, 1 << 15),
}
_WHOLE = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check(y: Tensor, scores: Tensor) -> None:
    """`y` is a tensor of labels of the shape and device of `scores`; its values are not looked at."""
    if not isinstance(y, Tensor):
        raise TypeError(f"y: expected a torch.Tensor, got {type(y).__name__}")
    if y.dtype not in _BITS and y.dtype not in _WHOLE:
        raise TypeError(f"y: expected a boolean, integer or floating tensor, got {y.dtype}")
    _checks.shape("y", y, tuple(scores.shape), "scores")
    if y.device != scores.device:
        raise ValueError(f"y: expected a tensor on {scores.device} like scores, got one on {y.device}")


def check_values(y: Tensor, mask: Tensor | None = None) -> None:
    """Every label (that `mask` leaves) is 0 or 1, looked at where that is free; the C++ kernels do it as they read."""
    if not _checks.visible(y):
        return
    odd = (y != 0) & (y != 1)
    if mask is not None:
        odd &= mask
    if odd.any():
        refuse(y[odd].flatten()[0])


def refuse(label: Tensor) -> None:
    raise ValueError(f"y: expected only 0 (normal) and 1 (anomaly), got {label.item()}")


def layout(y: Tensor) -> tuple[int, int, int, int]:
    """(address, bytes per label, bit pattern of 1, sign bit) of contiguous labels, as csrc/labels.h reads them."""
    return (y.data_ptr(), y.element_size(), *_BITS.get(y.dtype, (1, 0)))
