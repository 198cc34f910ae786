"""Robust ridge regression: the closed-form alternation at the heart of robust meta-learning."""

from __future__ import annotations

from torch import Tensor

from heterad.ops import _backend, _checks, reference


def robust_ridge(
    x: Tensor,
    h: Tensor,
    a0: Tensor,
    lam: Tensor,
    mu: Tensor,
    *,
    n_iter: int = 10,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Alternate ridge regression and soft thresholding, from given anomalous attributes.

    Minimises :math:`\frac1N\sum_n \|x_n + a_n - W h_n\|^2 + \frac\lambda N \sum_n \|a_n\|_1 + \mu \|W\|_F^2` by

    .. math::
        W &\leftarrow \tfrac1N (X + A)^\top H (\tfrac1N H^\top H + \mu I)^{-1} \\
        A &\leftarrow \mathrm{sgn}(H W^\top - X)\,[|H W^\top - X| - \lambda/2]_+

    Parameters
    ----------
    x : Tensor [..., N, D]
        Rows of the task, contaminated by anomalies.
    h : Tensor [..., N, J]
        The rows, embedded.
    a0 : Tensor [..., N, D]
        Anomalous attributes to start from, in the units of `x`.
    lam : Tensor [] or [...]
        Weight of the l1 norm, >= 0, in the units of `x`.
    mu : Tensor [] or [...]
        Weight of the ridge, > 0, in the units of `h` squared.
    n_iter : int
        Alternations, >= 1, W first.
    mask : bool Tensor [..., N], optional
        True for real rows. Rows that are not real change nothing and have `a` = 0: a masked batch gives exactly what
        each task alone gives.

    Returns
    -------
    w : Tensor [..., D, J]
        The last W-update.
    a : Tensor [..., N, D]
        The A-update after it.

    Raises
    ------
    TypeError
        An argument is not a floating tensor (`mask`: not a boolean one), or `n_iter` is not an int.
    ValueError
        Shapes do not match, `n_iter` < 1, or `lam` < 0 or `mu` <= 0 (values are looked at on the CPU only).

    Notes
    -----
    Differentiable once in `x`, `h`, `a0`, `lam` and `mu`.
    Source: Kumagai et al. (2023), Eqs. (3) to (5) and Algorithm 1, lines 7 to 9.

    Examples
    --------
    >>> import torch, heterad
    >>> x = torch.tensor([[1.0], [1.0], [1.0], [9.0]])
    >>> w, a = heterad.ops.robust_ridge(
    ...     x, torch.ones(4, 1), torch.zeros(4, 1), torch.tensor(0.2), torch.tensor(1e-4), n_iter=200
    ... )
    >>> bool(w < 1.2), int(a.abs().argmax())
    (True, 3)
    """
    dtype = _checks.floating(x=x, h=h, a0=a0, lam=lam, mu=mu)
    _checks.at_least(2, "[..., N, D]", x=x)
    batch, n = tuple(x.shape[:-2]), x.shape[-2]
    _checks.shape("h", h, (*batch, n, h.shape[-1] if h.ndim else 0), "x [..., N, D]")
    _checks.shape("a0", a0, tuple(x.shape), "x")
    mask = _checks.mask("mask", mask, (*batch, n), x)
    if not isinstance(n_iter, int) or isinstance(n_iter, bool):
        raise TypeError(f"n_iter: expected an int, got {type(n_iter).__name__}")
    if n_iter < 1:
        raise ValueError(f"n_iter: expected at least 1, got {n_iter}")
    lam, mu = _checks.per_task("lam", lam, batch), _checks.per_task("mu", mu, batch)
    _checks.not_negative("lam", lam)
    _checks.not_negative("mu", mu, zero=False)
    work = _backend.work_dtype(dtype, "reference")
    x, h, a0, lam, mu = (t.to(work) for t in (x, h, a0, lam, mu))
    w, a = reference.robust_ridge(x, h, a0, lam, mu, n_iter, mask)
    return w.to(dtype), a.to(dtype)
