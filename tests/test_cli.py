"""The command line: a round trip on real digits, and one line for each thing a user can get wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

import heterad
from heterad.cli import run
from heterad.data import one_class_tasks, rotated_digits, source_rows, target_rows
from heterad.data.tables import read_table, write_table
from heterad.experiments import demo

PIXELS = [f"p{i}" for i in range(64)]


def write_rows(path, x, **others) -> None:
    write_table(path, others | dict(zip(PIXELS, x.T, strict=True)))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with train.csv, new.csv and a model, and the truth of new.csv."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    x, digit, angle = rotated_digits([0, 90, 180])
    drawn = source_rows(one_class_tasks(digit, angle, keep=[0, 90]), 0.5, rng, labelled_anomalies=0.5)
    write_rows(folder / "train.csv", x[drawn.rows], task=drawn.groups, label=drawn.y.astype(int))
    targets = [target_rows(task, 0.2, rng) for task in one_class_tasks(digit, angle, keep=[180])[:2]]
    rows = np.concatenate([target.support for target in targets])
    names = np.repeat(["zero", "one"], [len(target.support) for target in targets])
    write_rows(folder / "new.csv", x[rows], note=np.full(len(rows), "text"), site=names)
    options = ["--task", "task", "--label", "label", "--model", str(folder / "m.safetensors"), "--max-iter", "60"]
    assert run(["fit", str(folder / "train.csv"), *options]) == 0
    return folder, np.concatenate([target.support_y for target in targets]), names


def complaint(capsys: pytest.CaptureFixture, *arguments) -> str:
    """The one line that these arguments are answered with."""
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("heterad: ")
    assert written.err.count("\n") == 1
    return written.err


def test_fit_then_score(fitted, tmp_path, capsys) -> None:
    folder, truth, names = fitted
    out = tmp_path / "scores.csv"
    model = folder / "m.safetensors"
    arguments = ["score", str(model), str(folder / "new.csv"), "--task", "site", "--out", str(out)]
    assert run(arguments) == 0
    written = capsys.readouterr()
    assert f"Scored {len(truth)} rows of 2 tasks" in written.out
    assert written.err == ""
    scores = read_table(out, task="task", missing="median")
    assert scores.groups.tolist() == names.tolist()
    assert scores.x.column_names == ["row", "score", "p_value", "label"]
    assert scores.x["row"].to_pylist() == list(range(len(truth)))
    assert roc_auc_score(truth, scores.x["score"].to_numpy()) > 0.8
    assert 0 < scores.x["label"].to_numpy().mean() <= 0.12

    assert run([*arguments, "--contamination", "0.3"]) == 0
    assert read_table(out, task="task", missing="median").x["label"].to_numpy().mean() == pytest.approx(0.3, abs=0.02)


def test_without_tasks_and_labels(fitted, tmp_path, capsys) -> None:
    folder, _, _ = fitted
    options = ["--ignore", "note", "site", "--model", str(tmp_path / "m.safetensors"), "--max-iter", "2"]
    assert run(["fit", str(folder / "new.csv"), *options]) == 0
    assert "64 features" in capsys.readouterr().out
    out = tmp_path / "s.csv"
    assert run(["score", str(tmp_path / "m.safetensors"), str(folder / "new.csv"), "--out", str(out)]) == 0
    assert out.read_text().splitlines()[0] == '"row","score","p_value","label"'
    assert "Note" not in capsys.readouterr().out


def test_a_model_of_tasks_used_without_says_so(fitted, tmp_path, capsys) -> None:
    folder, _, _ = fitted
    capsys.readouterr()
    assert run(["score", str(folder / "m.safetensors"), str(folder / "new.csv"), "--out", str(tmp_path / "s.csv")]) == 0
    said = capsys.readouterr().out
    assert "fitted to several tasks, named by column 'task'; no column of tasks was given, so all rows are one" in said


def test_parquet_categories_gaps_and_the_largest_attributes(tmp_path, capsys) -> None:
    rng = np.random.default_rng(0)
    columns = {"unit": np.repeat(["a", "b", "c", "d", "e"], 30), "kind": rng.choice(["x", "y"], 150)}
    columns |= {"volt": rng.normal(size=150), "amp": rng.normal(size=150)}
    columns["amp"][3] = np.nan
    write_table(tmp_path / "rows.parquet", columns)
    rows, model, out = tmp_path / "rows.parquet", tmp_path / "m.safetensors", tmp_path / "s.parquet"
    options = ["--task", "unit", "--one-hot", "kind", "--missing", "median", "--max-iter", "3", "--model", str(model)]
    assert run(["fit", str(rows), *options]) == 0
    assert "Learned 4 features of 150 rows in 5 tasks" in capsys.readouterr().out
    assert run(["score", str(model), str(rows), "--out", str(out), "--explain", "2"]) == 0
    found = pq.read_table(out)
    assert found.column_names[:5] == ["row", "task", "score", "p_value", "label"]
    assert found.column_names[5:] == ["attribute_1", "amount_1", "attribute_2", "amount_2"]
    assert set(found["attribute_1"].to_pylist()) <= {"kind=x", "kind=y", "volt", "amp"}
    assert run(["info", str(model)]) == 0
    card = capsys.readouterr().out
    assert "* One-hot: kind, of x, y" in card
    assert "Missing numbers: become the median" in card
    assert complaint(capsys, "fit", rows, "--task", "unit", "--missing", "median") == (
        f"heterad: {rows}: expected numbers in column 'kind', got string; what holds no numbers ('kind') must be the "
        "task, one-hot or ignored\n"
    )


def test_unknown_columns(fitted, tmp_path, capsys) -> None:
    folder, _, _ = fitted
    said = complaint(capsys, "fit", folder / "train.csv", "--task", "site")
    assert "no column 'site'; the columns are task, label, p0" in said
    (tmp_path / "few.csv").write_text("p0,p1\n1,2\n")
    said = complaint(capsys, "score", folder / "m.safetensors", tmp_path / "few.csv", "--out", tmp_path / "s.csv")
    assert "no column 'p2', 'p3'" in said
    assert "and 52 more; the columns are p0, p1" in said


def test_text_in_a_number_column(tmp_path, capsys) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("task,label,a\nx,0,1\nx,1,high\n")
    said = complaint(capsys, "fit", path, "--task", "task", "--label", "label")
    assert f"{path}, line 3, column 'a': expected a finite number, got 'high'" in said


def test_a_task_without_normals_and_a_task_of_one_row(fitted, tmp_path, capsys) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("task,label,a\n" + "".join(f"{t},0,1\n{t},1,2\n" for t in "abcd") + "odd,1,1\nodd,1,3\n")
    said = complaint(capsys, "fit", path, "--task", "task", "--label", "label", "--model", tmp_path / "m.safetensors")
    assert "task 'odd': expected at least one row labelled normal" in said
    assert list(tmp_path.iterdir()) == [path]
    folder, _, _ = fitted
    write_rows(path, np.zeros((3, 64)), site=np.array(["a", "a", "alone"]))
    options = ["--task", "site", "--out", str(tmp_path / "s.csv")]
    assert run(["score", str(folder / "m.safetensors"), str(path), *options]) == 0
    said = capsys.readouterr().out
    assert "adapting takes 2 rows of a task; where there are fewer (alone: 1), they were scored as members of" in said
    last = (tmp_path / "s.csv").read_text().splitlines()[3].split(",")
    assert last[:2] == ["2", '"alone"']
    assert float(last[2]) > 0
    assert last[3] == ""


def test_what_labels_and_tasks_mean_for_training_is_said(tmp_path, capsys) -> None:
    path = tmp_path / "rows.csv"

    def said(*rows: str) -> str:
        path.write_text("\n".join(["task,label,a,b", *rows, ""]))
        options = ["--task", "task", "--label", "label", "--model", str(tmp_path / "m.safetensors"), "--max-iter", "1"]
        assert run(["fit", str(path), *options]) == 0
        return capsys.readouterr().out

    one = said("x,,1,2", "x,-1,2,2", "x,,4,3")
    assert "no row is labelled, so all rows are learned as normal but for the 10% of each task that rec" in one
    assert "all rows are one task, so nothing is learned of how tasks differ" in one
    assert "1 task are too few" not in one
    assert "Learned 2 features of 3 rows in 1 task." in one
    normal = said(*(f"{task},0,{i},{i * i}" for task in "abcde" for i in range(6)))
    assert normal.startswith("Note: no row is labelled anomalous, so training learns what is normal")
    assert normal.count("Note") == 1
    assert "Loss on 1 validation task without labelled anomalies: " in normal
    both = said(*(f"{task},{int(i > 4)},{i},{i * i}" for task in "abcde" for i in range(6)))
    assert "Note" not in both
    assert "Mean AUC on 1 validation task: " in both
    few = said(*(f"{task},{int(i > 4)},{i},{i * i}" for task in "ab" for i in range(6)))
    assert few.startswith("Note: 2 tasks are too few to hold one out")


def test_one_row_is_too_few_to_learn_from(tmp_path, capsys) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("task,a\nx,1\n")
    said = complaint(capsys, "fit", path, "--task", "task", "--model", tmp_path / "m.safetensors")
    assert said == f"heterad: {path}: expected at least 2 rows to learn from, got 1\n"


def test_missing_files(fitted, tmp_path, capsys) -> None:
    folder, _, _ = fitted
    none = tmp_path / "none.csv"
    out, model = ["--out", tmp_path / "s.csv"], ["--model", tmp_path / "m.safetensors"]
    said = f"heterad: {none}: No such file or directory\n"
    assert complaint(capsys, "fit", none, *model) == said
    assert complaint(capsys, "score", none, folder / "new.csv", *out) == said
    assert complaint(capsys, "score", folder / "m.safetensors", none, *out) == said


def test_model_files_that_are_none(fitted, tmp_path, capsys) -> None:
    folder, _, _ = fitted
    good = (folder / "m.safetensors").read_bytes()
    bad = tmp_path / "bad.safetensors"
    for data in (good[: len(good) // 2], good[:-1], b"", b"a,b\n1,2\n"):
        bad.write_bytes(data)
        said = complaint(capsys, "score", bad, folder / "new.csv", "--out", tmp_path / "s.csv")
        assert f"heterad: expected a model that heterad saved: {bad}: " in said
        assert f"heterad: expected a model that heterad saved: {bad}: " in complaint(capsys, "info", bad)
    save_file({"w": torch.ones(2)}, bad)
    assert "foreign" in complaint(capsys, "score", bad, folder / "new.csv", "--out", tmp_path / "s.csv")


def test_places_that_cannot_be_written_to(fitted, tmp_path, capsys) -> None:
    folder, _, _ = fitted
    (tmp_path / "file").write_text("")
    assert "file: File exists" in complaint(capsys, "demo", "--out", tmp_path / "file")
    below = tmp_path / "file" / "m.safetensors"
    assert str(below.parent) in complaint(
        capsys, "fit", folder / "new.csv", "--ignore", "note", "site", "--model", below
    )
    model = folder / "m.safetensors"
    for arguments in (["fit", folder / "train.csv", "--model"], ["score", model, folder / "new.csv", "--out"]):
        assert complaint(capsys, *arguments, tmp_path).endswith("expected the name of a file to write, got a folder\n")
    said = complaint(capsys, "score", model, folder / "new.csv", "--out", tmp_path / "s.txt")
    assert "s.txt: expected a name that ends in .csv or .parquet, got .txt" in said
    below = tmp_path / "file" / "s.csv"
    assert str(below.parent) in complaint(capsys, "score", model, folder / "new.csv", "--out", below)


def test_demo_prints_a_table_and_what_to_try_next(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(demo, "QUICK", demo.Size(step=135, max_iter=2, n_digits=1, n_trees=5))
    assert run(["demo", "--quick", "--out", str(tmp_path)]) == 0
    written = capsys.readouterr()
    assert "isolation forest" in written.out
    assert "heterad fit" in written.out.splitlines()[-1]
    assert written.err == ""


def test_version_info_and_help(capsys) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"heterad {heterad.__version__}\n"
    assert run(["info"]) == 0
    assert "robust_ridge" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run([])
    assert stop.value.code == 0
    assert "score" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        run(["fly"])
    assert stop.value.code == 2


def test_an_interruption_is_told_in_one_line(capsys, monkeypatch) -> None:
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("heterad.cli.demo.run_demo", interrupt)
    assert "interrupted" in complaint(capsys, "demo")


@pytest.mark.parametrize("package", ["tyro", "rich", "pyarrow"])
def test_without_the_extra_it_says_which_to_install(package: str, tmp_path) -> None:
    (tmp_path / "rows.csv").write_text("a\n1\n")
    program = f"import sys; sys.modules[{package!r}] = None; from heterad.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", program, "fit", "rows.csv"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (f"heterad: the command line needs {package}; install it with: pip install 'heterad[cli]'\n")


def test_no_file_that_is_read_is_written_over(fitted, tmp_path, capsys, monkeypatch) -> None:
    folder, *_ = fitted
    model, rows = folder / "m.safetensors", tmp_path / "rows.csv"
    rows.write_bytes((folder / "new.csv").read_bytes())
    before = rows.read_bytes(), model.read_bytes()
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ("score", model, rows, "--task", "site", "--out", "rows.csv"),
        ("score", model, tmp_path, "--task", "site", "--out", rows),
        ("fit", rows, "--task", "site", "--model", "./rows.csv"),
        ("fit", tmp_path, "--task", "site", "--model", tmp_path / "rows.csv"),
        ("fit", "*.csv", "--task", "site", "--json-log", "rows.csv"),
        ("fit", tmp_path, "--method", "ahl", "--ignore", "note", "site", "--model", rows),
    ):
        assert "another file to write to than the one that is read" in complaint(capsys, *arguments)
    assert before == (rows.read_bytes(), model.read_bytes())


def test_no_files_and_unknown_devices_are_told_in_one_line(fitted, tmp_path, capsys) -> None:
    folder, *_ = fitted
    model = folder / "m.safetensors"
    assert "data: expected one or more" in complaint(capsys, "fit", "--model", tmp_path / "m.safetensors")
    assert "data: expected one or more" in complaint(capsys, "score", model, "--out", tmp_path / "s.csv")
    score = ("score", model, folder / "new.csv", "--task", "site", "--out", tmp_path / "s.csv")
    assert "device: expected cpu or cuda, got 'tpu'" in complaint(capsys, *score, "--device", "tpu")
    if not torch.cuda.is_available():
        assert "no GPU" in complaint(capsys, *score, "--device", "cuda")


def test_a_reader_that_has_enough_is_no_error() -> None:
    """As of `heterad info | true`, however short the output."""
    into, out = os.pipe()
    os.close(into)
    done = subprocess.run(
        [sys.executable, "-m", "heterad", "info"],
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        timeout=300,
        check=False,
    )
    os.close(out)
    assert (done.returncode, done.stderr) == (141, "")
