"""What every op promises, as checks that its test file calls."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import torch
from torch import Tensor

import heterad
from heterad.testing import Sample, available_backends, relative_error, sample_inputs

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def call(op: str, sample: Sample, function: Callable | None = None) -> list[Tensor]:
    """Outputs and the gradient of every leaf, of the op or of what stands for it."""
    outputs = (function or getattr(heterad.ops, op))(*sample.args, **sample.kwargs)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    leaves = sample.leaves()
    grads = torch.autograd.grad(sum(o.sum() for o in outputs), leaves) if leaves else ()
    return [o.detach() for o in outputs] + list(grads)


def equal(a: list[Tensor], b: list[Tensor], exact: bool = True) -> bool:
    """Bit for bit, or (torch's own ops choose their order of summation by layout) to rounding."""
    return all(torch.equal(x, y) if exact else relative_error(x, y) <= 1e-6 for x, y in zip(a, b, strict=True))


def is_registered(op: str) -> None:
    """The dispatcher's four checks on the op and its derivative, as the public function calls them on small samples."""
    from torch.library import opcheck

    seen: dict[str, list[tuple]] = {f"heterad::{op}": [], f"heterad::{op}_bwd": []}

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.name() in seen:
                seen[func.name()].append(args)
            return func(*args, **(kwargs or {}))

    samples = sample_inputs(op, size="small")
    with Record():
        for sample in samples:
            call(op, sample)
    for name, calls in seen.items():
        backward = name.endswith("_bwd")
        assert len(calls) == len(samples) >= 6 or (backward and not calls)  # a derivative may be torch's own ops
        for args in calls:
            leaves = [a.detach() if isinstance(a, Tensor) else a for a in args]
            if not backward and samples[0].leaves():
                leaves = [a.requires_grad_(a.is_floating_point()) if isinstance(a, Tensor) else a for a in leaves]
            opcheck(getattr(torch.ops.heterad, name.removeprefix("heterad::")).default, tuple(leaves))


def compiles(op: str, exact: bool = True) -> None:
    """One graph, the results of eager; where torch's own ops are traced, up to the rounding of another order."""
    for sample in sample_inputs(op, size="small")[-2:]:
        torch._dynamo.reset()
        eager = call(op, sample)
        compiled = torch.compile(getattr(heterad.ops, op), fullgraph=True, backend="aot_eager")
        assert equal(eager, call(op, sample, compiled), exact)


def takes_any_layout(op: str, exact: bool = True) -> None:
    """Transposed, sliced and misaligned tensors give the results of contiguous ones, and no input is written to."""

    def spread(t: object) -> object:
        if not isinstance(t, Tensor) or t.ndim == 0:
            return t
        wide = torch.zeros(*t.shape[:-1], 2 * t.shape[-1] + 1, dtype=t.dtype)
        view = wide.transpose(0, -1).contiguous().transpose(0, -1)[..., 1::2]
        view.copy_(t.detach())
        return view.requires_grad_(t.requires_grad)

    for sample in sample_inputs(op, size="small"):
        strided = Sample(sample.name, tuple(map(spread, sample.args)), {k: spread(v) for k, v in sample.kwargs.items()})
        values = [v for v in (*strided.args, *strided.kwargs.values()) if isinstance(v, Tensor)]
        before = [v.detach().clone() for v in values]
        assert equal(call(op, sample), call(op, strided), exact), sample
        assert equal(before, [v.detach() for v in values])


def instruction_sets_agree(op: str, bound: float) -> None:
    """Each instruction set of the C++ core stays within `bound` of the reference, in a process of its own."""
    if "cpp" not in available_backends(op):
        return
    code = f"""
import torch, heterad
from heterad.testing import relative_error, sample_inputs
for dtype in (torch.float32, torch.float64):
    for sample in sample_inputs({op!r}, dtype):
        got = []
        for name in ("cpp", "reference"):
            with heterad.ops.backend(name):
                out = heterad.ops.{op}(*sample.args, **sample.kwargs)
            leaves = sample.leaves()
            grads = torch.autograd.grad(out.sum(), leaves) if leaves else ()
            got.append([out, *grads])
        for a, b in zip(*got, strict=True):
            assert relative_error(a, b) <= {bound} * torch.finfo(dtype).eps, (sample, relative_error(a, b))
"""
    for isa in ("baseline", "avx2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "HETERAD_ISA": isa},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def instruction_sets_are_accurate(op: str) -> None:
    """Each instruction set of the C++ core keeps the rule of accuracy, in a process of its own."""
    if "cpp" not in available_backends(op):
        return
    code = f"""
import torch
from heterad.testing import assert_accurate, sample_inputs
for dtype in (torch.float32, torch.float64):
    for sample in sample_inputs({op!r}, dtype):
        assert_accurate({op!r}, sample)
"""
    for isa in ("baseline", "avx2"):
        env = {**os.environ, "HETERAD_ISA": isa, "HETERAD_BACKEND": "cpp"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
