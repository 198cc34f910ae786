"""Values and gradients of every compiled back end on the small sample inputs, with nothing but torch.

    python bench/check_gpu.py [cuda|cpu] [--only-run]

--only-run leaves out the comparison: for sanitizers, under which everything is slow.
"""

from __future__ import annotations

import sys

import torch

import heterad
from heterad.testing import Sample, assert_accurate, available_backends, sample_inputs

OPS = ("soft_threshold", "ridge_solve", "robust_ridge", "smoothed_auc", "deviation_loss", "roc_auc")


def run(op: str, sample: Sample) -> None:
    outputs = getattr(heterad.ops, op)(*sample.args, **sample.kwargs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    if sample.leaves():
        torch.autograd.grad(outputs, sample.leaves(), [torch.ones_like(o) for o in outputs])


def main(arguments: list[str]) -> int:
    device = "cpu" if "cpu" in arguments else "cuda"
    judge = run if "--only-run" in arguments else assert_accurate
    broken = 0
    for op in OPS:
        for backend in available_backends(op, device)[1:]:
            samples = sample_inputs(op, device=device, size="small")
            faults = []
            with heterad.ops.backend(backend):
                for sample in samples:
                    try:
                        judge(op, sample)
                    except Exception as error:
                        faults.append(f"{sample}: {type(error).__name__}: {error}")
            print(f"{op} {backend}: {len(samples) - len(faults)} of {len(samples)} right", *faults[:3], sep="\n  ")
            broken += len(faults)
    if device == "cuda":
        torch.cuda.synchronize()
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
