"""What a run measured, read from pytest-benchmark's JSON or from the compact form that is committed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

FORMAT = "heterad bench 1"


@dataclass(frozen=True)
class Entry:
    """One provider at one row.

    `seconds` is the median time of the row's work. `ours` is heterad's, from the rounds that took turns with this
    provider's, and `ratio` the median over these pairs of rounds of the provider's time over heterad's; both None for
    a figure.
    """

    row: str
    device: str
    provider: str
    op: str = ""
    backend: str = ""
    seconds: float | None = None
    ours: float | None = None
    ratio: float | None = None
    rounds: int = 0
    figure: float | None = None
    point: float | None = None
    smoke: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        return self.device, self.row, self.provider


@dataclass
class Run:
    entries: dict[tuple[str, str, str], Entry]
    machine: dict[str, Any]

    def get(self, device: str, row: str, provider: str) -> Entry | None:
        return self.entries.get((device, row, provider))


def load(paths: list[Path]) -> Run:
    """Read files in order; where two hold the same provider of the same row, the later one counts.

    Raises
    ------
    ValueError
        A file is not JSON of either form, or holds no row of this bench.
    """
    entries: dict[tuple[str, str, str], Entry] = {}
    machine: dict[str, Any] = {}
    for path in paths:
        try:
            content = json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path}: expected JSON, got {error}") from error
        if not isinstance(content, dict) or not ("benchmarks" in content or content.get("format") == FORMAT):
            raise ValueError(f"{path}: expected pytest-benchmark's JSON or {FORMAT!r}, got something else")
        if "benchmarks" in content:
            found = [_entry(b) for b in content["benchmarks"] if "provider" in b["extra_info"]]
            machine = machine | _machine(content)
        else:
            found = [Entry(**e) for e in content["entries"]]
            machine = machine | content["machine"]
        if not found:
            raise ValueError(f"{path}: expected rows of this bench, got none")
        entries |= {e.key: e for e in found}
    return Run(entries, machine)


def _entry(benchmark: dict[str, Any]) -> Entry:
    info = benchmark["extra_info"]
    common = {name: info[name] for name in ("row", "device", "provider", "smoke")}
    if info["provider"] == "figure":
        return Entry(**common, figure=info["figure"])
    theirs = [t * info["work"] for t in benchmark["stats"]["data"]]
    ours = [t * info["ours_work"] for t in info["beside"]]
    return Entry(
        **common,
        op=info["op"],
        backend=info["backend"],
        seconds=median(theirs),
        ours=median(ours),
        ratio=median(a / b for a, b in zip(theirs, ours, strict=True)),
        rounds=len(theirs),
        point=info["point"],
    )


def _machine(content: dict[str, Any]) -> dict[str, Any]:
    """What tells one result from another: processor, versions, threads, clocks, commit."""
    info = content["machine_info"]
    kept = {name: info.get(name) for name in ("threads", "cores", "versions", "backends", "gpu", "commit", "heterad")}
    cpu = info.get("cpu", {})
    kept["cpu"] = {name: cpu.get(name) for name in ("brand_raw", "hz_actual_friendly", "arch")}
    return kept | {"python": info.get("python_version"), "when": content.get("datetime")}


def save(run: Run, path: Path) -> None:
    """Write the compact form: one line an entry, so that a new baseline is a readable change."""
    lines = [json.dumps({k: v for k, v in asdict(e).items() if v not in (None, "")}) for e in run.entries.values()]
    machine = json.dumps(run.machine, indent=1)
    text = f'{{"format": "{FORMAT}",\n"machine": {machine},\n"entries": [\n' + ",\n".join(lines) + "\n]}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
