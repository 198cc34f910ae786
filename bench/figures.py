"""Figures of merit that are no ratio of times: error, memory, import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from heterad import ops
from heterad.testing import relative_error

SIZES = ((1, 1), (3, 27), (129, 257), (1000, 1000), (1000, 20_000), (20_000, 300))
SCALES = (1e-3, 1.0, 10.0, 1e3, 1e6)


def auc_cases(device: str) -> Iterator[tuple[Tensor, Tensor]]:
    """Every size and scale: plain, tied, saturated, and with outliers on both sides."""
    generator = torch.Generator().manual_seed(0)
    for p, q in SIZES:
        for scale in SCALES:
            pos, neg = (torch.randn(n, generator=generator) * scale for n in (p, q))
            far_pos, far_neg = pos.clone(), neg.clone()
            far_pos[0], far_neg[-1] = 1e4 * scale, -1e4 * scale
            tied = (pos * 4 / scale).round() * scale / 4, (neg * 4 / scale).round() * scale / 4
            for case in ((pos, neg), tied, (pos + 30 * scale, neg), (far_pos, far_neg)):
                yield case[0].to(device).requires_grad_(), case[1].to(device).requires_grad_()


def brute(pos: Tensor, neg: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Value and gradients over all pairs, by blocks."""
    pos, neg = pos.detach().to(dtype), neg.detach().to(dtype)
    value, d_pos, d_neg = pos.new_zeros(()), [], torch.zeros_like(neg)
    for part in pos.split(max(1, 2**21 // len(neg))):
        s = torch.sigmoid(part[:, None] - neg)
        slope = s * (1 - s)
        value += s.sum()
        d_pos.append(slope.sum(1))
        d_neg -= slope.sum(0)
    pairs = len(pos) * len(neg)
    return [value / pairs, torch.cat(d_pos) / pairs, d_neg / pairs]


def auc_error(device: str) -> float:
    """The worst relative error of value and gradients, beyond twice what plain float32 torch itself makes.

    Where all pairs are saturated a gradient of 1e-9 of its bound has few digits in any float32 form; hence the rule
    of heterad.testing. The gradients' sum, which must vanish, counts relative to the sum of their sizes.
    """
    worst = 0.0
    for pos, neg in auc_cases(device):
        value = ops.smoothed_auc(pos, neg)
        got = [value, *torch.autograd.grad(value, (pos, neg))]
        exact, plain = brute(pos, neg, torch.float64), brute(pos, neg, torch.float32)
        for g, e, p in zip(got, exact, plain, strict=True):
            worst = max(worst, relative_error(g, e) - 2 * relative_error(p, e))
        total = sum(g.double().abs().sum().item() for g in got[1:])
        drift = sum(g.double().sum().item() for g in got[1:])
        worst = max(worst, abs(drift) / total if total > 0 else 0.0)
    return worst


_MEMORY = """
import sys
import torch
from heterad import ops

def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

n = int(sys.argv[1])
g = torch.Generator().manual_seed(0)
pos, neg = (torch.randn(n, generator=g).requires_grad_() for _ in range(2))
few = [t.detach()[:100].requires_grad_() for t in (pos, neg)]
torch.autograd.grad(ops.smoothed_auc(*few), few)
with open("/proc/self/clear_refs", "w") as control:
    control.write("5")  # the peak starts anew from what is resident now
before = status("VmRSS")
value = ops.smoothed_auc(pos, neg)
grads = torch.autograd.grad(value, (pos, neg))
print((status("VmHWM") - before) / (2 * n))
"""

_IMPORT = """
import time
import torch
start = time.perf_counter()
import heterad.ops
spent = time.perf_counter() - start
import sys
assert not {"triton", "sklearn"} & set(sys.modules), "heterad.ops imports triton or scikit-learn"
print(spent)
"""


def _child(code: str, *args: str) -> float:
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return float(done.stdout)


def auc_memory(device: str, n: int = 1_000_000) -> float:
    """Peak extra memory of value and gradients, results included, in bytes a score."""
    if device == "cpu":
        return _child(_MEMORY, str(n))
    pos, neg = (torch.randn(n, device=device).requires_grad_() for _ in range(2))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    value = ops.smoothed_auc(pos, neg)
    torch.autograd.grad(value, (pos, neg))
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / (2 * n)


def import_seconds(device: str) -> float:
    """Import of heterad.ops after torch, the least of five fresh processes."""
    return min(_child(_IMPORT) for _ in range(5))


FIGURES: dict[str, Callable[[str], float]] = {
    "smoothed_auc error": auc_error,
    "smoothed_auc memory": auc_memory,
    "import seconds": import_seconds,
}
