"""The smoothed area under the ROC curve."""

from __future__ import annotations

from torch import Tensor

from heterad.ops import _backend, _checks, reference


def smoothed_auc(
    pos: Tensor,
    neg: Tensor,
    *,
    temperature: float = 1.0,
    pos_mask: Tensor | None = None,
    neg_mask: Tensor | None = None,
) -> Tensor:
    r"""Mean of a sigmoid over all pairs, :math:`\frac{1}{PQ}\sum_{ij} \sigma((pos_i - neg_j)/T)`.

    Parameters
    ----------
    pos : Tensor [..., P]
        Scores of anomalies.
    neg : Tensor [..., Q]
        Scores of normals; the same batch dimensions.
    temperature : float
        Width of the sigmoid, > 0, in the units of the scores; towards 0 the value approaches the exact AUC.
    pos_mask, neg_mask : bool Tensor [..., P], [..., Q], optional
        True for real scores.

    Returns
    -------
    Tensor [...]
        In [0, 1], higher is better. A task that its masks leave without a pair gives 0.5, the value of chance, with
        zero gradient.

    Raises
    ------
    TypeError
        `pos` or `neg` is not a floating tensor, or a mask not a boolean one.
    ValueError
        Batch shapes differ, P or Q is 0, or `temperature` is not positive and finite.

    Notes
    -----
    Differentiable once. Source: Kumagai et al. (2023), Eq. (10).

    Examples
    --------
    >>> import torch, heterad
    >>> heterad.ops.smoothed_auc(torch.tensor([30.0]), torch.tensor([-30.0, 30.0]))
    tensor(0.7500)
    """
    dtype = _checks.floating(pos=pos, neg=neg)
    _checks.at_least(1, "[..., P]", pos=pos)
    _checks.at_least(1, "[..., Q]", neg=neg)
    batch = tuple(pos.shape[:-1])
    _checks.shape("neg", neg, (*batch, neg.shape[-1]), "pos [..., P] in all but the last dimension")
    for name, scores in (("pos", pos), ("neg", neg)):
        if scores.shape[-1] == 0:
            raise ValueError(f"{name}: expected at least one score, got shape {tuple(scores.shape)}")
    if not 0 < temperature < float("inf"):
        raise ValueError(f"temperature: expected a positive, finite number, got {temperature}")
    pos_mask = _checks.mask("pos_mask", pos_mask, tuple(pos.shape), pos)
    neg_mask = _checks.mask("neg_mask", neg_mask, tuple(neg.shape), neg)
    work = _backend.work_dtype(dtype, "reference")
    return reference.smoothed_auc(pos.to(work), neg.to(work), temperature, pos_mask, neg_mask).to(dtype)
