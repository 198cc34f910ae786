"""Scores of files: those of each task adapted alone, however rows, batches, parts and passes are divided."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heterad.data import row_files
from heterad.detectors import RobustMetaDetector, gather, score_files

NAMES = [f"f{i}" for i in range(10)]
scoring = sys.modules["heterad.detectors.score_files"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory, target):
    """A Parquet file of the target tasks' rows, shuffled, and their tasks' numbers."""
    return write(tmp_path_factory.mktemp("rows") / "rows.parquet", target.x, target.groups), target


@pytest.fixture(scope="session")
def target(target):
    order = np.random.default_rng(0).permutation(len(target.x))
    return type(target)(*(value[order] for value in target))


def write(path: Path, x: np.ndarray, groups: np.ndarray) -> Path:
    pq.write_table(pa.table([*x.T, groups.astype(str)], names=[*NAMES, "unit"]), path, row_group_size=50)
    return path


def expected(detector, target) -> dict[str, np.ndarray]:
    found = {name: np.zeros(len(target.x)) for name in ("score", "p_value", "label")}
    for t in np.unique(target.groups):
        mine = target.groups == t
        task = detector.adapt(target.x[mine])
        found["score"][mine] = task.decision_function(target.x[mine])
        found["p_value"][mine] = task.p_values(target.x[mine])
        found["label"][mine] = task.predict(target.x[mine])
    return found


def same(path: Path, wanted: dict[str, np.ndarray]) -> None:
    table = pq.read_table(path)
    for name, values in wanted.items():
        np.testing.assert_allclose(table[name].to_numpy(), values, rtol=1e-9, err_msg=name)


def test_every_task_is_adapted_to_its_own_rows(fitted, rows, tmp_path) -> None:
    path, target = rows
    found = score_files(fitted, path, tmp_path / "out.parquet", task="unit", explain=3)
    assert found[:2] == (len(target.x), 6)
    wanted = expected(fitted, target)
    same(tmp_path / "out.parquet", wanted)
    assert found.n_anomalous == wanted["label"].sum()
    table = pq.read_table(tmp_path / "out.parquet")
    assert table["row"].to_pylist() == list(range(len(target.x)))
    assert table["task"].to_pylist() == target.groups.astype(str).tolist()
    for i in (0, 7):
        own = fitted.adapt(target.x[target.groups == target.groups[i]]).explain(target.x[i : i + 1])[0]
        largest = np.argsort(-np.abs(own))[:3]
        for k, j in enumerate(largest, 1):
            name, amount = table[f"attribute_{k}"][i].as_py(), table[f"amount_{k}"][i].as_py()
            assert (name, amount) == ((NAMES[j], pytest.approx(own[j])) if own[j] else (None, None))


def test_batches_passes_parts_and_files_do_not_show(fitted, rows, tmp_path, monkeypatch) -> None:
    path, target = rows
    monkeypatch.setattr(row_files, "ROWS", 17)
    monkeypatch.setattr(gather, "MEMORY", 120 * 80)  # two tasks of sixty rows in a pass
    monkeypatch.setattr(gather, "AT_ONCE", 2)
    monkeypatch.setattr(scoring, "PART_ROWS", 40)
    stages = []
    score_files(fitted, path, tmp_path / "a.parquet", task="unit", report=lambda *stage: stages.append(stage))
    same(tmp_path / "a.parquet", expected(fitted, target))
    assert stages[-1] == ("scoring", len(target.x), len(target.x))
    assert max(total for stage, _, total in stages if stage == "gathering rows") >= 3 * len(target.x)
    (tmp_path / "many").mkdir()
    for i in range(3):
        part = slice(i * 120, (i + 1) * 120)
        write(tmp_path / "many" / f"{i}.parquet", target.x[part], target.groups[part])
    score_files(fitted, tmp_path / "many", tmp_path / "b.parquet", task="unit")
    same(tmp_path / "b.parquet", expected(fitted, target))
    assert pq.read_table(tmp_path / "b.parquet")["row"].to_pylist() == [*range(120)] * 3


def test_a_large_task_is_sampled_the_same_way_each_time(fitted, rows, tmp_path) -> None:
    path, target = rows
    scores = []
    for seed in (0, 0, 1):
        score_files(fitted, path, tmp_path / "out.parquet", task="unit", support=20, seed=seed)
        scores.append(pq.read_table(tmp_path / "out.parquet")["score"].to_numpy())
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.allclose(scores[0], scores[2])
    assert np.corrcoef(np.log(scores[0]), np.log(expected(fitted, target)["score"]))[0, 1] > 0.9


def test_a_killed_run_goes_on(fitted, rows, tmp_path, monkeypatch) -> None:
    path, _ = rows
    out, whole = tmp_path / "out.csv", tmp_path / "whole.csv"
    monkeypatch.setattr(scoring, "PART_ROWS", 100)
    score_files(fitted, path, whole, task="unit", explain=1)
    out.write_text("old")
    seen = []

    def kill(stage: str, done: int, total: int) -> None:
        seen.append(stage)
        if stage == "scoring" and done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_files(fitted, path, out, task="unit", explain=1, report=kill)
    assert out.read_text() == "old"
    assert len(list((tmp_path / ".out.csv.parts").glob("part-*"))) >= 1
    seen.clear()
    found = score_files(fitted, path, out, task="unit", explain=1, report=lambda stage, *_: seen.append(stage))
    assert set(seen) == {"scoring"}
    assert found.n_rows == 360
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.csv", "whole.csv"]


def test_unknown_and_tiny_tasks(fitted, source, tmp_path) -> None:
    x = source.x[:31]
    groups = np.repeat(["new", "one"], [30, 1])
    found = score_files(fitted, write(tmp_path / "r.parquet", x, groups), tmp_path / "o.parquet", task="unit")
    assert found.short == {"one": 1}
    assert "adapting takes 2 rows of a task; where there are fewer (one: 1), they were scored as" in found.notes[-1]
    table = pq.read_table(tmp_path / "o.parquet")
    assert table["score"][30].as_py() == pytest.approx(fitted.decision_function(x[30:])[0])
    assert table["p_value"][30].as_py() is None
    np.testing.assert_allclose(table["score"].to_numpy()[:30], fitted.adapt(x[:30]).decision_function(x[:30]))
    alone = score_files(fitted, write(tmp_path / "r.parquet", x[:1], groups[:1]), tmp_path / "o.parquet", task="unit")
    assert (alone.n_rows, alone.short) == (1, {"new": 1})


def test_thresholds(fitted, rows, tmp_path) -> None:
    path, _ = rows
    out = tmp_path / "out.parquet"
    score_files(fitted, path, out, task="unit", threshold=5)
    table = pq.read_table(out)
    np.testing.assert_array_equal(table["label"].to_numpy(), table["score"].to_numpy() > 5)
    score_files(fitted, path, out, task="unit", contamination=0.3)
    assert pq.read_table(out)["label"].to_numpy().mean() == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "f0"}, "expected 10 columns for the model's features, which have no names, got 9"),
        ({"task": "site"}, "no column 'site'"),
        ({"task": "unit", "explain": 11}, r"explain: expected 0 to 10 \(the number of features\), got 11"),
        ({"task": "unit", "support": 1}, "support: expected at least 2, got 1"),
        ({"task": "unit", "contamination": 1.0}, "contamination: expected a share"),
        ({"task": "unit", "contamination": 0.1, "threshold": 2.0}, "threshold: expected it or contamination, got both"),
        ({"task": "unit", "threshold": float("nan")}, "threshold: expected a finite number, got nan"),
    ],
)
def test_bad_options(fitted, tmp_path, options: dict, message: str) -> None:
    path = write(tmp_path / "r.parquet", np.zeros((4, 10)), np.zeros(4))
    if options["task"] == "f0":
        pq.write_table(pq.read_table(path).drop(["unit"]), path)
    with pytest.raises(ValueError, match=message):
        score_files(fitted, path, tmp_path / "out.csv", **options)
    assert list(tmp_path.iterdir()) == [path]


def test_bad_values_are_named_with_their_place(fitted, tmp_path) -> None:
    x = np.zeros((60, 10))
    x[41, 3] = np.inf
    path = write(tmp_path / "r.parquet", x, np.zeros(60))
    with pytest.raises(ValueError, match=r"r.parquet, row 41, column 'f3': expected a finite number, got 'inf'"):
        score_files(fitted, path, tmp_path / "out.csv", task="unit")
    unscaled = RobustMetaDetector(max_iter=1, scale=None).fit(np.random.default_rng(0).normal(size=(9, 10)))
    x[41, 3] = 1e200
    path = write(tmp_path / "r.parquet", x, np.zeros(60))
    with pytest.raises(ValueError, match=r"r.parquet, .*: expected values .* got .*up to 1e\+200"):
        score_files(unscaled, path, tmp_path / "out.csv", task="unit", support=2)


DISK_FULL = """
import resource, signal, sys
from heterad.detectors import RobustMetaDetector, score_files
detector = RobustMetaDetector.load(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    score_files(detector, sys.argv[2], sys.argv[3], task="unit", explain=3)
except OSError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file(fitted, rows, tmp_path) -> None:
    """A limit on the size of files stands for the disk: the decoders fit, the scores do not."""
    path, _ = rows
    model, out = tmp_path / "m.safetensors", tmp_path / "out.csv"
    fitted.save(model)
    out.write_text("old")
    arguments = [sys.executable, "-c", DISK_FULL, str(model), str(path), str(out)]
    done = subprocess.run([*arguments, "20000"], capture_output=True, text=True, check=True)
    said = f"File too large; what is done is kept, the same command goes on: '{out}'"
    assert said in done.stdout
    assert out.read_text() == "old"
    done = subprocess.run([*arguments, "1000000"], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert len(out.read_text().splitlines()) == 361
