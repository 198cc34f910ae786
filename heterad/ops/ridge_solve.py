"""Ridge regression in closed form, batched over tasks."""

from __future__ import annotations

from torch import Tensor

from heterad.ops import _backend, _checks, reference


def ridge_solve(h: Tensor, y: Tensor, mu: Tensor, *, mask: Tensor | None = None) -> Tensor:
    r"""Weights of ridge regression, :math:`W = \frac1N Y^\top H (\frac1N H^\top H + \mu I)^{-1}`.

    Parameters
    ----------
    h : Tensor [..., N, J]
        Embedded rows.
    y : Tensor [..., N, D]
        What to reconstruct from them.
    mu : Tensor [] or [...]
        Ridge strength, > 0.
    mask : bool Tensor [..., N], optional
        True for real rows; N in the formula counts these. A task without a real row has W = 0.

    Returns
    -------
    Tensor [..., D, J]

    Raises
    ------
    TypeError
        An argument is not a floating tensor (`mask`: not a boolean one).
    ValueError
        Shapes do not match, or `mu` is not positive (looked at on the CPU only).

    Notes
    -----
    O(N J (J + D) + J^2 (J + D)) time a task. Source: Kumagai et al. (2023), Eq. (4) with A = 0.

    Examples
    --------
    >>> import torch, heterad
    >>> h, y = torch.eye(2), torch.tensor([[2.0], [4.0]])
    >>> heterad.ops.ridge_solve(h, y, torch.tensor(0.5))
    tensor([[1., 2.]])
    """
    dtype = _checks.floating(h=h, y=y, mu=mu)
    _checks.at_least(2, "[..., N, J]", h=h)
    batch, n = tuple(h.shape[:-2]), h.shape[-2]
    _checks.shape("y", y, (*batch, n, y.shape[-1] if y.ndim else 0), "h [..., N, J]")
    mask = _checks.mask("mask", mask, (*batch, n), h)
    mu = _checks.per_task("mu", mu, batch)
    _checks.not_negative("mu", mu, zero=False)
    work = _backend.work_dtype(dtype, "reference")
    return reference.ridge_solve(h.to(work), y.to(work), mu.to(work), mask).to(dtype)
