"""``heterad reproduce``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from heterad.cli.options import refuse
from heterad.cli.progress import bars
from heterad.data.whole_file import writable_file
from heterad.experiments import results
from heterad.experiments.runs import complete
from heterad.experiments.table import Options, Row
from heterad.experiments.tables import TABLES

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TABLE")]


def reproduce(
    table: Name,
    data: Path | None = None,
    out: Path | None = None,
    splits: int = 10,
    label_ratios: tuple[float, ...] = (0.1, 0.2, 0.3),
    datasets: tuple[str, ...] | None = None,
    methods: tuple[str, ...] | None = None,
    seeds: tuple[int, ...] = (0,),
    grid: Literal["full", "short"] = "full",
    shots: tuple[int, ...] | None = None,
    jobs: int = 1,
    smoke: bool = False,
) -> None:
    """Run the experiments behind a table of a paper; runs that the file already holds are not done again.

    Args:
        table: Name of the table; an unknown one is answered with the list.
        data: Folder of the data sets; without it they are fetched where that is possible.
        out: File of JSON lines to fill; the default is TABLE.jsonl, with --smoke TABLE-smoke.jsonl.
        splits: Random splits of each data set.
        label_ratios: Shares of labelled rows in source tasks.
        datasets: Names of data sets; the default is all of the table's.
        methods: Names of methods; the default is all of the table's.
        seeds: Seeds of the methods, each on every split: 0 1 2 are three, 10 is one.
        grid: Hyper-parameters to choose among: the paper's or few of them.
        shots: Numbers of seen anomalies, M, of AHL's tables; the default is all of the table's.
        jobs: Processes.
        smoke: A size that takes seconds, on digits that come with the library.
    """
    if table not in TABLES:
        raise ValueError(f"TABLE: expected one of {', '.join(TABLES)}; got {table!r}")
    if splits < 1:
        raise ValueError(f"splits: expected at least 1, got {splits}")
    if not all(0 < ratio < 1 for ratio in label_ratios):
        raise ValueError(f"label_ratios: expected shares in (0, 1), got {', '.join(map(str, label_ratios))}")
    chosen = TABLES[table]
    refuse(reproduce, locals(), {field.name for field in fields(Options)} - chosen.options - {"smoke"}, f"for {table}")
    if smoke:
        refuse(reproduce, locals(), {"data", "splits", "datasets", "grid", "shots"}, "with --smoke")
    if shots is not None and (not shots or min(shots) < 1):
        raise ValueError(f"shots: expected numbers of at least 1, got {shots}")
    keys = chosen.keys(Options(splits, label_ratios, datasets, methods, seeds, grid, smoke, shots))
    if not keys:
        raise ValueError("seeds, methods, datasets, label-ratios: expected at least one of each, got none of some")
    file = writable_file(out or Path(f"{table}{'-smoke' if smoke else ''}.jsonl"))
    run, check = partial(_run, table, data), partial(_read_data, table, data)

    def accept(rows: Sequence[Row]) -> None:
        results.check({str(file): rows})
        results.told(chosen, rows, str(file))

    try:
        with bars() as report:
            rows = complete(file, keys, run, jobs=jobs, report=partial(report, table), check=check, accept=accept)
        print(results.told(chosen, rows, str(file)))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; any finished runs are kept in {file}, and the same command goes on from there"
        ) from None
    print(f"Wrote {file}. Later: heterad report {file}")


def _run(table: str, data: Path | None, key):
    """One run by the table's name: tables themselves cannot be sent to other processes."""
    return TABLES[table].run(key, data)


def _read_data(table: str, data: Path | None, keys: Sequence[Mapping[str, Any]]) -> None:
    """Read every data set of these runs, fetched where that is possible, so that none fails hours later, at its turn.

    Keys name it as ``dataset`` or ``timing`` (of Kumagai et al.) or ``set`` (of AHL's tables).
    """
    for name in dict.fromkeys(key[of] for key in keys for of in ("dataset", "timing", "set") if of in key):
        TABLES[table].read(name, data)
