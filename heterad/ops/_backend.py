"""Which back end serves which op on which device, and why."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import logging
import os
from collections.abc import Iterator

import torch

log = logging.getLogger("heterad.ops")

BACKENDS = ("reference", "cpp", "triton", "cuda")
AUTO = {"cpu": ("cpp",), "cuda": ("cuda", "triton")}
_compiled: dict[str, tuple[str, ...]] = {}  # op -> its compiled back ends, in order of registration
_forced: str | None = os.environ.get("HETERAD_BACKEND") or None
if _forced is not None and _forced not in (*BACKENDS, "auto"):
    raise ValueError(f"HETERAD_BACKEND: expected one of {', '.join(('auto', *BACKENDS))}, got {_forced!r}")
if _forced == "auto":
    _forced = None


def interpreted() -> bool:
    """True where Triton kernels run on the CPU, interpreted."""
    return os.environ.get("TRITON_INTERPRET") == "1"


@functools.cache
def why_not(backend: str) -> str | None:
    """Why a back end cannot run at all in this process; None where it can."""
    if backend in ("cpp", "cuda") and os.environ.get("HETERAD_NO_EXT") == "1":
        return "HETERAD_NO_EXT=1"
    if backend == "cpp":
        return _import_failure("heterad._C", "no compiler at install time")
    if backend == "triton":
        if importlib.util.find_spec("triton") is None:
            return "triton is not installed"
        return None if interpreted() or torch.cuda.is_available() else "no CUDA device, and TRITON_INTERPRET is not 1"
    if backend == "cuda":
        if not torch.cuda.is_available():
            return "no CUDA device"
        reason = _import_failure("heterad._cuda", "no nvcc at install time")
        return reason or importlib.import_module("heterad._cuda").why_not()
    return None


def _import_failure(module: str, cause: str) -> str | None:
    try:
        importlib.import_module(module)
    except ModuleNotFoundError:
        package = os.path.dirname(os.path.dirname(__file__))
        return f"{module} is not in {package} ({cause}, or these are sources that hide an installed heterad)"
    except ImportError as error:
        return f"{module} does not load: {error}"
    return None


def register(op: str, backends: tuple[str, ...]) -> None:
    _compiled[op] = backends


@functools.cache
def _resolve(op: str, device: str, forced: str | None) -> tuple[str, str]:
    """(back end, reason); raises RuntimeError where a forced back end cannot run."""
    have = _compiled[op]
    if forced is not None:
        if forced == "reference":
            return forced, "asked for"
        reason = why_not(forced)
        if forced not in have:
            reason = f"{op} has no {forced} implementation, only {', '.join((*have, 'reference'))}"
        elif reason is None and forced not in AUTO.get(device, ()) and not (forced == "triton" and interpreted()):
            reason = f"it does not run on {device} tensors"
        if reason is not None:
            raise RuntimeError(f"back end {forced!r} was asked for and cannot serve {op}: {reason}")
        return forced, "asked for"
    reasons = []
    for backend in AUTO.get(device, ()):
        if backend not in have:
            continue
        reason = why_not(backend)
        if reason is None:
            return backend, "fastest that runs here"
        reasons.append(f"{backend}: {reason}")
    why = "; ".join(reasons) or f"no compiled implementation for {device}"
    log.debug("%s on %s runs on the reference (%s)", op, device, why)
    return "reference", why


def _name(op: str, device: str, forced: str | None) -> str:
    return _resolve(op, device, forced)[0]


# What torch.compiler.assume_constant_result does, without its import of torch._dynamo (over a second).
_name._dynamo_marked_constant = True  # type: ignore[attr-defined]


def choose(op: str, device: str) -> str:
    """The back end that serves `op` on tensors of device type `device`."""
    return _name(op, device, _forced)


def may(backend: str) -> bool:
    """Whether a back end may be used at all: it can run here, and no other was asked for."""
    return _forced in (None, backend) and why_not(backend) is None


def work_dtype(dtype: torch.dtype, backend: str) -> torch.dtype:
    """The dtype a back end is handed: Triton kernels upcast half precision on load, the others are given float32."""
    if dtype in (torch.float32, torch.float64) or backend == "triton":
        return dtype
    return torch.float32


@contextlib.contextmanager
def backend(name: str) -> Iterator[None]:
    """Serve every op from the named back end (or "auto") inside the block; for tests and benches, not thread-safe."""
    global _forced
    if name not in (*BACKENDS, "auto"):
        raise ValueError(f"name: expected one of {', '.join(('auto', *BACKENDS))}, got {name!r}")
    before, _forced = _forced, None if name == "auto" else name
    try:
        yield
    finally:
        _forced = before


class Info(list):
    """Rows (op, device, back end, reason); prints as a table."""

    def __repr__(self) -> str:
        head = ("op", "device", "back end", "why")
        rows = [head, *self]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, [*widths, 0], strict=True)).rstrip() for row in rows)


def info() -> Info:
    """Which implementation serves each op on each device of this machine, and why.

    Returns:
        A list of rows ``(op, device, back end, reason)`` that prints as a table.

    Example:
        >>> import heterad
        >>> {row[0] for row in heterad.ops.info()} >= {"robust_ridge", "smoothed_auc"}
        True
    """
    rows = Info()
    for op in sorted(_compiled):
        for device in AUTO:
            try:
                name, why = _resolve(op, device, _forced)
            except RuntimeError as error:
                name, why = "none", str(error)
            if name == "cpp":
                name += f" ({importlib.import_module('heterad._C').isa()})"
            rows.append((op, device, name, why))
    return rows
