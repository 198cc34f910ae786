"""``heterad demo``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from heterad.cli.progress import bars
from heterad.experiments.demo import run as run_demo


def demo(out: Path = Path("heterad-demo"), seed: int = 0, quick: bool = False) -> None:
    """Meta-train on rotated digits and compare with three other detectors on contaminated targets.

    Args:
        out: Folder for results.json, model.safetensors and three pictures.
        seed: Of the tasks and of every method.
        quick: Train less and test on fewer digits: half a minute at most.
    """
    with bars() as report:
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
        "Next, your own table: heterad fit train.csv --task COLUMN --label COLUMN; "
        "heterad score model.safetensors new.csv"
    )
