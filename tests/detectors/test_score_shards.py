"""Several processes score the files of one job: together they write what one process writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from heterad import RobustMetaDetector
from heterad.data import toy_tasks
from heterad.data.tables import write_table
from heterad.detectors import score_files
from heterad.train import Processes


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_shards_put_together_are_the_whole(tmp_path: Path, suffix: str) -> None:
    toy = toy_tasks(5, 30)
    detector = RobustMetaDetector(max_iter=5).fit(toy.x, toy.y, toy.groups)
    (tmp_path / "rows").mkdir()
    order = np.random.default_rng(0).permutation(len(toy.x))  # tasks are spread over the files
    for i, rows in enumerate(np.array_split(order, 3)):
        columns = {f"f{j}": column for j, column in enumerate(toy.x[rows].T)}
        write_table(tmp_path / "rows" / f"{i}{suffix}", {"site": toy.groups[rows]} | columns)
    job = {"task": "site", "explain": 2}
    score_files(detector, tmp_path / "rows", tmp_path / f"one{suffix}", **job)
    out = tmp_path / f"two{suffix}"
    found = [score_files(detector, tmp_path / "rows", out, processes=Processes(rank, 2), **job) for rank in (0, 1)]
    assert [(each.n_rows, each.n_tasks) for each in found] == [(100, 5), (50, 5)]
    whole, *shards = (tmp_path / f"{name}{suffix}" for name in ("one", "two-1-of-2", "two-2-of-2"))
    read = csv.read_csv if suffix == ".csv" else parquet.read_table
    assert pa.concat_tables([read(file) for file in shards]) == read(whole)
    assert read(shards[1])["row"].to_pylist() == list(range(50))


def test_more_processes_than_files_are_refused(tmp_path: Path) -> None:
    toy = toy_tasks(2, 10)
    detector = RobustMetaDetector(max_iter=1).fit(toy.x)
    write_table(tmp_path / "rows.csv", {f"f{j}": column for j, column in enumerate(toy.x.T)})
    with pytest.raises(ValueError, match="processes: expected at most one for each of the 1 to share, got 2"):
        score_files(detector, tmp_path / "rows.csv", tmp_path / "out.csv", processes=Processes(0, 2))
