"""Every table in its smoke size, from the command line to the printed table and the pictures."""

from __future__ import annotations

import json
import re

import pytest

from heterad.cli import run
from heterad.experiments.meta_tables import META_TABLES
from heterad.experiments.runs import read_rows


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A file that fills up, as tables share runs."""
    return tmp_path_factory.mktemp("reproduce") / "all.jsonl"


@pytest.mark.parametrize("name", [table.name for table in META_TABLES])
def test_smoke(name: str, out, capsys) -> None:
    before = len(read_rows(out)) if out.exists() else 0
    assert run(["reproduce", name, "--smoke", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"Wrote {out}" in printed
    assert "| " in printed
    rows = read_rows(out)
    assert len({json.dumps(row) for row in rows}) == len(rows) > before
    if name == "table3":
        assert {"method", "train_seconds", "test_seconds"} <= rows[-1].keys()
    else:
        cell = {"dataset", "method", "variant", "split", "label_ratio", "anomaly_ratio", "auc", "seconds"}
        assert all(cell <= row.keys() for row in rows[before:])
        assert {row["anomaly_ratio"] for row in rows[before:]} == {0, 0.05, 0.1, 0.5}
        assert all(0 <= row["auc"] <= 1 for row in rows[before:])


def test_finished_runs_are_not_done_again(out, monkeypatch) -> None:
    before = out.read_text()
    monkeypatch.setattr("heterad.experiments.meta_cells.draw_split", None)
    assert run(["reproduce", "forms", "--smoke", "--out", str(out)]) == 0
    assert out.read_text() == before


def test_report_prints_draws_and_writes_into_a_page(out, tmp_path, capsys) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table2 -->\nold\n<!-- /table2 -->\nafter\n")
    assert run(["report", str(out), "--out", str(tmp_path / "pictures"), "--into", str(page)]) == 0
    printed = capsys.readouterr().out
    titles = [f"Table {n}." for n in range(1, 9) if n != 7] + ["Figure 6.", "Figure 7.", "Other forms", "best preset"]
    assert [title for title in titles if title not in printed] == []
    assert {file.name for file in (tmp_path / "pictures").iterdir()} == {f"figure{n}.png" for n in (2, 6, 7, 8)}
    text = page.read_text()
    assert text.startswith("before\n<!-- table2 -->\n\n**Table 2.")
    assert text.endswith("<!-- /table2 -->\nafter\n")
    assert "old" not in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table9"], "TABLE: expected one of table1, .*; got 'table9'"),
        (["table1", "--methods", "svm"], "methods: expected some of ours, .*; got svm"),
        (["table1", "--datasets", "mnist"], "datasets: expected some of omniglot, .*; got mnist"),
        (["table1", "--splits", "0"], "splits: expected at least 1, got 0"),
        (["table1", "--jobs", "0"], "jobs: expected at least 1, got 0"),
        (["table1", "--shots", "1"], r"shots: expected .*, for one of ahl-.*; got \(1,\) for table1"),
        (["ahl-hard", "--shots", "10", "0"], r"shots: expected numbers of at least 1, .*; got \(10, 0\)"),
        (["ahl-hard", "--seeds"], "seeds, methods, .*: expected at least one of each, got none of some"),
        (["table1", "--methods"], "expected at least one of each"),
        (["ahl-hard", "--datasets", "isolet"], r"data: expected a folder with isolet\.npz, got none"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, tmp_path, capsys) -> None:
    assert run(["reproduce", *arguments, "--out", str(tmp_path / "out.jsonl")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out.jsonl").exists()


def test_bad_files(tmp_path, capsys) -> None:
    assert run(["report", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl: No such file" in capsys.readouterr().err
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    assert run(["report", str(tmp_path / "other.jsonl")]) == 2
    assert "other.jsonl: expected rows of one of table1" in capsys.readouterr().err
    (tmp_path / "odd.jsonl").write_text('{"table": "ahl-hard", "set": "digits"}\n')
    assert run(["report", str(tmp_path / "odd.jsonl")]) == 2
    assert "odd.jsonl: expected rows as heterad reproduce writes them, got some without" in capsys.readouterr().err
    (tmp_path / "list.jsonl").write_text("[1, 2]\n")
    arguments = ["ahl-hard", "--smoke", "--methods", "nearest normal", "--out"]
    for command in (["report"], ["reproduce", *arguments]):
        assert run([*command, str(tmp_path / "list.jsonl")]) == 2
        assert "list.jsonl, line 1: expected a JSON object, got '[1, 2]'" in capsys.readouterr().err
    assert run(["reproduce", *arguments, str(tmp_path)]) == 2
    assert "expected the name of a file to write, got a folder" in capsys.readouterr().err
