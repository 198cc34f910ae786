"""The exact area under the ROC curve."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from heterad.ops import _backend, _checks, _labels, reference
from heterad.ops._library import Op, address

LARGE = 1 << 12  # scores of one task from which sorting by NumPy is faster (measured)


def roc_auc(scores: Tensor, y: Tensor, *, mask: Tensor | None = None) -> Tensor:
    """Share of (anomaly, normal) pairs that the scores order rightly, ties counting half.

    Args:
        scores: ``[..., N]``, higher = more anomalous.
        y: labels ``[..., N]``: 0 normal, 1 anomaly; boolean, integer or floating.
        mask: bool ``[..., N]``, True for real rows; None: all are.

    Returns:
        float64 tensor ``[...]``, equal to ``sklearn.metrics.roc_auc_score``. NaN where a task of a batch (or, where
        values cannot be looked at for free, any task) lacks a class, and where a real score is NaN. Not
        differentiable.

    Raises:
        TypeError: ``scores`` is not a floating tensor, ``y`` not a tensor of labels, or ``mask`` not a boolean one.
        ValueError: shapes or devices differ; on the CPU also: a real row's label is neither 0 nor 1, or an unbatched
            call lacks a class.

    Cost:
        On the CPU a sort of each class (one large task by NumPy, others by radix) and a merge that counts in integers:
        O(N log N) time, 16 bytes a score (32 in float64).

    Example:
        >>> import torch, heterad
        >>> heterad.ops.roc_auc(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 0, 1, 1]))
        tensor(0.8750, dtype=torch.float64)
    """
    _checks.floating(scores=scores)
    _checks.at_least(1, "[..., N]", scores=scores)
    _labels.check(y, scores)
    mask = _checks.mask("mask", mask, tuple(scores.shape), scores)
    backend = _backend.choose("roc_auc", scores.device.type)
    scores = scores.detach().to(_backend.work_dtype(scores.dtype, backend))
    if backend == "reference":
        _labels.check_values(y, mask)
        auc = reference.roc_auc(scores, y, mask)
    else:
        auc = _op(scores, y, mask)
    if scores.ndim == 1 and _checks.visible(scores) and torch.isnan(auc):
        real = torch.ones_like(y, dtype=torch.bool) if mask is None else mask
        n_real, n_pos = int(real.sum()), int(((y != 0) & real).sum())
        if n_pos in (0, n_real):
            raise ValueError(f"y: expected anomalies and normals, got {n_pos} anomalies among {n_real} rows")
    return auc


def _cpp(scores: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
    from heterad import _C

    scores, y = scores.contiguous(), y.contiguous()
    mask = None if mask is None else mask.contiguous()
    if scores.ndim == 1 and len(scores) >= LARGE:
        return scores.new_tensor(_large(scores, y, mask), dtype=torch.float64)
    auc = scores.new_empty(scores.shape[:-1], dtype=torch.float64)
    odd = _C.roc_auc(
        scores.dtype == torch.float64, scores.data_ptr(), *_labels.layout(y), address(mask),
        auc.data_ptr(), auc.numel(), scores.shape[-1], torch.get_num_threads(),
    )  # fmt: skip
    if odd >= 0:
        _labels.refuse(y.view(-1)[odd])
    return auc


def _large(scores: Tensor, y: Tensor, mask: Tensor | None) -> float:
    """One task, by NumPy's vectorised sort, both classes at once."""
    from heterad import _C

    parted, threads = torch.empty_like(scores), torch.get_num_threads()
    f64 = scores.dtype == torch.float64
    odd, n_pos, n_neg = _C.roc_auc_part(
        f64, scores.data_ptr(), *_labels.layout(y), address(mask), parted.data_ptr(),
        len(scores), threads,
    )  # fmt: skip
    if odd >= 0:
        _labels.refuse(y[odd])
    if not (n_pos and n_neg):
        return math.nan
    pos, neg = parted[:n_pos], parted[n_pos : n_pos + n_neg]
    for part in pos, neg:
        part.numpy().sort()
    return _C.roc_auc_sorted(f64, pos.data_ptr(), n_pos, neg.data_ptr(), n_neg, threads)


_op = Op(
    "roc_auc(Tensor scores, Tensor y, Tensor? mask) -> Tensor",
    kernels={"cpp": _cpp},
    fake=lambda scores, y, mask: scores.new_empty(scores.shape[:-1], dtype=torch.float64),
)
