"""Bad calls of every op, with the exception each raises and a pattern of its message."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class BadCall:
    """`op(*args, **kwargs)` raises `error` with a message that matches `pattern`."""

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    error: type[Exception]
    pattern: str

    def __repr__(self) -> str:
        return f"{self.op}: {self.pattern}"


def error_inputs(op: str) -> list[BadCall]:
    """The bad calls of one op (CPU tensors; a `meta` tensor stands in for another device)."""
    x, h, s = torch.ones(4, 3), torch.ones(4, 2), torch.tensor(0.5)
    elsewhere, whole = torch.ones(4, 3, device="meta"), torch.ones(4, 3, dtype=torch.long)
    v, y, m = torch.ones(5), torch.tensor([0, 1, 0, 1, 0]), torch.ones(5, dtype=torch.bool)
    calls: dict[str, list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]]] = {
        "soft_threshold": [
            (([1.0], 0.5), {}, TypeError, r"r: expected a torch.Tensor, got list"),
            ((whole, 0.5), {}, TypeError, r"r: expected a floating tensor.*got torch.int64"),
            ((x, "0.5"), {}, TypeError, r"t: expected a number, got str"),
            ((x.to_sparse(), 0.5), {}, TypeError, r"r: expected a dense tensor, got torch.sparse_coo"),
            ((x, torch.tensor(1)), {}, TypeError, r"t: expected a floating tensor.*got torch.int64"),
            ((x, torch.ones(3)), {}, ValueError, r"t: expected shape \(\).*got \(3,\)"),
            ((x, -0.5), {}, ValueError, r"t: expected a number >= 0, got -0.5"),
            ((x, torch.tensor(-2.0)), {}, ValueError, r"t: expected a number >= 0, got -2.0"),
            ((x, torch.ones((), device="meta")), {}, ValueError, r"t: expected a tensor on cpu.*got one on meta"),
        ],
        "ridge_solve": [
            ((None, x, s), {}, TypeError, r"h: expected a torch.Tensor, got NoneType"),
            ((h, whole, s), {}, TypeError, r"y: expected a floating tensor.*got torch.int64"),
            ((h, x, 0.5), {}, TypeError, r"mu: expected a torch.Tensor, got float"),
            ((torch.ones(4), x, s), {}, ValueError, r"h: expected shape \[..., N, J\], got \(4,\)"),
            ((h, torch.ones(5, 3), s), {}, ValueError, r"y: expected shape \(4, 3\).*got \(5, 3\)"),
            ((h, torch.ones(4), s), {}, ValueError, r"y: expected shape \[..., N, D\], got \(4,\)"),
            ((h, torch.ones(2, 4, 3), s), {}, ValueError, r"y: expected shape \(4, 3\).*got \(2, 4, 3\)"),
            ((h, elsewhere, s), {}, ValueError, r"y: expected a tensor on cpu like h, got one on meta"),
            ((h, x, torch.ones(2)), {}, ValueError, r"mu: expected a scalar.*got \(2,\)"),
            ((h, x, torch.tensor(-1.0)), {}, ValueError, r"mu: expected a number > 0, got -1.0"),
            ((h, x, torch.tensor(0.0)), {}, ValueError, r"mu: expected a number > 0, got 0.0"),
            ((h, x, s), {"mask": torch.ones(4)}, TypeError, r"mask: expected a boolean tensor, got torch.float32"),
            ((h, x, s), {"mask": [True] * 4}, TypeError, r"mask: expected a boolean tensor, got list"),
            ((h, x, s), {"mask": m}, ValueError, r"mask: expected a shape that broadcasts to \(4,\), got \(5,\)"),
        ],
        "robust_ridge": [
            (("x", h, x, s, s), {}, TypeError, r"x: expected a torch.Tensor, got str"),
            ((whole, h, x, s, s), {}, TypeError, r"x: expected a floating tensor.*got torch.int64"),
            ((x, h.bool(), x, s, s), {}, TypeError, r"h: expected a floating tensor.*got torch.bool"),
            ((x, h, x, 0.5, s), {}, TypeError, r"lam: expected a torch.Tensor, got float"),
            ((x, h, elsewhere, s, s), {}, ValueError, r"a0: expected a tensor on cpu like x, got one on meta"),
            ((v, h, x, s, s), {}, ValueError, r"x: expected shape \[..., N, D\], got \(5,\)"),
            ((x, s, x, s, s), {}, ValueError, r"h: expected shape \[..., N, J\], got \(\)"),
            ((x, torch.ones(3, 2), x, s, s), {}, ValueError, r"h: expected shape \(4, 2\).*got \(3, 2\)"),
            ((x, torch.ones(7, 4, 2), x, s, s), {}, ValueError, r"h: expected shape \(4, 2\).*got \(7, 4, 2\)"),
            ((x, h, torch.ones(4, 2), s, s), {}, ValueError, r"a0: expected shape \(4, 3\).*got \(4, 2\)"),
            ((x, h, x, torch.ones(3), s), {}, ValueError, r"lam: expected a scalar.*got \(3,\)"),
            ((x, h, x, -s, s), {}, ValueError, r"lam: expected a number >= 0, got -0.5"),
            ((x, h, x, s, -s), {}, ValueError, r"mu: expected a number > 0, got -0.5"),
            ((x, h, x, s, s), {"n_iter": 0}, ValueError, r"n_iter: expected at least 1, got 0"),
            ((x, h, x, s, s), {"n_iter": 2.0}, TypeError, r"n_iter: expected an int, got float"),
            ((x, h, x, s, s), {"n_iter": True}, TypeError, r"n_iter: expected an int, got bool"),
            ((x, h, x, s, s), {"mask": v}, TypeError, r"mask: expected a boolean tensor, got torch.float32"),
            ((x, h, x, s, s), {"mask": m}, ValueError, r"mask: expected a shape that broadcasts to \(4,\), got \(5,\)"),
        ],
        "smoothed_auc": [
            ((1.0, v), {}, TypeError, r"pos: expected a torch.Tensor, got float"),
            ((v, y), {}, TypeError, r"neg: expected a floating tensor.*got torch.int64"),
            ((s, v), {}, ValueError, r"pos: expected shape \[..., P\], got \(\)"),
            ((v, s), {}, ValueError, r"neg: expected shape \[..., Q\], got \(\)"),
            ((v, torch.ones(2, 5)), {}, ValueError, r"neg: expected shape .*got \(2, 5\)"),
            ((v[:0], v), {}, ValueError, r"pos: expected at least one score, got shape \(0,\)"),
            ((v, v[:0]), {}, ValueError, r"neg: expected at least one score, got shape \(0,\)"),
            ((v, v), {"temperature": 0.0}, ValueError, r"temperature: expected a positive, finite number, got 0.0"),
            ((v, v), {"temperature": -1.0}, ValueError, r"temperature: expected a positive, finite number, got -1.0"),
            ((v, v), {"temperature": float("nan")}, ValueError, r"temperature: expected a positive.*got nan"),
            ((v, v), {"temperature": "1"}, TypeError, r"temperature: expected a number, got str"),
            ((v, v), {"temperature": s}, TypeError, r"temperature: expected a number, got Tensor"),
            ((v, v.to("meta")), {}, ValueError, r"neg: expected a tensor on cpu like pos, got one on meta"),
            ((v, v), {"pos_mask": y}, TypeError, r"pos_mask: expected a boolean tensor, got torch.int64"),
            (
                (v, v),
                {"neg_mask": m[:2]},
                ValueError,
                r"neg_mask: expected a shape that broadcasts to \(5,\), got \(2,\)",
            ),
        ],
        "deviation_loss": [
            ((y, y), {}, TypeError, r"scores: expected a floating tensor.*got torch.int64"),
            ((v, [0] * 5), {}, TypeError, r"y: expected a torch.Tensor, got list"),
            ((v, y[:, None]), {}, ValueError, r"y: expected shape \(5,\).*got \(5, 1\)"),
            ((v, y.to("meta")), {}, ValueError, r"y: expected a tensor on cpu.*got one on meta"),
            ((v, y - 1), {}, ValueError, r"y: expected only 0 \(normal\) and 1 \(anomaly\), got -1"),
            ((v, v * 0.5), {}, ValueError, r"y: expected only 0 \(normal\) and 1 \(anomaly\), got 0.5"),
            ((v, y), {"reduction": "avg"}, ValueError, r"reduction: expected one of mean, sum, none, got 'avg'"),
            ((v, y), {"margin": -1.0}, ValueError, r"margin: expected a finite number >= 0, got -1.0"),
            ((v, y), {"margin": None}, TypeError, r"margin: expected a number, got NoneType"),
            ((v, y), {"prior": 1.0}, TypeError, r"prior: expected \(mean, standard deviation > 0\), got 1.0"),
            ((v, y), {"prior": (0.0, 1.0, 2.0)}, TypeError, r"prior: expected \(mean.*got \(0.0, 1.0, 2.0\)"),
            ((v, y), {"prior": (0.0, s)}, TypeError, r"prior: expected a number, got Tensor"),
            ((v, y), {"prior": (0.0, 0.0)}, ValueError, r"prior: expected \(mean, standard deviation > 0\), got"),
            ((v[:0], y[:0]), {}, ValueError, r"scores: expected at least one score.*got shape \(0,\)"),
        ],
        "roc_auc": [
            ((y, y), {}, TypeError, r"scores: expected a floating tensor.*got torch.int64"),
            ((s, y), {}, ValueError, r"scores: expected shape \[..., N\], got \(\)"),
            ((v, None), {}, TypeError, r"y: expected a torch.Tensor, got NoneType"),
            ((v, y[:3]), {}, ValueError, r"y: expected shape \(5,\).*got \(3,\)"),
            ((v, y.to("meta")), {}, ValueError, r"y: expected a tensor on cpu.*got one on meta"),
            ((v, y * 0), {}, ValueError, r"y: expected anomalies and normals, got 0 anomalies among 5 rows"),
            ((v, y), {"mask": y}, TypeError, r"mask: expected a boolean tensor, got torch.int64"),
            ((v, y + 1), {}, ValueError, r"y: expected only 0 \(normal\) and 1 \(anomaly\), got 2"),
        ],
    }
    return [BadCall(op, *row) for row in calls[op]]
