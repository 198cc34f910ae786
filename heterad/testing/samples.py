"""One set of inputs per op, which feeds the tests of accuracy, gradients, registration and layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from heterad.ops import _backend


@dataclass
class Sample:
    """Arguments of one call. `differentiable` names the floating tensors whose gradients are compared."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name

    def cast(self, dtype: torch.dtype) -> Sample:
        """The same values as leaves of another floating dtype."""

        def one(v: Any) -> Any:
            if isinstance(v, Tensor) and v.is_floating_point():
                return v.detach().to(dtype).requires_grad_(v.requires_grad)
            return v

        return Sample(self.name, tuple(map(one, self.args)), {k: one(v) for k, v in self.kwargs.items()})

    def leaves(self) -> list[Tensor]:
        """The tensors that get gradients."""
        values = [*self.args, *self.kwargs.values()]
        return [v for v in values if isinstance(v, Tensor) and v.requires_grad]


def available_backends(op: str, device: str = "cpu") -> list[str]:
    """The back ends that can serve `op` on `device` in this process, the reference first."""
    found = ["reference"]
    for name in _backend.BACKENDS[1:]:
        try:
            _backend._resolve(op, device, name)
        except RuntimeError:
            continue
        found.append(name)
    return found


class _Draw:
    """Random tensors from one seed, rounded to `dtype` so that every dtype and back end sees the same numbers."""

    def __init__(self, dtype: torch.dtype, device: str, seed: int) -> None:
        self.dtype, self.device = dtype, device
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, scale: float = 1.0) -> Tensor:
        t = torch.randn(shape, generator=self.generator, dtype=torch.float64) * scale
        return t.to(self.dtype).to(self.device).requires_grad_()

    def uniform(self, *shape: int, low: float, high: float) -> Tensor:
        t = torch.rand(shape, generator=self.generator, dtype=torch.float64) * (high - low) + low
        return t.to(self.dtype).to(self.device).requires_grad_()

    def mask(self, batch: tuple[int, ...], n: int) -> Tensor:
        """Ragged sizes, one task full, real rows scattered."""
        keep = torch.rand(*batch, n, generator=self.generator) < torch.rand(*batch, 1, generator=self.generator) + 0.2
        keep.view(-1, n)[0] = True
        return keep.to(self.device)

    def labels(self, *shape: int) -> Tensor:
        y = (torch.rand(shape, generator=self.generator) < 0.3).long()
        if y.numel() > 1:
            y.view(-1, shape[-1])[:, :2] = torch.tensor([0, 1])[: shape[-1]]
        return y.to(self.device)


# (batch, N, J, D): ones, primes, 2^n +- 1, N < J and N > J, the papers' sizes, D up to 1,000
RIDGE_SHAPES = [
    ((), 1, 1, 1),
    ((), 7, 5, 3),
    ((), 31, 32, 33),
    ((), 10, 32, 129),
    ((), 65, 32, 15),
    ((3,), 17, 8, 31),
    ((2, 2), 13, 3, 5),
]
RIDGE_LARGE = [((), 50, 32, 256), ((2,), 30, 32, 617), ((), 250, 32, 115), ((), 40, 16, 1000)]
MASKED = [((4,), 33, 8, 17), ((5,), 12, 32, 7), ((2, 3), 9, 4, 64)]


def _shapes(size: str) -> list[tuple[tuple[int, ...], int, int, int]]:
    return RIDGE_SHAPES if size == "small" else [*RIDGE_SHAPES, *RIDGE_LARGE]


def _soft_threshold(d: _Draw, size: str) -> list[Sample]:
    shapes = [(), (1,), (7,), (5, 13), (2, 3, 31), (1025,), (33, 65)] + ([(100_003,)] if size == "all" else [])
    samples = [Sample(f"{s}", (d.normal(*s), d.uniform(low=0.1, high=0.9))) for s in shapes]
    return [*samples, Sample("t = 0", (d.normal(9), torch.zeros((), dtype=d.dtype, device=d.device).requires_grad_()))]


