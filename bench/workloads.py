"""The table of what is measured; `rows_ops.py` and `rows_training.py` say how, `targets.py` what is to be reached."""

from __future__ import annotations

from row import Row
from rows_ops import auc_row, deviation_row, ridge_row, roc_row, solve_row, threshold_row
from rows_training import adaptation_row, step_row, throughput_row

RIDGE_SHAPES = ((50, 256), (10, 784), (30, 617), (250, 115))
GPU_SHAPES = ((50, 256), (10, 784), (250, 115))
PAIRS = ("broadcast", "compile", "jax", "keops")

CPU = [
    *(ridge_row(n, d, point=1 if n == 50 else None) for n, d in RIDGE_SHAPES),
    *(ridge_row(n, d, 64, ragged=True) for n, d in RIDGE_SHAPES),
    *(ridge_row(50, 256, b, rivals=("eager", "hoisted", "jax"), point=b) for b in (4, 16, 64, 256)),
    solve_row(4096, 50, 64),
    auc_row(3, 27),
    auc_row(3, 27, 64, rivals=("one by one", "broadcast", "jax")),
    auc_row(100, 100, rivals=PAIRS, point=200),
    auc_row(1000, 1000, point=2_000),
    auc_row(1000, 100_000, rivals=PAIRS),
    auc_row(20_000, 20_000, rivals=PAIRS, point=40_000),
    auc_row(100_000, 100_000, rivals=("sort",), point=200_000),
    auc_row(1_000_000, 1_000_000, rivals=("sort",), point=2_000_000),
    *(deviation_row(n, point=n) for n in (1_000, 10_000, 100_000, 1_000_000, 10_000_000)),
    threshold_row(1_000_000),
    *(roc_row(n, point=n) for n in (1_000, 10_000, 100_000, 1_000_000)),
    step_row(),
    throughput_row(),
    adaptation_row(),
]

CUDA = [
    *(ridge_row(n, d, 64, rivals=("eager", "compile"), device="cuda") for n, d in GPU_SHAPES),
    *(ridge_row(n, d, b, rivals=("eager",), device="cuda") for b in (1, 1024) for n, d in GPU_SHAPES),
    *(ridge_row(n, d, 4096, rivals=(), device="cuda") for n, d in GPU_SHAPES),
    solve_row(4096, 50, 64, device="cuda"),
    auc_row(2_000, 2_000, 64, rivals=("broadcast",), device="cuda", special=64 * 2_000 * 2_000),
    auc_row(20_000, 20_000, rivals=("broadcast",), device="cuda"),
    auc_row(1_000_000, 1_000_000, rivals=("sort",), device="cuda"),
    deviation_row(2**26, device="cuda"),
    threshold_row(2**26, device="cuda"),
    throughput_row(device="cuda"),
]

SMOKE = [
    ridge_row(9, 12, smoke=True),
    ridge_row(9, 12, 3, ragged=True, rivals=("eager", "hoisted", "hat", "jax"), smoke=True),
    solve_row(5, 7, 6, smoke=True),
    auc_row(3, 27, rivals=("broadcast", "jax", "libauc"), smoke=True),
    auc_row(5, 9, 4, rivals=("broadcast", "one by one"), smoke=True),
    auc_row(50, 70, rivals=("sort",), smoke=True),
    deviation_row(101, smoke=True),
    threshold_row(101, smoke=True),
    roc_row(101, smoke=True),
    step_row(16, smoke=True),
    throughput_row(3, 16, smoke=True),
    adaptation_row(16, smoke=True),
]

ROWS: dict[str, Row] = {row.id: row for row in (*CPU, *CUDA, *SMOKE)}
