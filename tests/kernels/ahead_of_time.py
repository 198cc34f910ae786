"""Compile, without a GPU, exactly what the launchers launch: every kernel, signature, constant and option."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction, mangle_type

OPTIONS = ("num_warps", "num_stages")


@dataclass
class Launch:
    """One kernel as it would be specialised for the arguments of a launch."""

    kernel: JITFunction
    signature: dict[str, str]
    constants: dict[tuple[int], Any]
    attributes: dict[tuple[int], list[list[Any]]]
    options: dict[str, int]

    def __repr__(self) -> str:
        return f"{self.kernel.__name__} {list(self.signature.values())} {self.constants} {self.options}"

    def compile(self, arch: int) -> Any:
        source = ASTSource(self.kernel, self.signature, self.constants, self.attributes)
        return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=self.options)


def specialise(kernel: JITFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Launch:
    """What triton's launch makes of its arguments: 1 and None become constants, multiples of 16 are told."""
    options = {k: kwargs.pop(k) for k in OPTIONS if k in kwargs}
    values = dict(zip(kernel.arg_names, args, strict=False)) | kwargs
    assert list(values) == kernel.arg_names, f"{kernel.__name__}: launched with {list(values)}"
    signature, constants, attributes = {}, {}, {}
    for i, parameter in enumerate(kernel.params):
        value = values[parameter.name]
        if parameter.is_constexpr or value is None or (type(value) is int and value == 1):
            signature[parameter.name] = "constexpr"
            constants[i,] = value
            continue
        signature[parameter.name] = parameter.annotation_type or mangle_type(value)
        if isinstance(value, torch.Tensor) or (type(value) is int and value % 16 == 0):
            attributes[i,] = [["tt.divisibility", 16]]
    return Launch(kernel, signature, constants, attributes, options)


@contextlib.contextmanager
def recorded() -> Iterator[dict[str, Launch]]:
    """Inside the block launches are recorded and nothing runs: outputs hold whatever memory held."""
    launches: dict[str, Launch] = {}

    def run(self: JITFunction, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        launch = specialise(self, args, kwargs)
        launches.setdefault(repr(launch), launch)

    original, JITFunction.run = JITFunction.run, run
    try:
        yield launches
    finally:
        JITFunction.run = original
