"""How an op enters PyTorch: one definition serves the dispatcher (compile, export, opcheck) and plain eager calls.

A call through the dispatcher costs several times a direct `autograd.Function` (measured at 3 x 27 scores, forward and
backward: 144 against 80 microseconds), so eager calls go directly and everything that traces goes through `torch.ops`.
Both use the same kernels, the same `save` and the same `backward`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._functorch.utils import unwrap_dead_wrappers
from torch.autograd import forward_ad

from heterad.ops import _backend

LIBRARY = torch.library.Library("heterad", "DEF")

_dispatch_modes = torch._C._len_torch_dispatch_stack
_jit_trace = torch._C._get_tracing_state
_transform = torch._C._functorch.peek_interpreter_stack


def traced() -> bool:
    """Whether torch.compile, export, jit.trace or a dispatch mode looks on: every call must go by the dispatcher."""
    return torch.compiler.is_compiling() or _dispatch_modes() > 0 or _jit_trace() is not None


def transformed() -> bool:
    """Whether torch.func is at work."""
    return _transform() is not None


def differentiates(*args: Any) -> bool:
    """Whether a derivative by one of the arguments may be asked for, or come along (forward mode, which is refused)."""
    if forward_ad._current_level >= 0:
        return True
    if torch.is_grad_enabled():
        for a in args:
            if isinstance(a, torch.Tensor) and a.requires_grad:
                return True
    return False


def direct(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """`Function.apply` without its question whether torch.func is at work, which costs 6 microseconds."""
    return super(torch.autograd.Function, function).apply  # type: ignore[misc]


def address(t: torch.Tensor | None) -> int:
    """Where a contiguous tensor's numbers begin; 0 without one."""
    return 0 if t is None else t.data_ptr()


LARGE = 1 << 20  # numbers


def room(shape: Sequence[int], dtype: torch.dtype, *, zero: bool = False) -> torch.Tensor:
    """Memory on the CPU for a result; if large, on huge pages where they are to be had."""
    t = torch.empty(shape, dtype=dtype)
    if t.numel() >= LARGE:
        from heterad import _C

        _C.huge_pages(t.data_ptr(), t.nbytes)
    return t.zero_() if zero else t


class Op:
    """One op: its schema, its kernels by back end, and its derivative.

    Args:
        schema: as ``torch.library`` reads it, without the namespace; the first argument is a tensor or None.
        kernels: back end -> function of the schema's arguments. A kernel trusts its arguments.
        fake: the schema's arguments -> empty outputs of the right shapes.
        save: ``(ctx, inputs, output)``: keeps what ``backward`` needs.
        backward: ``(ctx, *grads)`` -> a gradient, or None, for every argument. Without it, differentiating raises.
        public: how many of the outputs callers use, if not all; the others serve `backward`, and an eager call saves
            the 10 microseconds that handing them through autograd costs: it returns only the first.
    """

    def __init__(
        self,
        schema: str,
        kernels: dict[str, Callable[..., Any]],
        fake: Callable[..., Any],
        save: Callable[..., None] | None = None,
        backward: Callable[..., Any] | None = None,
        public: int | None = None,
    ) -> None:
        self.name = schema[: schema.index("(")]
        self.owner = self.name.removesuffix("_bwd")
        self.kernels = kernels
        LIBRARY.define(schema)
        for key in ("CPU", "CUDA"):
            LIBRARY.impl(self.name, self.run, key)
        torch.library.register_fake(f"heterad::{self.name}", fake, lib=LIBRARY)
        save = save or (lambda ctx, inputs, output: None)
        backward = backward or self._refuse
        torch.library.register_autograd(f"heterad::{self.name}", backward, setup_context=save, lib=LIBRARY)
        if self.owner == self.name:
            _backend.register(self.name, tuple(kernels))
        self.dispatched = getattr(torch.ops.heterad, self.name).default
        eager, self.transformed = _functions(self, save, backward, public)
        self.direct = direct(eager)

    def run(self, *args: Any) -> Any:
        """The kernel, below autograd."""
        first = args[0] if args[0] is not None else next(a for a in args if isinstance(a, torch.Tensor))
        return self.kernels[_backend.choose(self.owner, first.device.type)](*args)

    def __call__(self, *args: Any) -> Any:
        if traced():
            return self.dispatched(*args)
        if transformed():
            return self.transformed.apply(*args)
        return self.direct(*args) if differentiates(*args) else self.run(*args)

    def _refuse(self, ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            f"heterad::{self.owner} cannot be differentiated twice; the slower HETERAD_BACKEND=reference can"
        )

    def _refuse_forward(self, ctx: Any, *tangents: Any) -> Any:
        raise RuntimeError(
            f"heterad::{self.owner} has no forward-mode derivative; the slower HETERAD_BACKEND=reference has"
        )


def _functions(op: Op, save: Callable[..., None], backward: Callable[..., Any], public: int | None) -> tuple[Any, Any]:
    """The op as two autograd Functions: torch.func needs `setup_context`, which costs eager calls 20 microseconds."""

    class Direct(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *args: Any) -> Any:
            output = op.run(*args)
            save(ctx, args, output)
            return output if public is None else output[:public]

        jvp = staticmethod(op._refuse_forward)

    class Transformed(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*args: Any) -> Any:
            return (op.dispatched if transformed() else op.run)(*args)  # under vmap torch calls the op slice by slice

        setup_context = staticmethod(save)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            return backward(_Left(ctx), *grads)

        jvp = staticmethod(op._refuse_forward)

    Direct.backward = staticmethod(backward)  # type: ignore[method-assign]
    return Direct, Transformed


class _Left:
    """A context whose transform may have ended (`torch.func.vjp`): what it saved comes as plain tensors."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self.saved_tensors = unwrap_dead_wrappers(ctx.saved_tensors)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)
