"""The smoothed area under the ROC curve."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from heterad.ops import _backend, _checks, reference
from heterad.ops._library import Op, address


def smoothed_auc(
    pos: Tensor,
    neg: Tensor,
    *,
    temperature: float = 1.0,
    pos_mask: Tensor | None = None,
    neg_mask: Tensor | None = None,
) -> Tensor:
    r"""Mean of a sigmoid over all pairs, :math:`\frac{1}{PQ}\sum_{ij} \sigma((pos_i - neg_j)/T)`.

    Args:
        pos: scores of anomalies ``[..., P]``.
        neg: scores of normals ``[..., Q]``, with the same batch dimensions.
        temperature: width of the sigmoid, > 0, in the units of the scores; towards 0 the value approaches the exact
            AUC.
        pos_mask: bool ``[..., P]``, True for real scores; None: all are.
        neg_mask: bool ``[..., Q]``, likewise.

    Returns:
        Tensor ``[...]`` in [0, 1], higher is better. A task that its masks leave without a pair gives 0.5, the value
        of chance, with zero gradient. NaN in a real score, or infinities of one sign on both sides, give NaN.

    Raises:
        TypeError: ``pos`` or ``neg`` is not a floating tensor, a mask not a boolean one, or
            ``temperature`` not a number.
        ValueError: batch shapes differ, P or Q is 0, or ``temperature`` is not positive and finite.

    Cost:
        Value and gradients come from one pass over pairs where P Q is below some 70 (P + Q), and from Chebyshev series
        on cells one temperature wide beyond: O(P + Q) time whatever the range of the scores, below 64 bytes a score on
        the CPU and some 250 on a GPU. Either way within 1e-6 of the exact sums in float32, relative, and 1e-12 in
        float64. Differentiable once.

    Source:
        Kumagai et al. (2023), Eq. (10).

    Example:
        >>> import torch, heterad
        >>> heterad.ops.smoothed_auc(torch.tensor([30.0]), torch.tensor([-30.0, 30.0]))
        tensor(0.7500)
    """
    dtype = _checks.floating(pos=pos, neg=neg)
    _checks.at_least(1, "[..., P]", pos=pos)
    _checks.at_least(1, "[..., Q]", neg=neg)
    *batch, p = pos.shape
    *neg_batch, q = neg.shape
    if neg_batch != batch:
        _checks.shape("neg", neg, (*batch, q), "pos [..., P] in all but the last dimension")
    if p == 0 or q == 0:
        name, scores = ("pos", pos) if p == 0 else ("neg", neg)
        raise ValueError(f"{name}: expected at least one score, got shape {tuple(scores.shape)}")
    temperature = _checks.number("temperature", temperature)
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature: expected a positive, finite number, got {temperature}")
    if pos_mask is not None:
        pos_mask = _checks.mask("pos_mask", pos_mask, tuple(pos.shape), pos)
    if neg_mask is not None:
        neg_mask = _checks.mask("neg_mask", neg_mask, tuple(neg.shape), neg)
    backend = _backend.choose("smoothed_auc", pos.device.type)
    work = _backend.work_dtype(dtype, "cpp")  # half precision is converted on every device
    pos, neg = _checks.cast(pos, work), _checks.cast(neg, work)
    if backend == "reference":
        return _checks.cast(reference.smoothed_auc(pos, neg, temperature, pos_mask, neg_mask), dtype)
    grad = torch.is_grad_enabled() and (pos.requires_grad or neg.requires_grad)
    return _checks.cast(_op(pos, neg, temperature, pos_mask, neg_mask, grad)[0], dtype)


Results = tuple[Tensor, Tensor, Tensor]


def _empty(pos: Tensor, neg: Tensor, grad: bool) -> Results:
    """Of contiguous scores: the value, and its derivatives by every score where asked for."""
    value = pos.new_empty(pos.shape[:-1])
    return value, torch.empty_like(pos if grad else pos[..., :0]), torch.empty_like(neg if grad else neg[..., :0])


def _fake(
    pos: Tensor, neg: Tensor, temperature: float, pos_mask: Tensor | None, neg_mask: Tensor | None, grad: bool
) -> Results:
    return _empty(pos.contiguous(), neg.contiguous(), grad)


def _cpp(
    pos: Tensor, neg: Tensor, temperature: float, pos_mask: Tensor | None, neg_mask: Tensor | None, grad: bool
) -> Results:
    from heterad import _C

    pos, neg = pos.contiguous(), neg.contiguous()
    pos_mask = pos_mask if pos_mask is None else pos_mask.contiguous()
    neg_mask = neg_mask if neg_mask is None else neg_mask.contiguous()
    value, grad_pos, grad_neg = _empty(pos, neg, grad)
    _C.smoothed_auc(
        pos.dtype == torch.float64, pos.data_ptr(), neg.data_ptr(), address(pos_mask), address(neg_mask),
        value.numel(), pos.shape[-1], neg.shape[-1], temperature, value.data_ptr(),
        grad_pos.data_ptr() if grad else 0, grad_neg.data_ptr() if grad else 0, torch.get_num_threads(),
    )  # fmt: skip
    return value, grad_pos, grad_neg


def _cuda(
    pos: Tensor, neg: Tensor, temperature: float, pos_mask: Tensor | None, neg_mask: Tensor | None, grad: bool
) -> Results:
    from heterad import _cuda as cuda
    from heterad.kernels import device

    pos, neg = pos.contiguous(), neg.contiguous()
    pos_mask = pos_mask if pos_mask is None else pos_mask.contiguous()
    neg_mask = neg_mask if neg_mask is None else neg_mask.contiguous()
    value, grad_pos, grad_neg = _empty(pos, neg, grad)
    sizes = value.numel(), pos.shape[-1], neg.shape[-1]
    f64 = pos.dtype == torch.float64
    with device.on(pos):
        workspace = torch.empty(cuda.smoothed_auc_workspace(f64, *sizes), dtype=torch.uint8, device=pos.device)
        cuda.smoothed_auc(
            f64, pos.data_ptr(), neg.data_ptr(), address(pos_mask), address(neg_mask),
            *sizes, temperature, value.data_ptr(), grad_pos.data_ptr() if grad else 0,
            grad_neg.data_ptr() if grad else 0, workspace.data_ptr(), device.stream(pos),
        )  # fmt: skip
    return value, grad_pos, grad_neg


def _save(ctx: Any, inputs: tuple[Any, ...], output: Results) -> None:
    ctx.save_for_backward(*inputs[:2], *output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    if grad is None:
        return None, None, None, None, None, None
    pos, neg, *grads = ctx.saved_tensors
    # Only where the result may be differentiated again does the op come in, to refuse it.
    scaled = _op_bwd(grad, *grads, pos, neg) if torch.is_grad_enabled() else _scale(grad, *grads)
    return *scaled, None, None, None, None


def _scale(grad: Tensor, grad_pos: Tensor, grad_neg: Tensor) -> tuple[Tensor, Tensor]:
    grad = grad.unsqueeze(-1) if grad.ndim else grad
    return grad_pos * grad, grad_neg * grad


def _scale_linked(grad: Tensor, grad_pos: Tensor, grad_neg: Tensor, pos: Tensor, neg: Tensor) -> tuple[Tensor, Tensor]:
    """`pos` and `neg` only let autograd find the way from them to the refusal."""
    return _scale(grad, grad_pos, grad_neg)


_op_bwd = Op(
    "smoothed_auc_bwd(Tensor grad, Tensor grad_pos, Tensor grad_neg, Tensor pos, Tensor neg) -> (Tensor, Tensor)",
    kernels={"cpp": _scale_linked, "cuda": _scale_linked},
    fake=_scale_linked,
)
_op = Op(
    "smoothed_auc(Tensor pos, Tensor neg, float temperature, Tensor? pos_mask, Tensor? neg_mask, bool grad) "
    "-> (Tensor, Tensor, Tensor)",
    kernels={"cpp": _cpp, "cuda": _cuda},
    fake=_fake,
    save=_save,
    backward=_backward,
    public=1,
)
