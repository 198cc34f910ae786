"""Threads, the choice of rows, and what is recorded about the machine."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import torch

import heterad

PEERS = ("torch", "triton", "numpy", "scikit-learn", "jax", "torchmetrics", "pykeops", "libauc", "pytest-benchmark")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--threads", type=int, default=2, help="threads of every provider on the CPU (default 2)")
    parser.addoption("--budget", type=float, default=2.0, help="seconds to time a provider of a row for (default 2)")


def pytest_configure(config: pytest.Config) -> None:
    for option in ("--threads", "--budget"):
        if not config.getoption(option) > 0:
            raise pytest.UsageError(f"{option}: expected more than 0, got {config.getoption(option)}")
    torch.set_num_threads(config.getoption("--threads"))
    os.environ["HETERAD_BENCH_SMOKE"] = "1" if "smoke" in config.getoption("keyword") else "0"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Smoke rows run only where asked for by name."""
    if "smoke" in config.getoption("keyword"):
        return
    smoke = [item for item in items if "smoke" in item.name]
    config.hook.pytest_deselected(items=smoke)
    items[:] = [item for item in items if "smoke" not in item.name]


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no CUDA device")


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    del machine_info["node"]  # whose machine it was is nobody's business
    versions = {}
    for name in PEERS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    machine_info.update(
        heterad=heterad.__version__,
        threads=torch.get_num_threads(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        versions=versions,
        backends=[list(row[:3]) for row in heterad.ops.info()],
        gpu=_gpu(),
        commit=_commit(),
    )


def _gpu() -> dict[str, str] | None:
    if not torch.cuda.is_available():
        return None
    fields = ("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem", "power.limit")
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    try:
        line = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return {"name": torch.cuda.get_device_name(), "cuda": str(torch.version.cuda)}
    return dict(zip(fields, line.split(", "), strict=True)) | {"cuda": str(torch.version.cuda)}


def _commit() -> str:
    """HETERAD_COMMIT stands in where the tree was copied without its history."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("HETERAD_COMMIT", "unknown")
