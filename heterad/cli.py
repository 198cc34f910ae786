"""The command line: one function per command, which parses, calls and prints."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import heterad
from heterad.data.tables import read_table, write_table
from heterad.data.whole_file import writable_folder
from heterad.detectors import RobustMetaDetector
from heterad.experiments.demo import Report
from heterad.experiments.demo import run as run_demo

File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CSV")]


def demo(out: Path = Path("heterad-demo"), seed: int = 0, quick: bool = False) -> None:
    """Meta-train on rotated digits and compare with three other detectors on contaminated targets.

    Args:
        out: Folder for results.json, model.safetensors and three pictures.
        seed: Of the tasks and of every method.
        quick: Train less and test on fewer digits: half a minute at most.
    """
    with _bars() as report:
        found = run_demo(out, seed=seed, quick=quick, report=report)
    shares = list(found.auc["heterad"])
    table = Table(title="AUC on an unseen rotation, by share of anomalies\namong the unlabelled rows adapted to")
    table.add_column("method")
    for share in [*shares, "mean"]:
        table.add_column(share, justify="right")
    for method, values in found.auc.items():
        row = [values[share] for share in shares]
        table.add_row(method, *(f"{value:.3f}" for value in [*row, np.mean(row)]))
    console = Console()
    console.print(table)
    print(f"Took {found.seconds:.0f} s and wrote to {out}: {', '.join(file.name for file in found.files)}.")
    print(
        "Next, your own table: heterad fit train.csv --task COLUMN --label COLUMN; heterad score new.csv --task COLUMN"
    )


def fit(
    data: File,
    task: str | None = None,
    label: str | None = None,
    ignore: tuple[str, ...] = (),
    model: Path = Path("model.safetensors"),
    max_iter: int = 1000,
    seed: int = 0,
) -> None:
    """Meta-train a detector on a CSV file of many tasks.

    Args:
        data: CSV file with a header line; every column not named below is a feature and holds numbers.
        task: Column that names each row's task; without it all rows are one task.
        label: Column with 1 (anomaly), 0 (normal), -1 or nothing (unlabelled); without it nothing is labelled.
        ignore: Columns that are no features.
        model: File to write the detector to.
        max_iter: Training steps at most.
        seed: Of everything random.
    """
    table = read_table(data, task=task, label=label, ignore=ignore)
    writable_folder(model.parent)
    detector = RobustMetaDetector(max_iter=max_iter, random_state=seed)
    with _bars() as report:
        report("meta-training", 0, max_iter)
        detector.fit(table.x, table.y, table.groups, callback=lambda loop: report("meta-training", loop.step, max_iter))
    detector.save(model)
    n_tasks = 1 if table.groups is None else len(np.unique(table.groups))
    print(f"Learned {table.x.num_columns} features of {table.x.num_rows} rows in {n_tasks} tasks.")
    if detector.best_validation_ is not None:
        n_validation = len(detector.validation_groups_)
        print(f"Best on {n_validation} validation tasks: {detector.best_validation_:.3f} (step {detector.best_iter_}).")
    print(f"Wrote {model}. Next: heterad score new.csv --model {model}" + (f" --task {task}" if task else ""))


def score(
    data: File,
    task: str | None = None,
    model: Path = Path("model.safetensors"),
    out: Path = Path("scores.csv"),
    contamination: float | None = None,
) -> None:
    """Adapt a detector to each task of an unlabelled CSV file and score its rows.

    Args:
        data: CSV file with a header line and the features that the detector was fitted to; others are passed over.
        task: Column that names each row's task; without it all rows are one task.
        model: File that heterad fit wrote.
        out: CSV file to write: task, score (higher is more anomalous) and label (1 anomaly, 0 normal) of each row.
        contamination: Share of rows of each task to label anomalous; the detector's own is the default.
    """
    detector = RobustMetaDetector.load(model)
    names = getattr(detector, "feature_names_in_", None)
    table = read_table(data, task=task, features=None if names is None else names.tolist())
    groups = np.zeros(table.x.num_rows, dtype=int) if table.groups is None else table.groups
    scores, labels = np.empty(len(groups)), np.empty(len(groups), dtype=int)
    tasks, number = np.unique(groups, return_inverse=True)
    for t, name in enumerate(tasks):
        rows = np.flatnonzero(number == t)
        x = table.x.take(rows)
        try:
            adapted = detector.adapt(x)
        except ValueError as error:
            raise ValueError(f"{data}, task {name}: {error}") from None
        if contamination is not None:
            adapted.set_threshold(contamination=contamination)
        scores[rows], labels[rows] = adapted.decision_function(x), adapted.predict(x)
    write_table(out, ({} if task is None else {"task": groups}) | {"score": scores, "label": labels})
    print(f"Scored {len(groups)} rows of {len(tasks)} tasks, {labels.sum()} of them anomalous. Wrote {out}.")


def info() -> None:
    """Print versions, and which implementation serves each op on each device, and why."""
    print(
        f"heterad {heterad.__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{torch.get_num_threads()} threads, CUDA {'yes' if torch.cuda.is_available() else 'no'}"
    )
    print(heterad.ops.info())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command of the given arguments (those of the process if None).

    Returns:
        The exit code: 0, or 2 after an error that was the user's to make, told in one line.

    Raises:
        SystemExit: the arguments cannot be parsed, or ask for help.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments == ["--version"]:
        print(f"heterad {heterad.__version__}")
        return 0
    try:
        tyro.extras.subcommand_cli_from_dict(
            {"demo": demo, "fit": fit, "score": score, "info": info},
            prog="heterad",
            description="Find anomalies when they are heterogeneous and labels are few. --version prints the version.",
            args=arguments or ["--help"],
        )
    except OSError as error:
        about = f"{error.filename}: {error.strerror}" if error.filename is not None else str(error)
        return _complain(about)
    except ValueError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        return _complain("interrupted; nothing was written")
    return 0


def _complain(about: str) -> int:
    print("heterad:", " ".join(about.split()), file=sys.stderr)
    return 2


@contextmanager
def _bars() -> Iterator[Report]:
    """Progress bars on the terminal, one for each stage; silent where standard error is none."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bars = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def report(stage: str, done: int, total: int) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done)

        yield report
