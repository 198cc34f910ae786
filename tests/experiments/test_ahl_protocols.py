"""AHL's protocols: who is seen and who is tested, and what the tables say of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heterad.detectors import DRADetector, image_features
from heterad.experiments import ahl_methods, ahl_tables
from heterad.experiments.ahl_protocols import AHL_TABLES
from heterad.experiments.ahl_sets import (
    Split,
    Task,
    divide_normals,
    learn_network,
    split_rng,
    split_task,
    tasks,
    to_maps,
)
from heterad.experiments.table import Options, Table

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
    with pytest.raises(ValueError, match=r"task 't': expected at least 21 anomalies of any class .*, got 20 and 40"):
        split_task(Task("t", TASK.x[:60], TASK.anomaly_class[:60]), 20, rng(), hard=False)
    with pytest.raises(ValueError, match=r"task 't': expected at least 21 anomalies of one class .*, got 20 and 40"):
        split_task(TASK, 21, rng(), hard=True)
    with pytest.raises(ValueError, match="and two normals, got 20 and 1"):
        split_task(Task("t", TASK.x[39:], TASK.anomaly_class[39:]), 1, rng(), hard=True)


def test_data_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data: expected a folder with isolet\.npz, got none"):
        tasks(None, "isolet", 0)
    with pytest.raises(ValueError, match="set: expected one of mvtec_resnet18"):
        tasks(tmp_path, "letters", 0)
    np.savez(tmp_path / "isolet.npz", X=np.zeros((4, 2)))
    np.savez(tmp_path / "elpv.npz", X=np.zeros((4, 2, 2)), y=np.zeros(4), domain=np.zeros(4))
    for name, message in (("isolet", "arrays X, y, got none called y"), ("elpv", "images, uint8 .*, got float64 of")):
        with pytest.raises(OSError, match=rf"{name}\.npz: .*expected {message}"):
            tasks(tmp_path, name, 0)
    np.savez(tmp_path / "isolet.npz", X=np.zeros((60, 2)), y=np.arange(60) % 6)
    [key] = tables()["ahl-hard"].keys(Options(splits=1, datasets=("isolet",), methods=("DRA",), shots=(1,)))
    with pytest.raises(ValueError, match="data set isolet: task '': expected two classes of anomalies"):
        tables()["ahl-hard"].run(key, tmp_path)


def test_sets_with_many_classes_make_some_normal_and_categories_make_tasks(tmp_path: Path) -> None:
    x = rng().random((60, 4))
    np.savez(tmp_path / "isolet.npz", X=x, y=np.repeat(np.arange(10), 6))
    np.savez(tmp_path / "mvtec_resnet18.npz", X=x, y=np.arange(60) % 2, domain=np.arange(60) % 3)
    [one], [other] = (tasks(tmp_path, "isolet", seed) for seed in (0, 1))
    assert len(np.unique(one.anomaly_class)) == len(np.unique(other.anomaly_class)) == 6
    assert (one.anomaly_class != other.anomaly_class).any()
    assert [t.name for t in tasks(tmp_path, "mvtec_resnet18", 0)] == ["0", "1", "2"]


def test_image_sets_become_maps_and_blank_tiles_are_left_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_features, "STEPS", 2)
    x = rng().integers(0, 256, (60, 16, 16), dtype=np.uint8)
    y, domain = (np.arange(60) % 3 > 0).astype(np.int8), np.repeat([0, 1], 30)
    np.savez(tmp_path / "elpv.npz", X=x, y=y, domain=domain)
    np.savez(tmp_path / "aitex.npz", X=x, y=y, defect=np.where(y, 1 + domain, 0), blank=(np.arange(60) < 3).astype(int))
    [cells], [tiles] = tasks(tmp_path, "elpv", 0), tasks(tmp_path, "aitex", 0)
    assert cells.x.shape == (60, 1, 16, 16)
    assert np.unique(cells.anomaly_class).tolist() == [-1, 0, 1]
    assert len(tiles.x) == 57
    maps = to_maps(split_task(cells, 5, split_rng(0), hard=True), learn_network(cells, 0))
    assert maps.x.shape == (19, 64, 2, 2)
    assert maps.test_x.dtype == np.float32


def test_the_same_normals_train_whatever_is_seen_so_that_one_backbone_serves() -> None:
    train, test = divide_normals(TASK, split_rng(3))
    for hard, shots in ((True, 1), (True, 5), (False, 5)):
        split = split_task(TASK, shots, split_rng(3), hard=hard)
        assert (split.x[split.y == 0] == TASK.x[train]).all()
        assert (split.test_x[split.test_y == 0] == TASK.x[test]).all()


def test_the_seen_class_has_anomalies_enough() -> None:
    few = Task("t", TASK.x[:62], np.repeat([-1, 0, 1], [40, 20, 2]))
    assert {split_task(few, 1, rng(seed), hard=True).test_y.sum() for seed in range(9)} == {2}


def tables() -> dict[str, Table]:
    return {table.name: table for table in AHL_TABLES}


def smoke(name: str, *methods: str) -> tuple[Table, list[dict]]:
    table = tables()[name]
    keys = table.keys(Options(smoke=True, methods=methods))
    return table, [{**key, **row} for key in keys for row in table.run(key, None)]


@pytest.mark.parametrize("name", ["ahl-hard", "ahl-general", "ahl-ablation"])
def test_a_table_runs_and_is_reported(name: str) -> None:
    other = "DRA ensemble" if name == "ahl-ablation" else "logistic regression"
    table, rows = smoke(name, "AHL(DRA)", other)
    assert [row["method"] for row in rows] == ["AHL(DRA)", other]
    assert all(0.3 < row["auroc"] <= 1 for row in rows)
    text = table.report([*rows, {"table": "another"}])
    assert [line.split() for line in text.splitlines() if other in line] == [
        ["|", *other.split(), "|", f"{100 * rows[1]['auroc']:.1f}", "|"]
    ]
    assert table.report([{"table": "another"}]) == ""
    whole = [{**row, "smoke": False, "auroc": 0.25} for row in rows]
    assert "| 25.0 |" in " ".join(table.report([*rows, *whole]).split())


def test_an_ensemble_of_distributions_gives_each_two_clusters_of_normals_or_all() -> None:
    class Told(DRADetector):
        def fit(self, X, y):
            given.append((X[y == 0, 0], X[y == 1, 0]))
            return self

        def decision_function(self, X):
            return X[:, 0] * len(given)

    given: list[tuple[np.ndarray, np.ndarray]] = []
    cluster = np.repeat([10.0, 20.0, 30.0], 6)
    x = np.concatenate([cluster + np.arange(18) / 100, [50, 51, 52]])[:, None]
    split = Split(x, np.repeat([0, 1], [18, 3]), np.ones((4, 1)), np.zeros(4))
    scores = ahl_methods.by_distributions(Told())(split, 0)
    assert sorted(len(normals) for normals, _ in given) == [12] * 6 + [18]
    assert sorted({tuple(np.unique(normals // 10)) for normals, _ in given}) == [(1, 2), (1, 2, 3), (1, 3), (2, 3)]
    assert all(sorted(anomalies) == [50, 51, 52] for _, anomalies in given)
    np.testing.assert_allclose(scores, (1 + 2 + 3 + 4 + 5 + 6 + 7) / 7)


def test_cross_domain_tunes_on_the_other_normals() -> None:
    table, rows = smoke("ahl-cross", "nearest normal", "DRA")
    assert [row["task"] for row in rows] == ["0 to 1", "1 to 0"] * 2
    assert "nearest normal" in table.report(rows)


def test_unknown_names_and_what_needs_data() -> None:
    with pytest.raises(ValueError, match="methods: expected some of nearest normal"):
        tables()["ahl-hard"].keys(Options(methods=("svm",)))
    with pytest.raises(ValueError, match="datasets: expected some of devnet_annthyroid"):
        tables()["ahl-devnet"].keys(Options(datasets=("isolet",)))
    with pytest.raises(ValueError, match="smoke: expected a table with a small form"):
        tables()["ahl-devnet"].keys(Options(smoke=True))
    keys = tables()["ahl-hard"].keys(Options(splits=1))
    assert {key["set"] for key in keys} == {"isolet", "mnist_r", "omniglot", "elpv", "aitex", "digits"}
    assert {key["shots"] for key in keys} == {10, 1}
    assert {key["shots"] for key in tables()["ahl-cross"].keys(Options(shots=(3,)))} == {3}


@pytest.mark.parametrize("method", [ahl_methods.forest, ahl_methods.logistic_regression, ahl_methods.nearest_normal])
def test_peers_score_anomalies_higher(method) -> None:
    [task] = tasks(None, "digits", 0)
    split = split_task(task, 10, rng(), hard=False)
    scores = method(split, 0)
    assert scores[split.test_y == 1].mean() > scores[split.test_y == 0].mean()


@pytest.mark.parametrize("name", list(ahl_methods.OPTIONAL))
def test_peers_of_other_libraries_where_installed(name: str) -> None:
    package, method = ahl_methods.OPTIONAL[name]
    pytest.importorskip(package)
    split = split_task(tasks(None, "digits", 0)[0], 10, rng(), hard=False)
    assert method(split, 0).shape == split.test_y.shape


def test_peers_of_maps_get_their_means() -> None:
    split = Split(np.ones((4, 3, 2, 2)), np.array([0, 0, 0, 1]), np.zeros((2, 3, 2, 2)), np.array([0, 1]))
    assert ahl_methods.on_vectors(ahl_methods.nearest_normal)(split, 0) == pytest.approx([3**0.5] * 2)


def test_draws_are_pairs() -> None:
    rows = [
        {"set": s, "task": "", "shots": 1, "split": i, "seed": 0, "method": m, "auroc": 0.5 + 0.01 * i + gain}
        for s in ("a", "b")
        for i in range(4)
        for m, gain in (("base", 0.0), ("ahl", 0.02 + (0.001 if (s, i) == ("a", 0) else 0)))
    ]
    found = ahl_tables.compare(rows, "ahl", "base")
    assert len(found.gains) == 4
    assert found.gains.mean() == pytest.approx(0.020125)
    assert found.sets == ["a", "b"]
    assert found.p < 1e-4
    assert ahl_tables.compare(rows, "base", "base").p == 1
    with pytest.raises(ValueError, match="expected two or more draws of 'ahl' and 'svm', got 0"):
        ahl_tables.compare(rows, "ahl", "svm")


def test_seeds_of_one_split_are_one_pair() -> None:
    """They share its data: counted apart, as many seeds as one likes would make any difference significant."""
    rows = [
        {"table": "t", "set": "a", "shots": 1, "split": i, "seed": seed, "method": m, "auroc": 0.5 + gain}
        for i in range(3)
        for seed in (0, 10)
        for m, gain in (("base", 0.0), ("AHL(base)", 0.01 * i + 0.002 * seed))
    ]
    found = ahl_tables.compare(rows, "AHL(base)", "base")
    np.testing.assert_allclose(found.gains, [0.01, 0.02, 0.03])
    report = ahl_tables.protocol_report(rows, table="t").replace(" ", "")
    assert "|AHL(base)|52.0±0.6|" in report
    assert "|+2.00±0.58|+2.00±0.58|3|" in report


def test_a_data_set_with_fewer_draws_is_left_out_of_the_mean_over_data_sets() -> None:
    rows = [
        {"table": "t", "set": s, "task": "", "shots": m, "split": i, "seed": 0, "method": method, "auroc": value}
        for s, n, gain in (("a", 3, 0.02), ("b", 3, 0.04), ("c", 2, 0.5), ("d", 1, 0.5))
        for m in (10, 1)
        for i in range(n)
        for method, value in (("base", 0.4), ("base + pseudo", 0.39), ("AHL(base)", 0.4 + gain + 0.001 * i))
    ]
    lines = [line.replace(" ", "") for line in ahl_tables.protocol_report(rows, table="t").splitlines()]
    gains = "+2.10±0.06|+4.10±0.06|+50.05±0.05||+3.10±0.06(a,b)|3|"
    for m in (10, 1):
        assert any(line.startswith(f"|AHL(base)-base|{m}|{gains}") for line in lines)
        assert any(line.startswith(f"|AHL(base)-(base+pseudo)|{m}|+3.10±0.06|") for line in lines)
    alone = 2 * "|40.0±0.0|40.0±0.0|40.0±0.0|40.0"
    assert f"|base{alone}|" in lines
