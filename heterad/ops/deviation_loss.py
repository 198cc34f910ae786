"""The deviation loss of DevNet, DRA and AHL."""

from __future__ import annotations

import torch
from torch import Tensor

from heterad.ops import _backend, _checks, reference

REDUCTIONS = ("mean", "sum", "none")


def _default_prior() -> tuple[float, float]:
    draws = torch.randn(5000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return draws.mean().item(), draws.std().item()


PRIOR = _default_prior()


def deviation_loss(
    scores: Tensor,
    y: Tensor,
    *,
    margin: float = 5.0,
    prior: tuple[float, float] | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Pull normal scores to the prior's mean and push anomalous ones `margin` standard deviations above it.

    With :math:`dev = (s - \mu_r)/\sigma_r` the loss of a score is :math:`|dev|` where `y` is 0 and
    :math:`\max(0, margin - dev)` where `y` is 1.

    Parameters
    ----------
    scores : Tensor, any shape
    y : Tensor, shape of `scores`
        0 normal, 1 anomaly; boolean, integer or floating. Not differentiated.
    margin : float
        Standard deviations that an anomaly should stand above the prior's mean, >= 0.
    prior : (float, float), optional
        (mu_r, sigma_r), sigma_r > 0. Default: the statistics of 5,000 draws of N(0, 1) from a fixed seed.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor [] or the shape of `scores` for "none"

    Raises
    ------
    TypeError
        `scores` is not a floating tensor or `y` not a tensor.
    ValueError
        Shapes or devices differ, `y` holds anything but 0 and 1 (looked at on the CPU only), `margin` or `prior` is out
        of range, or the mean of no score is asked for.

    Notes
    -----
    Forward and gradient in one pass, O(numel). Differentiable twice.
    Source: Pang et al. (KDD 2019), Eqs. (6) and (7); Zhu et al. (CVPR 2024).

    Examples
    --------
    >>> import torch, heterad
    >>> scores, y = torch.tensor([0.0, 1.0]), torch.tensor([0, 1])
    >>> heterad.ops.deviation_loss(scores, y, prior=(0.0, 1.0))
    tensor(2.)
    """
    dtype = _checks.floating(scores=scores)
    if not isinstance(y, Tensor):
        raise TypeError(f"y: expected a torch.Tensor, got {type(y).__name__}")
    _checks.shape("y", y, tuple(scores.shape), "scores")
    if y.device != scores.device:
        raise ValueError(f"y: expected a tensor on {scores.device} like scores, got one on {y.device}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if reduction == "mean" and scores.numel() == 0:
        raise ValueError(f"scores: expected at least one score for reduction='mean', got shape {tuple(scores.shape)}")
    if not 0 <= margin < float("inf"):
        raise ValueError(f"margin: expected a finite number >= 0, got {margin}")
    prior = PRIOR if prior is None else prior
    if not prior[1] > 0:
        raise ValueError(f"prior: expected (mean, standard deviation > 0), got {prior}")
    if _checks.visible(y) and not ((y == 0) | (y == 1)).all():
        odd = y[(y != 0) & (y != 1)].flatten()[0].item()
        raise ValueError(f"y: expected only 0 (normal) and 1 (anomaly), got {odd}")
    work = _backend.work_dtype(dtype, "reference")
    return reference.deviation_loss(scores.to(work), y, margin, prior, reduction).to(dtype)
