"""What is to be reached, and whether it was.

A target names its rows and the provider that heterad is held against. `faster`: that provider takes at least `reach`
times as long as heterad. `within`: heterad takes at most `reach` times as long as that provider. `figure`: the figure
is at most `reach`. Of several providers the fastest at each row counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod

from results import Entry, Run

SHAPES = ("50x256", "10x784", "30x617", "250x115")
ONE = tuple(f"robust_ridge {s}" for s in SHAPES)
MANY = tuple(f"robust_ridge 64 ragged of {s}" for s in SHAPES)
GPU_SHAPES = ("50x256", "10x784", "250x115")


@dataclass(frozen=True)
class Target:
    work: str
    rows: tuple[str, ...]
    against: tuple[str, ...]
    sense: str
    reach: float | None = None
    mean: float | None = None  # of all rows, geometric
    unit: str = "x"
    device: str = "cpu"

    @property
    def wanted(self) -> str:
        sign = ">=" if self.sense == "faster" else "<="
        parts = [f"mean {sign} {self.mean:g}{self.unit}"] if self.mean else []
        if self.reach is not None:
            parts.append(f"{'each ' if len(self.rows) > 1 else ''}{sign} {self.reach:g}{self.unit}")
        return ", ".join(parts)


def _cpu() -> list[Target]:
    auc = "smoothed_auc"
    step, many, adapt = (
        "training step one task",
        "training throughput 32 tasks a step",
        "adaptation and scoring one task",
    )
    best = ("hoisted", "hat", "compile", "jax")
    floor_rows = tuple(r for r in MANY if "10x784" not in r)
    return [
        Target("robust_ridge, one task", ONE, ("eager",), "faster", 6, 12),
        Target("robust_ridge, one task", ONE, ("jax",), "faster", 1.5),
        Target("robust_ridge, 64 ragged tasks", MANY, ("eager",), "faster", mean=8),
        Target("robust_ridge, 64 ragged tasks", MANY, best, "faster", 3),
        Target("robust_ridge, 64 ragged tasks", floor_rows, ("floor",), "within", 2.5),
        Target("smoothed_auc 20,000 x 20,000", (f"{auc} 20000x20000",), ("broadcast",), "faster", 2000),
        Target("smoothed_auc 1M + 1M", (f"{auc} 1000000x1000000",), ("sort",), "within", 0.4),
        Target("smoothed_auc 1M + 1M, extra memory", (f"{auc} memory",), ("figure",), "figure", 64, unit=" B a score"),
        Target("smoothed_auc 3 x 27", (f"{auc} 3x27",), ("broadcast",), "faster", 1.3),
        Target("smoothed_auc 64 of 3 x 27", (f"{auc} 64 of 3x27",), ("one by one",), "faster", 10),
        Target("smoothed_auc 1,000 x 1,000", (f"{auc} 1000x1000",), ("broadcast",), "faster", 45),
        Target("smoothed_auc 1,000 x 100,000", (f"{auc} 1000x100000",), ("broadcast",), "faster", 200),
        Target("smoothed_auc, error at all sizes", (f"{auc} error",), ("figure",), "figure", 1e-6, unit=""),
        Target("deviation_loss 1M", ("deviation_loss 1000000",), ("eager",), "faster", 4),
        Target("ridge_solve, 4,096 systems", ("ridge_solve 4096 of 50x32, D = 64",), ("linalg.solve",), "faster", 3),
        Target("roc_auc 1M", ("roc_auc 1000000",), ("sklearn",), "faster", 20),
        Target("training step, one task", (step,), ("proto",), "within", 1.5),
        Target("training throughput, 32 tasks a step", (many,), ("algorithm 1",), "faster", 10),
        Target("adaptation and scoring, one task", (adapt,), ("proto",), "within", 1.5),
        Target("import of heterad.ops", ("import seconds",), ("figure",), "figure", 0.2, unit=" s"),
    ]


def _cuda() -> list[Target]:
    def ridge(count: int) -> tuple[str, ...]:
        return tuple(f"robust_ridge {count} of {s}" for s in GPU_SHAPES)

    def target(work: str, rows: tuple[str, ...], against: str, sense: str, reach: float, unit: str = "x") -> Target:
        return Target(work, rows, (against,), sense, reach, unit=unit, device="cuda")

    return [
        target("robust_ridge, 64 tasks", ridge(64), "eager", "faster", 20),
        target("robust_ridge, 64 tasks", ridge(64), "compile", "faster", 20),
        target("robust_ridge, 4096 tasks", ridge(4096), "floor", "within", 2),
        target("smoothed_auc, 1M + 1M", ("smoothed_auc 1000000x1000000",), "heterad", "seconds", 2e-4, " s"),
        target("smoothed_auc, brute force", ("smoothed_auc 64 of 2000x2000",), "floor", "within", 1.5),
        target("smoothed_auc, error", ("smoothed_auc error",), "figure", "figure", 1e-6, ""),
        target("training throughput", ("training throughput 32 tasks a step",), "algorithm 1", "faster", 20),
        target("deviation_loss", ("deviation_loss 67108864",), "floor", "within", 1.25),
        target("soft_threshold", ("soft_threshold 67108864",), "floor", "within", 1.25),
    ]


TARGETS = [*_cpu(), *_cuda()]


@dataclass
class Verdict:
    """What was reached at each row measured, and the rows that are missing; `absent`: these ran, but not against that
    provider.
    """

    target: Target
    reached: dict[str, tuple[float, Entry]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    absent: bool = False

    @property
    def mean(self) -> float:
        values = [value for value, _ in self.reached.values()]
        return prod(values) ** (1 / len(values))

    @property
    def short(self) -> bool:
        t = self.target

        def fails(value: float, bound: float | None) -> bool:
            return bound is not None and (value < bound if t.sense == "faster" else not value <= bound)

        complete = not self.missing
        return any(fails(v, t.reach) for v, _ in self.reached.values()) or (
            complete and fails(self.mean, t.mean) if self.reached else False
        )

    @property
    def state(self) -> str:
        if self.short:
            return "SHORT"
        if self.reached:
            return "part" if self.missing else "ok"
        return f"no {' or '.join(self.target.against)}" if self.absent else "not run"


def judge(target: Target, run: Run) -> Verdict:
    verdict = Verdict(target)
    for row in target.rows:
        found = [e for p in target.against if (e := run.get(target.device, row, p))]
        if not found:
            verdict.missing.append(row)
            verdict.absent |= run.get(target.device, row, "heterad") is not None
            continue
        entry = min(found, key=lambda e: e.ratio or 0.0)
        verdict.reached[row] = (_value(target, entry), entry)
    return verdict


def _value(target: Target, entry: Entry) -> float:
    value = {
        "faster": entry.ratio,
        "within": None if entry.ratio is None else 1 / entry.ratio,
        "figure": entry.figure,
        "seconds": entry.seconds,
    }[target.sense]
    if value is None:
        raise ValueError(f"{entry.row}, {entry.provider}: expected a value for {target.sense!r}, got none")
    return value
