"""Every table in its smoke size, from the command line to the printed table and the pictures."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from heterad.cli import run
from heterad.experiments.meta_tables import META_TABLES
from heterad.experiments.runs import read_rows, write_rows


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
        (["table1", "--label-ratios", "0.2", "0"], r"label-ratios: expected shares in \(0, 1\), got 0\.2, 0\.0"),
        (["table1", "--label-ratios", "1.5"], r"label-ratios: expected shares in \(0, 1\), got 1\.5"),
        (["table1", "--label-ratios", "nan"], r"label-ratios: expected shares in \(0, 1\), got nan"),
        (["table1", "--jobs", "0"], "jobs: expected at least 1, got 0"),
        (["table1", "--shots", "1"], "shots: has no meaning for table1"),
        (["table3", "--label-ratios", "0.1"], "label-ratios: has no meaning for table3"),
        (["ahl-devnet", "--seeds", "5"], "seeds: has no meaning for ahl-devnet"),
        (["table1", "--smoke", "--splits", "99"], "splits: has no meaning with --smoke"),
        (["ahl-hard", "--smoke", "--datasets", "nonsense"], "datasets: has no meaning with --smoke"),
        (["ahl-hard", "--shots", "10", "0"], r"shots: expected numbers of at least 1, got \(10, 0\)"),
        (["ahl-hard", "--seeds"], "seeds, methods, .*: expected at least one of each, got none of some"),
        (["table1", "--methods"], "expected at least one of each"),
        (["ahl-hard", "--datasets", "digits", "isolet"], r"data: expected a folder with isolet\.npz, got none"),
    ],
)
def test_bad_arguments(arguments: list[str], message: str, tmp_path, capsys) -> None:
    assert run(["reproduce", *arguments, "--out", str(tmp_path / "out.jsonl")]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table1", "--datasets", "isolet", "iot"], r"iot\.npz: no such file; take N-BaIoT from"),
        (["table1", "--datasets", "isolet", "mnist_r"], r"mnist_r\.npz: expected an \.npz file of plain arrays"),
        (["table3"], r"mnist_r\.npz: expected an \.npz file of plain arrays"),
        (["ahl-hard", "--datasets", "digits", "omniglot"], r"omniglot\.npz: No such file"),
        (
            ["ahl-hard", "--datasets", "aitex"],
            r"aitex\.npz: expected arrays X, .*, got none called defect, blank",
        ),
        (["ahl-devnet"], r"devnet_annthyroid\.npz: expected arrays X, y, got none called y"),
        (["ahl-devnet", "--datasets", "devnet_unsw_backdoor"], r"devnet_unsw_backdoor\.npz: No such file"),
    ],
)
def test_data_that_are_not_there_end_all_before_the_first_run(
    arguments, message, tmp_path, capsys, monkeypatch
) -> None:
    np.savez(tmp_path / "isolet.npz", X=np.ones((100, 2)), y=np.arange(100) % 2, domain=np.arange(100) // 20)
    (tmp_path / "mnist_r.npz").write_bytes(b"PK")
    np.savez(tmp_path / "aitex.npz", X=np.ones((2, 4, 4)), y=np.ones(2))
    np.savez(tmp_path / "devnet_annthyroid.npz", X=np.ones((2, 2)))
    monkeypatch.setattr("heterad.cli.reproduce._run", lambda *_: {}["no run is done"])
    assert run(["reproduce", *arguments, "--data", str(tmp_path), "--out", str(tmp_path / "out.jsonl")]) == 2
    assert re.fullmatch(f"heterad: .*{message}.*\n", capsys.readouterr().err)


def test_data_that_the_protocol_cannot_split_end_all_before_the_first_run(tmp_path, capsys, monkeypatch) -> None:
    np.savez(tmp_path / "isolet.npz", X=np.ones((100, 2)), y=np.arange(100) % 2, domain=np.arange(100) // 25)
    monkeypatch.setattr("heterad.cli.reproduce._run", lambda *_: {}["no run is done"])
    arguments = ["--datasets", "isolet", "--data", str(tmp_path), "--out", str(tmp_path / "out.jsonl")]
    assert run(["reproduce", "table1", *arguments]) == 2
    message = "data set isolet: expected 5 domains (3 for source, 1 for validation and 1 for target tasks), got 4"
    assert capsys.readouterr().err == f"heterad: {message}\n"


def test_an_interruption_keeps_what_is_done_and_says_so(tmp_path, capsys, monkeypatch) -> None:
    def interrupted(table, data, key):
        if key["method"] == "DevNet":
            raise KeyboardInterrupt
        return {"task": "", "auroc": 0.5}

    monkeypatch.setattr("heterad.cli.reproduce._run", interrupted)
    out = tmp_path / "out.jsonl"
    assert run(["reproduce", "ahl-hard", "--smoke", "--out", str(out), "--methods", "nearest normal", "DevNet"]) == 2
    assert capsys.readouterr().err == (
        f"heterad: interrupted; any finished runs are kept in {out}, and the same command goes on from there\n"
    )
    assert len(read_rows(out)) == 1


def test_bad_files(tmp_path, capsys) -> None:
    assert run(["report", str(tmp_path / "none.jsonl")]) == 2
    assert "none.jsonl: No such file" in capsys.readouterr().err
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    assert run(["report", str(tmp_path / "other.jsonl")]) == 2
    assert "other.jsonl: expected rows of one of table1" in capsys.readouterr().err
    (tmp_path / "odd.jsonl").write_text('{"table": "ahl-hard", "set": "digits"}\n')
    assert run(["report", str(tmp_path / "odd.jsonl")]) == 2
    assert "odd.jsonl: expected rows as heterad reproduce writes them, got some without" in capsys.readouterr().err
    (tmp_path / "image.jsonl").write_bytes(b"\x89PNG\n")
    assert run(["report", str(tmp_path / "image.jsonl")]) == 2
    assert "image.jsonl: expected lines of JSON, got a file that is no text" in capsys.readouterr().err
    (tmp_path / "list.jsonl").write_text("[1, 2]\n")
    arguments = ["ahl-hard", "--smoke", "--methods", "nearest normal", "--out"]
    for command in (["report"], ["reproduce", *arguments]):
        assert run([*command, str(tmp_path / "list.jsonl")]) == 2
        assert "list.jsonl, line 1: expected a JSON object, got '[1, 2]'" in capsys.readouterr().err
    assert run(["reproduce", *arguments, str(tmp_path)]) == 2
    assert "expected the name of a file to write, got a folder" in capsys.readouterr().err


CELL = {"dataset": "digits", "method": "ours", "variant": "", "split": 0, "label_ratio": 0.2, "seed": 0, "grid": "full"}
CELL |= {"anomaly_ratio": 0.1, "auc": 0.5, "seconds": 1.0}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (CELL | {"auc": None}, "line 2: expected a number for 'auc', got None"),
        (CELL | {"auc": 37}, "line 2: expected 'auc' from 0 to 1, got 37"),
        (CELL | {"auc": float("nan")}, "line 2: expected 'auc' from 0 to 1, got nan"),
        (CELL | {"label_ratio": "0.2"}, "line 2: expected a number or null for 'label_ratio', got '0.2'"),
        (CELL | {"method": ["ours"]}, r"line 2: expected a text for 'method', got \['ours'\]"),
        ({k: v for k, v in CELL.items() if k != "split"}, "rows as heterad reproduce writes them, got .* 'split'"),
    ],
)
def test_a_bad_row_is_told_of_with_its_file(bad, message: str, tmp_path, capsys) -> None:
    good, other = tmp_path / "good.jsonl", tmp_path / "other.jsonl"
    write_rows(good, [CELL])
    write_rows(other, [CELL | {"split": 1}, bad])
    assert run(["report", str(good), str(other)]) == 2
    assert re.fullmatch(rf"heterad: {other}\b.*{message}\n", capsys.readouterr().err)
    assert run(["report", str(good)]) == 0
    command = ["reproduce", "table1", "--smoke", "--methods", "if", "--out", str(other)]
    assert run(command) == 2  # before any run
    assert re.fullmatch(rf"heterad: {other}\b.*{message}\n", capsys.readouterr().err)


def test_two_results_of_one_run_are_not_averaged(tmp_path, capsys) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    write_rows(first, [CELL, CELL | {"split": 1}])
    write_rows(second, [CELL | {"split": 1, "seconds": 2.0}])
    assert run(["report", str(first), str(second)]) == 0  # the same run, again
    write_rows(second, [CELL | {"split": 1, "auc": 0.6}])
    assert run(["report", str(first), str(second)]) == 2
    message = rf"heterad: {first}, line 2, and {second}, line 1: expected one result of a run, got two of .*\n"
    assert re.fullmatch(message, capsys.readouterr().err)


@pytest.mark.parametrize("text", ["none\n", "<!-- table1 -->\n", "<!-- /table1 -->\n<!-- table1 -->\nkept\n"])
def test_a_page_without_markers_is_refused_and_left(text: str, tmp_path, capsys) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    write_rows(tmp_path / "rows.jsonl", [CELL])
    assert run(["report", str(tmp_path / "rows.jsonl"), "--into", str(page)]) == 2
    said = capsys.readouterr().err
    assert (
        "page.md: expected lines to put a table between, one of <!-- table1 --> ... <!-- /table1 -->; got none" in said
    )
    assert page.read_text() == text
    page.write_bytes(b"\x89PNG")
    assert run(["report", str(tmp_path / "rows.jsonl"), "--into", str(page)]) == 2
    assert "page.md: expected a text file, got another" in capsys.readouterr().err
