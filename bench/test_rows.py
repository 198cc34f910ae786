"""Times every provider of every row beside heterad, once heterad's values have been checked in the same run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import measure
import pytest
import torch
from figures import FIGURES
from floors import floor
from rivals.base import Absent, Call, as_tensor
from row import Row
from workloads import ROWS

import heterad
from heterad.ops import _backend
from heterad.testing import assert_accurate, available_backends, relative_error, sample_inputs

RIVAL_TOLERANCE = 1e-3  # a rival must compute the same thing; how well is its own affair


def providers(row: Row) -> list[str]:
    """heterad as it chooses, its other back ends where the row is small, the rivals, the floor."""
    names = ["heterad"]
    if row.smoke and not row.needs:
        names += [f"heterad {name}" for name in available_backends(row.op, row.device)]
    return [*names, *row.rivals, *(["floor"] if row.has_floor else [])]


def cases() -> list[Any]:
    found = []
    for row in ROWS.values():
        marks = [pytest.mark.gpu] if row.device == "cuda" else []
        found += [pytest.param(row.id, p, marks=marks, id=f"{row.id}-{p}") for p in providers(row)]
    return found


@functools.cache
def fault(op: str, device: str, backend: str) -> str:
    """Why the op may not be timed: the first sample input on which it breaks the rule of accuracy; empty if none."""
    with heterad.ops.backend(backend):
        try:
            for sample in sample_inputs(op, device=device, size="small"):
                assert_accurate(op, sample)
        except Exception as error:
            return f"{op} on {device}, back end {backend}: {error}"
    return ""


@functools.lru_cache(maxsize=1)
def made(row_id: str) -> tuple[Any, Call, list[Any], list[Any]]:
    """Inputs, heterad's call, and the exact and the plain float32 values of a row."""
    row = ROWS[row_id]
    inputs = row.make(row.device)
    exact, plain = ([], []) if row.exact is None else (row.exact(inputs, d) for d in (torch.float64, torch.float32))
    return inputs, row.ours(inputs), exact, plain


def check(row: Row, provider: str, values: Any, exact: list[Any], plain: list[Any]) -> None:
    """Hold a provider's outputs and gradients to the exact ones, as far as the row computes them."""
    for i, (value, e, p) in enumerate(zip(values, exact, plain, strict=False)):
        if e is None:
            continue
        got = as_tensor(value).to(e.device)
        error = relative_error(got[: len(e)] if e.ndim else got, e)
        allowed = 2 * relative_error(p, e) + 1e-6 if provider.startswith("heterad") else RIVAL_TOLERANCE
        assert error <= allowed, f"{row.name}, {provider}: value {i} is off by {error:.2e}, allowed {allowed:.2e}"


def chosen(call: Call, backend: str) -> Call:
    def run() -> Any:
        with heterad.ops.backend(backend):
            return call()

    return run


def prepare(row: Row, provider: str, inputs: Any, ours: Call) -> tuple[Call, float]:
    """A provider's call, and how many calls make the row's work."""
    per_call = row.per_call.get(provider, 1.0)
    if provider == "floor":
        return floor(row)
    if provider in row.rivals:
        return row.rivals[provider](inputs), 1 / per_call
    backend = provider.removeprefix("heterad").strip()
    return chosen(ours, backend) if backend else ours, 1 / row.per_call.get("heterad", 1.0)


@pytest.mark.benchmark(timer=measure.clock, disable_gc=True)
@pytest.mark.parametrize(("row_id", "provider"), cases())
def test_row(row_id: str, provider: str, benchmark: Any, pytestconfig: pytest.Config) -> None:
    row = ROWS[row_id]
    benchmark.group = f"{row.name} [{row.device}]"
    forced = provider.removeprefix("heterad ") if provider.startswith("heterad ") else "auto"
    needs = row.needs or (row.op,)
    served = [_backend.choose(op, row.device) if forced == "auto" else forced for op in needs]
    if "reference" in served and not row.reference_can:
        pytest.skip(f"only the reference serves {row.op} on {row.device}, and this size is beyond it")
    for op in needs:
        assert not fault(op, row.device, forced), fault(op, row.device, forced)
    inputs, ours, exact, plain = made(row_id)
    try:
        call, work = prepare(row, provider, inputs, ours)
        values = call()
    except Absent as reason:
        pytest.skip(str(reason))
    if provider != "floor" and provider not in row.unlike:
        check(row, provider, values, exact, plain)
    del values
    benchmark.extra_info.update(
        row=row.name, op=row.op, device=row.device, provider=provider, smoke=row.smoke, point=row.point,
        backend="+".join(sorted(set(served))), work=work, ours_work=1 / row.per_call.get("heterad", 1.0),
    )  # fmt: skip
    plan = measure.SMOKE if row.smoke else measure.full(pytestconfig.getoption("--budget"))
    measure.take_turns(benchmark, call, ours, plan)


def figure_cases() -> list[Any]:
    names = [("cpu", name) for name in FIGURES] + [("cuda", name) for name in FIGURES if name.startswith("smoothed")]
    return [pytest.param(d, n, marks=[pytest.mark.gpu] if d == "cuda" else [], id=f"{d}-figure {n}") for d, n in names]


@pytest.mark.benchmark(timer=measure.clock)
@pytest.mark.parametrize(("device", "name"), figure_cases())
def test_figure(device: str, name: str, benchmark: Any) -> None:
    if name == "smoothed_auc memory" and _backend.choose("smoothed_auc", device) == "reference":
        pytest.skip(f"only the reference serves smoothed_auc on {device}, and this size is beyond it")
    figure: Callable[[str], float] = FIGURES[name]
    benchmark.group = f"figures [{device}]"
    value = benchmark.pedantic(figure, args=(device,), rounds=1)
    benchmark.extra_info.update(row=name, device=device, provider="figure", figure=value, smoke=False)
