"""The deviation loss of DevNet, DRA and AHL."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from heterad.ops import _backend, _checks, _labels, reference
from heterad.ops._library import Op

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
    r"""Pull normal scores to the prior's mean and push anomalous ones ``margin`` standard deviations above it.

    With :math:`dev = (s - \mu_r)/\sigma_r` the loss of a score is :math:`|dev|` where ``y`` is 0 and
    :math:`\max(0, margin - dev)` where ``y`` is 1.

    Args:
        scores: tensor of any shape.
        y: labels of the shape of ``scores``: 0 normal, 1 anomaly; boolean, integer or floating. Not differentiated.
        margin: standard deviations that an anomaly should stand above the prior's mean, >= 0.
        prior: ``(mu_r, sigma_r)``, sigma_r > 0; None: the statistics of 5,000 draws of N(0, 1) from a fixed seed.
        reduction: "mean", "sum" or "none".

    Returns:
        Tensor ``[]``, or of the shape of ``scores`` for "none".

    Raises:
        TypeError: ``scores`` is not a floating tensor, ``y`` not a tensor of labels, ``margin`` not a number or
            ``prior`` not two.
        ValueError: shapes or devices differ, ``y`` holds anything but 0 and 1 (looked at on the CPU only), ``margin``
            or ``prior`` is out of range, or the mean of no score is asked for.

    Cost:
        One pass forward, one backward that reads scores and labels again: O(numel) time, no memory beyond the
        results. Differentiable twice.

    Source:
        Pang et al. (KDD 2019), Eqs. (6) and (7); Zhu et al. (CVPR 2024).

    Example:
        >>> import torch, heterad
        >>> scores, y = torch.tensor([0.0, 1.0]), torch.tensor([0, 1])
        >>> heterad.ops.deviation_loss(scores, y, prior=(0.0, 1.0))
        tensor(2.)
    """
    dtype = _checks.floating(scores=scores)
    _labels.check(y, scores)
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction: expected one of {', '.join(REDUCTIONS)}, got {reduction!r}")
    if reduction == "mean" and scores.numel() == 0:
        raise ValueError(f"scores: expected at least one score for reduction='mean', got shape {tuple(scores.shape)}")
    margin = _checks.number("margin", margin)
    if not 0 <= margin < float("inf"):
        raise ValueError(f"margin: expected a finite number >= 0, got {margin}")
    if prior is None:
        prior = PRIOR
    elif not isinstance(prior, (tuple, list)) or len(prior) != 2:
        raise TypeError(f"prior: expected (mean, standard deviation > 0), got {prior!r}")
    prior = _checks.number("prior", prior[0]), _checks.number("prior", prior[1])
    if not prior[1] > 0:
        raise ValueError(f"prior: expected (mean, standard deviation > 0), got {prior}")
    backend = _backend.choose("deviation_loss", scores.device.type)
    work = _backend.work_dtype(dtype, backend)
    scores = _checks.cast(scores, work)
    if backend == "reference":
        _labels.check_values(y)
        return _checks.cast(reference.deviation_loss(scores, y, margin, prior, reduction), dtype)
    return _checks.cast(_op(scores, y, margin, *prior, reduction), dtype)


def _fake(scores: Tensor, y: Tensor, margin: float, mu: float, sigma: float, reduction: str) -> Tensor:
    return (
        torch.empty_like(scores, memory_format=torch.contiguous_format) if reduction == "none" else scores.new_empty(())
    )


def _cpp(scores: Tensor, y: Tensor, margin: float, mu: float, sigma: float, reduction: str) -> Tensor:
    from heterad import _C

    scores, y = scores.contiguous(), y.contiguous()
    loss = _fake(scores, y, margin, mu, sigma, reduction)
    odd = _C.deviation_loss_fwd(
        scores.dtype == torch.float64, scores.data_ptr(), *_labels.layout(y), margin, mu, sigma,
        REDUCTIONS.index(reduction), loss.data_ptr(), scores.numel(), torch.get_num_threads(),
    )  # fmt: skip
    if odd >= 0:
        _labels.refuse(y.view(-1)[odd])
    return loss


def _cpp_bwd(scores: Tensor, y: Tensor, margin: float, mu: float, sigma: float, reduction: str, grad: Tensor) -> Tensor:
    from heterad import _C

    scores, y, grad = scores.contiguous(), y.contiguous(), grad.contiguous()
    out = torch.empty_like(scores)
    _C.deviation_loss_bwd(
        scores.dtype == torch.float64, scores.data_ptr(), *_labels.layout(y), margin, mu, sigma,
        REDUCTIONS.index(reduction), grad.data_ptr(), out.data_ptr(), scores.numel(), torch.get_num_threads(),
    )  # fmt: skip
    return out


def _triton(scores: Tensor, y: Tensor, margin: float, mu: float, sigma: float, reduction: str) -> Tensor:
    from heterad.kernels import deviation_loss as kernel

    return kernel.deviation_loss_fwd(scores.contiguous(), y.contiguous(), margin, mu, sigma, reduction)


def _triton_bwd(
    scores: Tensor, y: Tensor, margin: float, mu: float, sigma: float, reduction: str, grad: Tensor
) -> Tensor:
    from heterad.kernels import deviation_loss as kernel

    scores, y, grad = scores.contiguous(), y.contiguous(), grad.contiguous()
    return kernel.deviation_loss_bwd(scores, y, margin, mu, sigma, reduction, grad)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.constants = inputs[2:6]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    scores, y = ctx.saved_tensors
    return _op_bwd(scores, y, *ctx.constants, grad), None, None, None, None, None


def _backward_twice(ctx: Any, grad_grad: Tensor) -> tuple[Tensor | None, ...]:
    """The loss is piecewise linear: nothing flows to the scores, and the slopes flow to the incoming gradient."""
    scores, y = ctx.saved_tensors
    *prior, reduction = ctx.constants
    weighted = grad_grad * _op_bwd(scores, y, *prior, "none", torch.ones_like(scores))
    if reduction != "none":
        weighted = weighted.mean() if reduction == "mean" else weighted.sum()
    still = torch.zeros_like(scores) if ctx.needs_input_grad[0] else None
    return still, None, None, None, None, None, weighted


_op_bwd = Op(
    "deviation_loss_bwd(Tensor scores, Tensor y, float margin, float mu, float sigma, str reduction, Tensor grad) "
    "-> Tensor",
    kernels={"cpp": _cpp_bwd, "triton": _triton_bwd},
    fake=lambda scores, *_: torch.empty_like(scores, memory_format=torch.contiguous_format),
    save=_save,
    backward=_backward_twice,
)
_op = Op(
    "deviation_loss(Tensor scores, Tensor y, float margin, float mu, float sigma, str reduction) -> Tensor",
    kernels={"cpp": _cpp, "triton": _triton},
    fake=_fake,
    save=_save,
    backward=_backward,
)
