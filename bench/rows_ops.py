"""Builders of the ops' rows: seeded inputs, the public op, its rivals, what is exact, and the floor."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from rivals import auc, losses, ridge
from rivals.base import Call, empty, forward_backward
from row import Provider, Row
from torch import Tensor

from heterad import ops

J = 32
CHECKED = 64  # tasks, or scores of each class, whose values are compared with float64


def _normal(generator: torch.Generator, device: str, *shape: int, scale: float = 1.0) -> Tensor:
    return (torch.randn(shape, generator=generator) * scale).to(device).requires_grad_()


# robust_ridge


def ragged_mask(n: int, tasks: int) -> Tensor:
    """Sizes from half of N to N, one task full."""
    sizes = torch.randint(n // 2, n + 1, (tasks,), generator=torch.Generator().manual_seed(1))
    sizes[0] = n
    return torch.arange(n) < sizes[:, None]


def make_ridge(n: int, d: int, tasks: int | None, ragged: bool, device: str) -> ridge.Ridge:
    g = torch.Generator().manual_seed(0)
    batch = () if tasks is None else (tasks,)
    x, h, a0 = (_normal(g, device, *batch, n, w, scale=s) for w, s in ((d, 1.0), (J, 0.7), (d, 0.3)))
    lam, mu = (torch.full(batch, v, device=device, requires_grad=True) for v in (0.5, 0.1))
    mask = ragged_mask(n, tasks or 1).to(device) if ragged else None
    cotangents = (_normal(g, device, *batch, d, J).detach(), _normal(g, device, *batch, n, d).detach())
    inputs = ridge.Ridge(x, h, a0, lam, mu, mask, cotangents)
    ridge.silence_kinks(inputs, CHECKED)
    return inputs


def ridge_flops(n: int, d: int, tasks: int, ragged: bool) -> float:
    """The products that no form can leave out: of each iteration forward one, backward two, and W with its gradients.

    The cheaper of the hat matrix (2 N^2 D) and two steps (4 N J D) counts.
    """
    rows = torch.full((tasks,), float(n))
    if ragged:
        rows = ragged_mask(n, tasks).sum(-1).double()
    product = torch.minimum(2 * rows**2 * d, 4 * rows * J * d)
    return float((3 * ridge.N_ITER * product + 6 * rows * J * d).sum())


def ridge_ours(inputs: ridge.Ridge) -> Call:
    return ridge.call(lambda *leaves: ops.robust_ridge(*leaves[:-1], mask=leaves[-1]), inputs)


def ridge_exact(inputs: ridge.Ridge, dtype: torch.dtype) -> list[Tensor | None]:
    part = inputs.first(CHECKED, dtype)
    return [t.detach() for t in ridge.call(ridge.eager, part)()]


def ridge_row(
    n: int,
    d: int,
    tasks: int | None = None,
    *,
    ragged: bool = False,
    rivals: tuple[str, ...] | None = None,
    **kwargs: Any,
) -> Row:
    forms: dict[str, Provider] = {
        "eager": partial(ridge.call, ridge.eager),
        "hoisted": partial(ridge.call, ridge.hoisted),
        "hat": partial(ridge.call, ridge.hat),
        "compile": ridge.compile_call,
        "jax": ridge.jax_call,
    }
    if tasks is None:
        forms["empty"] = lambda i: empty([c.shape for c in i.cotangents], i.leaves, i.cotangents)
    count = "" if tasks is None else f"{tasks} {'ragged ' if ragged else ''}of "
    return Row(
        "robust_ridge",
        f"{count}{n}x{d}",
        partial(make_ridge, n, d, tasks, ragged),
        ridge_ours,
        {name: forms[name] for name in (forms if rivals is None else rivals)},
        ridge_exact,
        flops=ridge_flops(n, d, tasks or 1, ragged),
        unlike=("empty",),
        **kwargs,
    )


# ridge_solve


def make_solve(tasks: int, n: int, d: int, device: str) -> ridge.Solve:
    g = torch.Generator().manual_seed(0)
    h, y, w = (_normal(g, device, tasks, *s) for s in ((n, J), (n, d), (d, J)))
    mu = torch.full((tasks,), 0.1, device=device, requires_grad=True)
    return ridge.Solve(h, y, mu, (w.detach(),))


def solve_call(function: Any, inputs: ridge.Solve) -> Call:
    return forward_backward(function, inputs.leaves, inputs.cotangents)


def solve_row(tasks: int, n: int, d: int, **kwargs: Any) -> Row:
    return Row(
        "ridge_solve",
        f"{tasks} of {n}x{J}, D = {d}",
        partial(make_solve, tasks, n, d),
        partial(solve_call, ops.ridge_solve),
        {
            "linalg.solve": partial(solve_call, ridge.solve_eager),
            "cholesky": partial(solve_call, ridge.solve_cholesky),
            "jax": ridge.solve_jax,
        },
        lambda inputs, dtype: [t.detach() for t in solve_call(ridge.solve_eager, inputs.first(CHECKED, dtype))()],
        **kwargs,
    )


# smoothed_auc


def make_scores(p: int, q: int, tasks: int | None, device: str) -> auc.Scores:
    g = torch.Generator().manual_seed(0)
    batch = () if tasks is None else (tasks,)
    return auc.Scores(_normal(g, device, *batch, p, scale=3.0), _normal(g, device, *batch, q, scale=3.0))


def auc_exact(inputs: auc.Scores, dtype: torch.dtype) -> list[Tensor | None]:
    """The gradients of the first scores of each class (all pairs of them), and the value where pairs are few."""
    pos, neg = inputs.pos.detach().to(dtype), inputs.neg.detach().to(dtype)
    if pos.ndim > 1:
        part = auc.Scores(pos[:CHECKED].requires_grad_(), neg[:CHECKED].requires_grad_())
        return [t.detach() for t in auc.call(auc.broadcast, part)()]
    pairs = len(pos) * len(neg)
    step = max(1, 2**22 // len(neg))
    value = None
    if pairs <= 4e8:
        value = torch.stack([auc.broadcast(p, neg) * len(p) for p in pos.split(step)]).sum() / len(pos)

    def slopes(some: Tensor, others: Tensor) -> Tensor:
        s = torch.sigmoid(some[:CHECKED, None] - others)
        return (s * (1 - s)).sum(1) / pairs

    return [value, slopes(pos, neg), -slopes(neg, pos)]


def auc_row(p: int, q: int, tasks: int | None = None, *, rivals: tuple[str, ...] = (), **kwargs: Any) -> Row:
    forms: dict[str, Provider] = {
        "broadcast": partial(auc.call, auc.broadcast),
        "compile": auc.compile_call,
        "jax": auc.jax_call,
        "keops": auc.keops_call,
        "libauc": auc.libauc_call,
        "sort": auc.sort,
        "one by one": one_by_one,
        "empty": lambda i: empty([i.pos.shape[:-1]], (i.pos, i.neg)),
    }
    usual = ("broadcast", "compile", "jax", "keops", "libauc", "empty")
    return Row(
        "smoothed_auc",
        f"{'' if tasks is None else f'{tasks} of '}{p}x{q}",
        partial(make_scores, p, q, tasks),
        partial(auc.call, ops.smoothed_auc),
        {name: forms[name] for name in rivals or usual},
        auc_exact,
        reference_can=p * q <= 10**8,
        unlike=("libauc", "sort", "empty"),
        moved=(p + q) * 8 * (tasks or 1) if "point" in kwargs else 0,  # scores read, gradients written
        **kwargs,
    )


def one_by_one(inputs: auc.Scores) -> Call:
    """A call of heterad a task."""
    calls = [
        auc.call(ops.smoothed_auc, auc.Scores(p.requires_grad_(), n.requires_grad_()))
        for p, n in zip(inputs.pos.detach(), inputs.neg.detach(), strict=True)
    ]

    def call() -> list[Tensor]:
        done = [one() for one in calls]
        return [torch.stack(part) for part in zip(*done, strict=True)]

    return call


# deviation_loss, soft_threshold, roc_auc


def make_judged(n: int, device: str) -> losses.Judged:
    g = torch.Generator().manual_seed(0)
    return losses.Judged(_normal(g, device, n, scale=3.0), (torch.rand(n, generator=g) < 0.1).long().to(device))


def deviation_ours(scores: Tensor, y: Tensor) -> Tensor:
    return ops.deviation_loss(scores, y, margin=losses.MARGIN, prior=losses.PRIOR)


def deviation_exact(inputs: losses.Judged, dtype: torch.dtype) -> list[Tensor | None]:
    part = losses.Judged(inputs.scores.detach().to(dtype).requires_grad_(), inputs.y)
    return [t.detach() for t in losses.deviation_call(losses.deviation, part)()]


def deviation_row(n: int, **kwargs: Any) -> Row:
    return Row(
        "deviation_loss",
        f"{n}",
        partial(make_judged, n),
        partial(losses.deviation_call, deviation_ours),
        {"eager": partial(losses.deviation_call, losses.deviation), "compile": losses.deviation_compile},
        deviation_exact,
        moved=n * (4 + 8 + 4 + 8 + 4),  # scores and int64 labels each way, the gradient once
        **kwargs,
    )


def make_threshold(n: int, device: str) -> losses.Threshold:
    g = torch.Generator().manual_seed(0)
    t = torch.tensor(0.5, device=device, requires_grad=True)
    return losses.Threshold(_normal(g, device, n), t, _normal(g, device, n).detach())


def threshold_exact(inputs: losses.Threshold, dtype: torch.dtype) -> list[Tensor | None]:
    r, t = (v.detach().to(dtype).requires_grad_() for v in (inputs.r, inputs.t))
    part = losses.Threshold(r, t, inputs.cotangent.to(dtype))
    return [v.detach() for v in losses.threshold_call(losses.soft_threshold, part)()]


def threshold_row(n: int, **kwargs: Any) -> Row:
    return Row(
        "soft_threshold",
        f"{n}",
        partial(make_threshold, n),
        partial(losses.threshold_call, ops.soft_threshold),
        {
            "eager": partial(losses.threshold_call, losses.soft_threshold),
            "compile": losses.threshold_compile,
            "softshrink": losses.softshrink,
        },
        threshold_exact,
        moved=n * (4 + 4 + 4 + 4 + 4),
        **kwargs,
    )


def make_labelled(n: int, device: str) -> auc.Labelled:
    g = torch.Generator().manual_seed(0)
    y = torch.rand(n, generator=g) < 0.1
    return auc.Labelled(torch.sigmoid(torch.randn(n, generator=g) + y).to(device), y.long().to(device))


def roc_row(n: int, **kwargs: Any) -> Row:
    return Row(
        "roc_auc",
        f"{n}",
        partial(make_labelled, n),
        lambda inputs: lambda: [ops.roc_auc(inputs.scores, inputs.y)],
        {
            "sklearn": auc.sklearn_call,
            "numpy": auc.numpy_call,
            "torch": auc.torch_call,
            "torchmetrics": auc.torchmetrics_call,
        },
        lambda inputs, dtype: [torch.as_tensor(auc.sklearn_call(inputs)()[0])],
        moved=n * (4 + 8),
        **kwargs,
    )
