"""AHL's protocols: who is seen and who is tested, and what the tables say of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heterad.detectors import AHLDetector, DRADetector
from heterad.experiments import ahl_protocols, ahl_tables
from heterad.experiments.ahl_sets import Task, split_task, tasks

TASK = Task("t", np.arange(100.0)[:, None], np.repeat([-1, 3, 4, 5], [40, 20, 20, 20]))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("seed", range(5))
def test_hard_tests_only_unseen_classes(seed: int) -> None:
    drawn = split_task(TASK, 10, rng(seed), hard=True)
    seen = set(TASK.anomaly_class[drawn.x[drawn.y == 1, 0].astype(int)])
    tested = set(TASK.anomaly_class[drawn.test_x[drawn.test_y == 1, 0].astype(int)])
    assert len(seen) == 1
    assert tested == {3, 4, 5} - seen


@pytest.mark.parametrize("hard", [True, False])
def test_no_row_both_trains_and_tests_and_shots_are_nested(hard: bool) -> None:
    many, one = (split_task(TASK, m, rng(1), hard=hard) for m in (10, 1))
    for drawn, m in ((many, 10), (one, 1)):
        assert drawn.y.sum() == m
        assert (drawn.y == 0).sum() == 28
        assert not set(drawn.x[:, 0]) & set(drawn.test_x[:, 0])
        assert (drawn.test_y == 0).sum() == 12
    assert set(one.x[one.y == 1, 0]) <= set(many.x[many.y == 1, 0])
    assert (many.x[many.y == 0] == one.x[one.y == 0]).all()


def test_bad_tasks() -> None:
    with pytest.raises(ValueError, match="task 't': expected two classes"):
        split_task(TASK._replace(anomaly_class=np.repeat([-1, 3], [40, 60])), 1, rng(), hard=True)
    with pytest.raises(ValueError, match="task 't': expected more than 20 anomalies, got 20"):
        split_task(Task("t", TASK.x[:60], TASK.anomaly_class[:60]), 20, rng(), hard=False)
    with pytest.raises(ValueError, match="set: expected one of mvtec_resnet18"):
        tasks(None, "isolet", 0)


def test_sets_with_many_classes_make_some_normal_and_categories_make_tasks(tmp_path: Path) -> None:
    x = rng().random((60, 4))
    np.savez(tmp_path / "isolet.npz", X=x, y=np.repeat(np.arange(10), 6))
    np.savez(tmp_path / "mvtec_resnet18.npz", X=x, y=np.arange(60) % 2, domain=np.arange(60) % 3)
    [one], [other] = (tasks(tmp_path, "isolet", seed) for seed in (0, 1))
    assert len(np.unique(one.anomaly_class)) == len(np.unique(other.anomaly_class)) == 6
    assert (one.anomaly_class != other.anomaly_class).any()
    assert [t.name for t in tasks(tmp_path, "mvtec_resnet18", 0)] == ["0", "1", "2"]


def short(scale):
    options = {"epochs": 1, "batches": 2, "batch_size": 9, "scale": scale}
    return {
        "nearest": ahl_protocols.nearest_normal,
        "ensemble": ahl_protocols.by_ensemble(DRADetector(**options), 2),
        "ahl": ahl_protocols.by_detector(AHLDetector(**options)),
    }


def test_runs_fill_a_file_and_tables_read_it(tmp_path: Path) -> None:
    asked = {"hard": True, "shots": [1], "seeds": [0, 1], "sets": ["digits"], "compare": short}
    rows = ahl_protocols.run(None, tmp_path / "runs.jsonl", **asked)
    assert [r["method"] for r in rows] == ["nearest", "ensemble", "ahl"] * 2
    assert ahl_protocols.run(None, tmp_path / "runs.jsonl", **asked) == rows
    found = ahl_tables.means(rows)["nearest"]["digits", 1]
    assert found[0] == pytest.approx(np.mean([r["auroc"] for r in rows if r["method"] == "nearest"]))
    assert found[0] > 0.9
    with pytest.raises(ValueError, match=r"only: expected names of methods, got \['svm'\]"):
        ahl_protocols.run(None, tmp_path / "runs.jsonl", **asked, only=["svm"])


@pytest.mark.parametrize("compare", [ahl_protocols.methods, ahl_protocols.ablations])
def test_what_is_compared_takes_the_scale_of_the_set(compare) -> None:
    assert "AHL(DRA)" in compare("global")


@pytest.mark.parametrize("method", [ahl_protocols.forest, ahl_protocols.logistic_regression])
def test_peers_score_anomalies_higher(method) -> None:
    [task] = tasks(None, "digits", 0)
    split = split_task(task, 10, rng(), hard=False)
    scores = method(split, 0)
    assert scores[split.test_y == 1].mean() > scores[split.test_y == 0].mean()


def test_seeds_are_pairs() -> None:
    rows = [
        {"set": s, "task": "", "shots": 1, "seed": seed, "method": m, "auroc": 0.5 + 0.01 * seed + gain}
        for s in ("a", "b")
        for seed in range(4)
        for m, gain in (("base", 0.0), ("ahl", 0.02 + (0.001 if (s, seed) == ("a", 0) else 0)))
    ]
    found = ahl_tables.compare(rows, "ahl", "base")
    assert found.n == 4
    assert found.gain == pytest.approx(0.020125)
    assert found.p < 1e-4
    assert ahl_tables.compare(rows, "base", "base").p == 1
    with pytest.raises(ValueError, match="expected two or more seeds of 'ahl' and 'svm', got 0"):
        ahl_tables.compare(rows, "ahl", "svm")
