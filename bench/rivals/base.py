"""What all rivals share: calls that take gradients, peers that may be absent."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], Any]  # no arguments; returns the outputs and the gradients, as a flat sequence


class Absent(Exception):
    """A provider cannot run here; the message says which and why."""


def peer(module: str) -> Any:
    """Import an optional library, or say which one is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Absent(f"{module.split('.')[0]} is not installed ({error})") from error


def forward_backward(
    function: Callable[..., Any], leaves: Sequence[Tensor], cotangents: Sequence[Tensor] | None = None
) -> Call:
    """A call of `function(*leaves)` that returns its outputs and the gradient of every leaf.

    Without cotangents the outputs are differentiated as their sum.
    """

    def call() -> list[Tensor]:
        outputs = function(*leaves)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        seeds = cotangents or [torch.ones_like(o) for o in outputs]
        return [*outputs, *torch.autograd.grad(outputs, leaves, seeds)]

    return call


class _Empty(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, shapes: Sequence[Sequence[int]], *leaves: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*leaves)
        return tuple(leaves[0].new_empty(shape) for shape in shapes)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        return None, *(torch.empty_like(leaf) for leaf in ctx.saved_tensors)


def empty(
    shapes: Sequence[Sequence[int]], leaves: Sequence[Tensor], cotangents: Sequence[Tensor] | None = None
) -> Call:
    """An autograd Function that allocates its results and computes nothing: what any op of Python's costs at least."""
    return forward_backward(lambda *given: _Empty.apply(shapes, *given), leaves, cotangents)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """torch.compile of a function; smoke runs trace it and leave out the minute of code generation."""
    quick = os.environ.get("HETERAD_BENCH_SMOKE") == "1"
    torch._dynamo.config.recompile_limit = 64
    return torch.compile(function, fullgraph=True, dynamic=False, backend="aot_eager" if quick else "inductor")


def jax_on_the_same_threads() -> Any:
    """jax with as many threads as torch has, and two more: on a batch of systems a pool of two waits for itself."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("PJRT_NPROC", str(torch.get_num_threads() + 2))
    jax = peer("jax")
    jax.config.update("jax_default_matmul_precision", "float32")
    # jax factorises by scipy's OpenBLAS, whose threads cost ten times what they help on matrices of 32 x 32 (measured)
    peer("scipy.linalg")
    peer("threadpoolctl").threadpool_limits(1, user_api="blas")
    return jax


def to_jax(jax: Any, tensor: Tensor) -> Any:
    """The same numbers on the same device."""
    array = jax.numpy.asarray(tensor.detach().cpu().numpy())
    return jax.device_put(array, jax.devices("gpu" if tensor.is_cuda else "cpu")[0])


def as_tensor(value: Any) -> Tensor:
    """A provider's number, array or tensor, for comparison."""
    if isinstance(value, Tensor):
        return value.detach()
    import numpy as np

    return torch.from_numpy(np.array(value))