def _ridge_solve(d: _Draw, size: str) -> list[Sample]:
    out = []
    for b, n, j, dim in _shapes(size):
        out.append(
            Sample(f"{b} {n}x{j}x{dim}", (d.normal(*b, n, j), d.normal(*b, n, dim), d.uniform(low=0.05, high=0.5)))
        )
    for b, n, j, dim in MASKED:
        args = d.normal(*b, n, j), d.normal(*b, n, dim), d.uniform(*b, low=0.05, high=0.5)
        out.append(Sample(f"masked {b} {n}x{j}x{dim}", args, {"mask": d.mask(b, n)}))
    return out


def _robust_ridge(d: _Draw, size: str) -> list[Sample]:
    out = []

    def sample(b: tuple[int, ...], n: int, j: int, dim: int, per_task: tuple[int, ...], **kwargs: Any) -> None:
        x, h, a0 = d.normal(*b, n, dim), d.normal(*b, n, j, scale=0.7), d.normal(*b, n, dim, scale=0.3)
        lam, mu = d.uniform(*per_task, low=0.2, high=1.0), d.uniform(*per_task, low=0.05, high=0.3)
        name = " ".join([*kwargs, f"{b} {n}x{j}x{dim}"])
        out.append(Sample(name, (x, h, a0, lam, mu), kwargs))

    for shape in _shapes(size):
        sample(*shape, ())
    for b, n, j, dim in MASKED:
        sample(b, n, j, dim, b, mask=d.mask(b, n))
    sample((), 19, 6, 11, (), n_iter=1)
    sample((2,), 11, 6, 19, (2,), n_iter=3)
    return out


def _smoothed_auc(d: _Draw, size: str) -> list[Sample]:
    sizes = [((), 1, 1), ((), 3, 27), ((), 1, 17), ((), 31, 2), ((4,), 5, 33), ((2, 3), 7, 8), ((), 129, 255)]
    if size == "all":
        sizes += [((), 1000, 1000), ((2,), 700, 3000), ((), 4099, 4096)]
    out = [Sample(f"{b} {p}x{q}", (d.normal(*b, p, scale=2), d.normal(*b, q, scale=2))) for b, p, q in sizes]
    masks = {"pos_mask": d.mask((4,), 9), "neg_mask": d.mask((4,), 21)}
    out.append(Sample("masked (4,) 9x21", (d.normal(4, 9), d.normal(4, 21)), masks))
    out.append(Sample("temperature 0.1", (d.normal(15), d.normal(40)), {"temperature": 0.1}))
    return out


def _deviation_loss(d: _Draw, size: str) -> list[Sample]:
    shapes = [(1,), (2,), (13,), (4, 7), (2, 3, 5), (1023,)] + ([(100_003,)] if size == "all" else [])
    out = [Sample(f"{s}", (d.normal(*s, scale=3), d.labels(*s))) for s in shapes]
    for reduction in ("sum", "none"):
        out.append(Sample(reduction, (d.normal(37, scale=3), d.labels(37)), {"reduction": reduction}))
    out.append(Sample("prior", (d.normal(8), d.labels(8).bool()), {"prior": (0.3, 1.7), "margin": 2.0}))
    return out


def _roc_auc(d: _Draw, size: str) -> list[Sample]:
    out = [Sample(f"{s}", (d.normal(*s).detach(), d.labels(*s))) for s in [(2,), (7,), (3, 33), (1025,)]]
    out.append(Sample("ties", (d.normal(500).detach().round(), d.labels(500))))
    mask = d.mask((3,), 40)
    mask[:, :2] = True
    out.append(Sample("masked", (d.normal(3, 40).detach(), d.labels(3, 40)), {"mask": mask}))
    return out


_SAMPLES: dict[str, Callable[[_Draw, str], list[Sample]]] = {
    "soft_threshold": _soft_threshold,
    "ridge_solve": _ridge_solve,
    "robust_ridge": _robust_ridge,
    "smoothed_auc": _smoothed_auc,
    "deviation_loss": _deviation_loss,
    "roc_auc": _roc_auc,
}


def sample_inputs(
    op: str, dtype: torch.dtype = torch.float32, device: str = "cpu", *, size: str = "all", seed: int = 0
) -> list[Sample]:
    """Sample calls of a public op; size "small" leaves out what an interpreter takes long over."""
    return _SAMPLES[op](_Draw(dtype, device, seed), size)
