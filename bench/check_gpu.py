"""Values and gradients of every compiled back end on the small sample inputs, with nothing but torch.

    python bench/check_gpu.py [cuda|cpu] [--only-run]

Each op and back end has processes of its own, several at a time: a kernel that breaks the device, or the compiler,
takes nothing else along, and kernels compile side by side. --only-run leaves out the comparison and the processes: for
sanitizers, under which everything is slow.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

import heterad
from heterad.testing import Sample, assert_accurate, available_backends, sample_inputs

OPS = ("soft_threshold", "ridge_solve", "robust_ridge", "smoothed_auc", "deviation_loss", "roc_auc")
SHARES = {"ridge_solve": 3, "robust_ridge": 6}  # processes for an op whose kernels take long to compile
LIMIT_S = 150


def run(op: str, sample: Sample) -> None:
    outputs = getattr(heterad.ops, op)(*sample.args, **sample.kwargs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    if sample.leaves():
        torch.autograd.grad(outputs, sample.leaves(), [torch.ones_like(o) for o in outputs])


def faults(device: str, op: str, backend: str, judge: Callable[[str, Sample], None], share: slice) -> list[str]:
    """What went wrong on this share of the samples."""
    found = []
    with heterad.ops.backend(backend):
        for sample in sample_inputs(op, device=device, size="small")[share]:
            try:
                judge(op, sample)
            except Exception as error:
                found.append(" ".join(f"{sample}: {type(error).__name__}: {error}"[:1000].split()))
    if device == "cuda":
        torch.cuda.synchronize()
    return found


def apart(device: str, op: str, backend: str, share: slice) -> list[str]:
    """The same from a process of its own."""
    command = [sys.executable, __file__, device, "--part", op, backend, str(share.start), str(share.step)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return [f"not done after {LIMIT_S} s"]
    found = done.stdout.split("\n")[:-1]
    return (
        found if done.returncode == bool(found) else [*found, f"exit status {done.returncode}: {done.stderr[-2000:]}"]
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("device", nargs="?", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--only-run", action="store_true")
    parser.add_argument("--part", nargs=4, metavar=("OP", "BACKEND", "FIRST", "STEP"))
    args = parser.parse_args(arguments)
    if args.part:
        op, backend, first, step = args.part
        found = faults(args.device, op, backend, assert_accurate, slice(int(first), None, int(step)))
        for fault in found:
            print(fault)
        return int(bool(found))
    pairs = [(op, backend) for op in OPS for backend in available_backends(op, args.device)[1:]]
    if args.only_run:
        results = {pair: faults(args.device, *pair, run, slice(None)) for pair in pairs}
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting = {}
            for op, backend in pairs:
                n = SHARES.get(op, 1) if args.device == "cuda" else 1
                waiting[op, backend] = [
                    pool.submit(apart, args.device, op, backend, slice(i, None, n)) for i in range(n)
                ]
            results = {pair: [fault for part in parts for fault in part.result()] for pair, parts in waiting.items()}
    for (op, backend), found in results.items():
        print(f"{op} {backend}: {f'{len(found)} wrong' if found else 'right'}", *found[:3], sep="\n  ")
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
