"""DevNet's protocol, and runs that go on where they were broken off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heterad.experiments import ahl_devnet
from heterad.experiments.runs import complete


def test_the_split_is_the_papers() -> None:
    y = np.arange(2000) % 10 == 0
    x = np.where(y[:, None], 1000.0, 0.0) + np.arange(2000.0)[:, None] / 4000 + np.arange(40) * 1e-6
    drawn = ahl_devnet.split_rows(x, y, np.random.default_rng(0))
    odd = drawn.x[:, 0] > 500
    assert drawn.y.sum() == odd[drawn.y == 1].sum() == 30
    assert odd[drawn.y == 0].mean() == pytest.approx(0.02, abs=0.001)
    assert drawn.test_y.sum() == 40
    assert len(drawn.test_y) == 400
    sources = [len(np.unique(np.round(row - np.arange(40) * 1e-6, 5))) for row in drawn.x[odd & (drawn.y == 0)]]
    assert set(sources) <= {1, 2}
    assert np.mean(np.array(sources) == 2) > 0.9
    assert not set(drawn.x[:, 0]) & set(drawn.test_x[:, 0])


def test_too_few_anomalies() -> None:
    with pytest.raises(ValueError, match="y: expected 30 anomalies among the training rows, got 8"):
        ahl_devnet.split_rows(np.ones((100, 2)), np.arange(100) < 10, np.random.default_rng(0))


def test_a_run_learns_and_the_table_stands_beside_the_papers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(500) % 10 == 0
    np.savez(tmp_path / "devnet_annthyroid.npz", X=rng.random((500, 5)) + 0.5 * y[:, None], y=y.astype(int))
    key = {"table": "ahl-devnet", "set": "devnet_annthyroid", "seed": 0, "epochs": 10}
    found = ahl_devnet.run_cell(key, tmp_path)
    assert found["auroc"] > 0.9
    assert found["aupr"] > 0.5
    text = ahl_devnet.report([key | found, {"table": "another"}])
    assert f"| devnet_annthyroid | {found['auroc']:.3f} | 0.783 |" in text
    assert ahl_devnet.report([]) == ""
    with pytest.raises(ValueError, match=r"data: expected a folder with devnet_annthyroid.npz, got none"):
        ahl_devnet.run_cell(key, None)


def test_a_line_cut_short_is_run_again_and_others_are_left(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    done = []

    def run(key):
        done.append(key["seed"])
        return {"value": key["seed"] * 2}

    told = []
    complete(file, [{"seed": s} for s in range(3)], run, report=lambda *at: told.append(at))
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    file.write_text(file.read_text()[:-5])
    rows = complete(file, [{"seed": s} for s in (2, 0)], run)
    assert done == [0, 1, 2, 2]
    assert rows == [{"seed": 2, "value": 4}, {"seed": 0, "value": 0}]
    file.write_text("oh\n")
    with pytest.raises(ValueError, match=r"runs.jsonl, line 1: expected JSON, got 'oh'"):
        complete(file, [{"seed": 1}], run)
