"""robust_ridge and ridge_solve as users write them.

All forms of `robust_ridge` take the same padded, batched inputs and return (w, a): with the rows that are not real set
to zero, only the count of rows knows of the mask.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rivals.base import Call, compiled, forward_backward, jax_on_the_same_threads, to_jax

N_ITER = 10


@dataclass
class Ridge:
    """Inputs of one call, with the gradients that arrive from above."""

    x: Tensor
    h: Tensor
    a0: Tensor
    lam: Tensor
    mu: Tensor
    mask: Tensor | None
    cotangents: tuple[Tensor, ...]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.x, self.h, self.a0, self.lam, self.mu

    def first(self, tasks: int, dtype: torch.dtype) -> Ridge:
        """The first tasks of a batch (or the one task there is) in another dtype."""
        cut = slice(None) if self.x.ndim == 2 else slice(tasks)

        def part(t: Tensor) -> Tensor:
            return t.detach()[cut if t.ndim else ...].to(dtype).requires_grad_(t.requires_grad)

        return replace(
            self,
            **{name: part(getattr(self, name)) for name in ("x", "h", "a0", "lam", "mu")},
            mask=None if self.mask is None else self.mask[cut],
            cotangents=tuple(part(t) for t in self.cotangents),
        )


def call(function: Any, inputs: Ridge) -> Call:
    return forward_backward(lambda *leaves: function(*leaves, inputs.mask), inputs.leaves, inputs.cotangents)


def _real(x: Tensor, h: Tensor, a0: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Any]:
    if mask is None:
        return x, h, a0, x.shape[-2]
    keep = mask[..., None].to(x.dtype)
    return x * keep, h * keep, a0 * keep, keep.sum(-2, keepdim=True)


def _shrink(r: Tensor, lam: Tensor) -> Tensor:
    return torch.sign(r) * torch.relu(torch.abs(r) - lam[..., None, None] / 2)


def _gram(h: Tensor, n: Any, mu: Tensor) -> Tensor:
    return h.mT @ h / n + mu[..., None, None] * torch.eye(h.shape[-1], dtype=h.dtype, device=h.device)


def eager(x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, mask: Tensor | None = None) -> Any:
    """Eqs. (4) and (5) as they stand: a linear solve in every iteration."""
    x, h, a, n = _real(x, h, a0, mask)
    c = _gram(h, n, mu)
    for _ in range(N_ITER):
        wt = torch.linalg.solve(c, h.mT @ (x + a) / n)
        a = _shrink(h @ wt - x, lam)
    return wt.mT, a


def hoisted(x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, mask: Tensor | None = None) -> Any:
    """One factorisation before the loop, two products in it."""
    x, h, a, n = _real(x, h, a0, mask)
    m = torch.cholesky_solve(h.mT / n, torch.linalg.cholesky(_gram(h, n, mu)))
    for _ in range(N_ITER):
        wt = m @ (x + a)
        a = _shrink(h @ wt - x, lam)
    return wt.mT, a


def hat(x: Tensor, h: Tensor, a0: Tensor, lam: Tensor, mu: Tensor, mask: Tensor | None = None) -> Any:
    """The hat matrix before the loop, one product in it."""
    x, h, a, n = _real(x, h, a0, mask)
    m = torch.cholesky_solve(h.mT / n, torch.linalg.cholesky(_gram(h, n, mu)))
    k = h @ m
    for _ in range(N_ITER):
        y = x + a
        a = _shrink(k @ y - x, lam)
    return (m @ y).mT, a


def silence_kinks(inputs: Ridge, tasks: int, width: float = 1e-5) -> None:
    """Let no gradient arrive at columns of the first tasks in which any iteration comes within `width` of a kink.

    There two correct orders of float32 operations may take different slopes, and one such entry is 1e-3 of the norm.
    Columns never meet, so the others' gradients keep their values, and every column keeps its work.
    """
    part = inputs.first(tasks, torch.float64)
    with torch.no_grad():
        x, h, a, n = _real(part.x, part.h, part.a0, part.mask)
        k = h @ torch.cholesky_solve(h.mT / n, torch.linalg.cholesky(_gram(h, n, part.mu)))
        near = torch.zeros_like(x, dtype=torch.bool)
        for _ in range(N_ITER):
            r = k @ (x + a) - x
            near |= (r.abs() - part.lam[..., None, None] / 2).abs() < width
            a = _shrink(r, part.lam)
    columns = near.any(-2)
    cut = slice(None) if x.ndim == 2 else slice(tasks)
    to_w, to_a = inputs.cotangents
    to_w[cut][columns] = 0
    to_a[cut].mT[columns] = 0


def compile_call(inputs: Ridge) -> Call:
    return call(compiled(hoisted), inputs)


def jax_call(inputs: Ridge) -> Call:
    """jax.jit of the hoisted form and of its derivative, in one compiled function."""
    jax = jax_on_the_same_threads()
    np = jax.numpy

    def real(x: Any, h: Any, a0: Any) -> Any:
        if inputs.mask is None:
            return x, h, a0, x.shape[-2]
        keep = to_jax(jax, inputs.mask)[..., None].astype(x.dtype)
        return x * keep, h * keep, a0 * keep, keep.sum(-2, keepdims=True)

    def form(x: Any, h: Any, a0: Any, lam: Any, mu: Any) -> Any:
        x, h, a, n = real(x, h, a0)
        ht = np.swapaxes(h, -1, -2)
        c = ht @ h / n + mu[..., None, None] * np.eye(h.shape[-1], dtype=h.dtype)
        m = jax.scipy.linalg.cho_solve((np.linalg.cholesky(c), True), ht / n)
        for _ in range(N_ITER):
            wt = m @ (x + a)
            r = h @ wt - x
            a = np.sign(r) * jax.nn.relu(np.abs(r) - lam[..., None, None] / 2)
        return np.swapaxes(wt, -1, -2), a

    @jax.jit
    def both(leaves: Any, cotangents: Any) -> Any:
        outputs, pull = jax.vjp(form, *leaves)
        return (*outputs, *pull(cotangents))

    leaves = tuple(to_jax(jax, t) for t in inputs.leaves)
    cotangents = tuple(to_jax(jax, t) for t in inputs.cotangents)
    return lambda: jax.block_until_ready(both(leaves, cotangents))


@dataclass
class Solve:
    """Inputs of ridge_solve."""

    h: Tensor
    y: Tensor
    mu: Tensor
    cotangents: tuple[Tensor]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        return self.h, self.y, self.mu

    def first(self, tasks: int, dtype: torch.dtype) -> Solve:
        h, y, w = (t.detach()[:tasks].to(dtype) for t in (self.h, self.y, self.cotangents[0]))
        mu = self.mu.detach()[:tasks].to(dtype)
        return Solve(h.requires_grad_(), y.requires_grad_(), mu.requires_grad_(), (w,))


def solve_eager(h: Tensor, y: Tensor, mu: Tensor) -> Tensor:
    return torch.linalg.solve(_gram(h, h.shape[-2], mu), h.mT @ y / h.shape[-2]).mT


def solve_cholesky(h: Tensor, y: Tensor, mu: Tensor) -> Tensor:
    factor = torch.linalg.cholesky(_gram(h, h.shape[-2], mu))
    return torch.cholesky_solve(h.mT @ y / h.shape[-2], factor).mT


def solve_jax(inputs: Solve) -> Call:
    jax = jax_on_the_same_threads()
    np = jax.numpy

    def form(h: Any, y: Any, mu: Any) -> Any:
        n, ht = h.shape[-2], np.swapaxes(h, -1, -2)
        c = ht @ h / n + mu[..., None, None] * np.eye(h.shape[-1], dtype=h.dtype)
        w = jax.scipy.linalg.cho_solve((np.linalg.cholesky(c), True), ht @ y / n)
        return np.swapaxes(w, -1, -2)

    @jax.jit
    def both(leaves: Any, cotangent: Any) -> Any:
        output, pull = jax.vjp(form, *leaves)
        return (output, *pull(cotangent))

    leaves, cotangent = tuple(to_jax(jax, t) for t in inputs.leaves), to_jax(jax, inputs.cotangents[0])
    return lambda: jax.block_until_ready(both(leaves, cotangent))
