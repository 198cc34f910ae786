"""The exact area under the ROC curve."""

from __future__ import annotations

import torch
from torch import Tensor

from heterad.ops import _checks, reference


def roc_auc(scores: Tensor, y: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""Share of (anomaly, normal) pairs that the scores order rightly, ties counting half.

    Parameters
    ----------
    scores : Tensor [..., N]
        Higher = more anomalous.
    y : Tensor [..., N]
        0 normal, 1 anomaly; boolean, integer or floating.
    mask : bool Tensor [..., N], optional
        True for real rows.

    Returns
    -------
    float64 Tensor [...]
        Equal to `sklearn.metrics.roc_auc_score`. NaN where a task of a batch (or, where values cannot be looked at for
        free, any task) lacks a class, and where a score is NaN. Not differentiable.

    Raises
    ------
    TypeError
        `scores` is not a floating tensor, `y` not a tensor, or `mask` not a boolean one.
    ValueError
        Shapes or devices differ, or an unbatched call on the CPU lacks a class or has a label other than 0 and 1.

    Notes
    -----
    O(N log N) time, O(N) memory.

    Examples
    --------
    >>> import torch, heterad
    >>> heterad.ops.roc_auc(torch.tensor([0.1, 0.4, 0.4, 0.8]), torch.tensor([0, 0, 1, 1]))
    tensor(0.8750, dtype=torch.float64)
    """
    _checks.floating(scores=scores)
    _checks.at_least(1, "[..., N]", scores=scores)
    if not isinstance(y, Tensor):
        raise TypeError(f"y: expected a torch.Tensor, got {type(y).__name__}")
    _checks.shape("y", y, tuple(scores.shape), "scores")
    if y.device != scores.device:
        raise ValueError(f"y: expected a tensor on {scores.device} like scores, got one on {y.device}")
    mask = _checks.mask("mask", mask, tuple(scores.shape), scores)
    with torch.no_grad():
        auc = reference.roc_auc(scores, y, mask)
    if scores.ndim == 1 and _checks.visible(scores) and torch.isnan(auc) and not torch.isnan(scores).any():
        n = int((y != 0).sum() if mask is None else ((y != 0) & mask).sum())
        raise ValueError(f"y: expected anomalies and normals, got {n} anomalies among {len(y)} rows")
    return auc
