"""The command line under torchrun: one model, one report, the scores of one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from heterad import RobustMetaDetector
from heterad.cli import run
from heterad.data import toy_tasks
from heterad.data.tables import read_table, write_table


def test_fit_by_two_processes(tmp_path: Path) -> None:
    toy = toy_tasks(10, 30)
    columns = {f"f{i}": column for i, column in enumerate(toy.x.T)}
    write_table(tmp_path / "train.csv", {"site": toy.groups, "label": toy.y} | columns)
    options = [str(tmp_path / "train.csv"), "--task", "site", "--label", "label", "--max-iter", "10"]
    several = [
        "--model",
        str(tmp_path / "two.safetensors"),
        "--json-log",
        str(tmp_path / "log"),
        "--checkpoint",
        str(tmp_path / "c"),
    ]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    done = subprocess.run(
        [*torchrun, "--nproc-per-node", "2", "-m", "heterad", "fit", *options, *several],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Learned 10 features of 300 rows in 10 tasks.") == 1
    assert (tmp_path / "log").read_text().count("\n") == 1
    assert run(["fit", *options, "--model", str(tmp_path / "one.safetensors")]) == 0
    two, one = (RobustMetaDetector.load(tmp_path / f"{name}.safetensors") for name in ("two", "one"))
    x = read_table(tmp_path / "train.csv", task="site", label="label").x
    np.testing.assert_allclose(two.decision_function(x), one.decision_function(x), rtol=1e-3)
