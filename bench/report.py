"""Prints what a run of the bench reached against its targets.

python bench/report.py FILE...                     the table; exit status 1 where a target is missed
python bench/report.py FILE... --markdown          the same for a README
python bench/report.py FILE... --against BASELINE  exit status 1 where heterad's median is 10 % worse (or no row shared)
python bench/report.py FILE... --plot DIR          scaling pictures
python bench/report.py FILE... --save PATH         the compact form that is committed as a baseline
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import median

from results import Entry, Run, load, save
from targets import TARGETS, Verdict, judge

WORSE = 1.10


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="What a run of the bench reached against its targets.")
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="pytest-benchmark's JSON, or a saved run")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    parser.add_argument("--smoke", action="store_true", help="a smoke run: show that all ran, judge nothing")
    parser.add_argument("--against", type=Path, metavar="BASELINE", help="fail where a median is 10 %% worse")
    parser.add_argument("--plot", type=Path, metavar="DIR", help="draw scaling pictures into DIR")
    parser.add_argument("--save", type=Path, metavar="PATH", help="write the compact form to PATH")
    args = parser.parse_args(argv)
    if args.smoke and args.against:
        parser.error("--smoke judges nothing, so it takes no --against")
    try:
        run = load(args.files)
        baseline = load([args.against]) if args.against else None
    except (OSError, ValueError) as error:
        print(f"report: {error}", file=sys.stderr)
        return 2
    if args.save:
        save(run, args.save)
    if args.plot:
        from plot import draw

        for path in draw(run, args.plot):
            print(f"wrote {path}")
    if args.smoke:
        print(table(times(run), args.markdown))
        return 0
    devices = {e.device for e in run.entries.values()}
    verdicts = [judge(t, run) for t in TARGETS if t.device in devices]
    print(machine(run), noise(run), sep="\n", end="\n\n")
    print(table(summary(verdicts), args.markdown), table(times(run), args.markdown), sep="\n\n")
    worse = baseline is not None and compare(run, baseline)
    short = [v for v in verdicts if v.short]
    print(f"\n{len(short)} of {len(verdicts)} targets missed, {sum(not v.reached for v in verdicts)} not run")
    return 1 if short or worse else 0


def machine(run: Run) -> str:
    m = run.machine
    cpu, gpu, versions = m.get("cpu") or {}, m.get("gpu") or {}, m.get("versions") or {}
    absent = [name for name, v in versions.items() if v == "absent"]
    return (
        f"{gpu.get('name') or cpu.get('brand_raw') or 'unknown machine'}, {m.get('threads', '?')} threads, "
        f"torch {versions.get('torch', '?')}, commit {m.get('commit', '?')}"
        + (f"; absent: {', '.join(absent)}" if absent else "")
    )


def drifts(run: Run) -> list[float]:
    """|ratio - 1| where heterad took turns with itself."""
    return sorted(abs(e.ratio - 1) for e in run.entries.values() if e.provider == "heterad" and e.ratio)


def noise(run: Run) -> str:
    found = drifts(run)
    if not found:
        return "A/A: not run"
    return f"A/A over {len(found)} rows, heterad beside itself: median {median(found):.1%}, worst {found[-1]:.1%} apart"


def summary(verdicts: list[Verdict]) -> list[list[str]]:
    """One line a target."""
    lines = [["work", "against", "reached", "target", ""]]
    for v in verdicts:
        t = v.target
        values = []
        for row, (value, entry) in v.reached.items():
            size = f"{row.split()[-1]}: " if len(t.rows) > 1 else ""
            which = f" ({entry.provider})" if len(t.against) > 1 else ""
            values.append(f"{size}{number(value)}{t.unit}{which}")
        if v.reached:
            values += [f"mean {number(v.mean)}{t.unit}"] if t.mean else []
            values += [f"{row.split()[-1]}: not run" for row in v.missing]
        absolute = t.sense in ("figure", "seconds")
        against = "" if absolute else ("best of " if len(t.against) > 1 else "") + ", ".join(t.against)
        work = t.work if t.device == "cpu" else f"{t.work} [{t.device}]"
        lines.append([work, against, "; ".join(values), t.wanted, v.state])
    return lines


def times(run: Run) -> list[list[str]]:
    """One line a row: heterad's time, and each provider's with its ratio to heterad's."""
    by_row: dict[tuple[str, str], list[Entry]] = {}
    for e in run.entries.values():
        by_row.setdefault((e.row, e.device), []).append(e)
    lines = [["row", "served by", "heterad", "others, and their time over heterad's"]]
    for (row, device), found in by_row.items():
        figures = [f"{e.figure:.3g}" for e in found if e.figure is not None]
        own = next((e for e in found if e.provider == "heterad"), None)
        rest = [
            f"{e.provider} {duration(e.seconds)} ({number(e.ratio)}x)"
            for e in found
            if e is not own and e.seconds is not None and e.ratio is not None
        ]
        mine = duration(own.seconds) if own and own.seconds is not None else ", ".join(figures)
        lines.append([row + (" [cuda]" if device == "cuda" else ""), own.backend if own else "", mine, ", ".join(rest)])
    return lines


def compare(run: Run, baseline: Run) -> bool:
    """Print how heterad's medians moved; whether a row is 10 % worse, or none is in both."""
    worse = []
    moved = []
    for key, now in run.entries.items():
        before = baseline.entries.get(key)
        if now.provider == "heterad" and before and before.seconds and now.seconds:
            change = now.seconds / before.seconds
            moved.append(change)
            if change > WORSE:
                worse.append(f"{now.row} [{now.device}]: {duration(before.seconds)} -> {duration(now.seconds)}")
    print(f"\nagainst commit {baseline.machine.get('commit', '?')}: {len(moved)} rows", end="")
    print(f", median {median(moved) - 1:+.1%}; {noise(run)}" if moved else ", so nothing is compared")
    for line in worse:
        print(f"worse by more than {WORSE - 1:.0%}: {line}")
    return bool(worse) or not moved


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def table(rows: list[list[str]], markdown: bool) -> str:
    if markdown:
        head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
        return "\n".join([head, "|" + "---|" * len(rows[0]), *body])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    padded = [[*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]] for row in rows]
    return "\n".join("  ".join(row).rstrip() for row in padded)


if __name__ == "__main__":
    sys.exit(main())
