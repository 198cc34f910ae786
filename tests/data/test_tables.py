"""CSV in and out: what is read, and that every fault is named with its place."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest

from heterad.data.tables import read_table, write_table

GOOD = "task,label,a,b\nx,1,1.5,2\nx,0,-3e2,4\ny,,5,6\ny,-1, 7,8\n"


@pytest.fixture
def csv(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "rows.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_tasks_labels_and_features(csv) -> None:
    table = read_table(csv(GOOD), task="task", label="label")
    assert table.x.column_names == ["a", "b"]
    np.testing.assert_array_equal(np.asarray(table.x), [[1.5, 2], [-300, 4], [5, 6], [7, 8]])
    assert table.y.tolist() == [1, 0, -1, -1]
    assert table.groups.tolist() == ["x", "x", "y", "y"]


def test_features_by_name_in_the_order_wanted(csv) -> None:
    table = read_table(csv(GOOD), features=["b", "a"])
    assert table.x.column_names == ["b", "a"]
    assert table.y is None
    assert table.groups is None


def test_other_columns_may_hold_anything(csv) -> None:
    path = csv("who,a\nAnn,1\n,2\n")
    assert read_table(path, ignore=["who"]).x.column_names == ["a"]


@pytest.mark.parametrize(
    "text",
    ["\ufeffa,b\n1,2\n", "a,b\r\n1,2\r\n", '"a","b"\n"1","2"\n', "a,b\n\n1,2\n\n", "a,b\n1,2"],
    ids=["byte order mark", "carriage returns", "quotes", "empty lines", "no last newline"],
)
def test_dialects(csv, text: str) -> None:
    table = read_table(csv(text))
    assert table.x.column_names == ["a", "b"]
    np.testing.assert_array_equal(np.asarray(table.x), [[1, 2]])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a;b\n1,5;2\n", [[1.5, 2]]),
        ('"a";"b"\r\n"1,5";"-,25"\r\n', [[1.5, -0.25]]),
        ("a;b\n1.5;2\n", [[1.5, 2]]),
        ("a\tb\n1\t2\n", [[1, 2]]),
        ("a|b\n1|2\n", [[1, 2]]),
        ("a, in V;b\n1;2\n", [[1, 2]]),
        ("a|b;c,d\n1,2\n", [[1, 2]]),
        ('"a;b;c","d"\n1,2\n', [[1, 2]]),
        ("a;b\n1;2\n1,5;3\n", [[1, 2], [1.5, 3]]),
    ],
)
def test_separators_and_decimals_are_told_by_the_first_records(csv, text: str, rows: list) -> None:
    np.testing.assert_array_equal(read_table(csv(text)).matrix, rows)


def test_compressed_files(csv, tmp_path) -> None:
    for name, pack in (("rows.csv.gz", gzip.compress), ("rows.csv.bz2", bz2.compress)):
        path = tmp_path / name
        path.write_bytes(pack(b"a;b\n1,5;2\n3;4\n"))
        for source in (path, tmp_path):
            np.testing.assert_array_equal(read_table(source).matrix, [[1.5, 2], [3, 4]])
        path.write_bytes(pack(b"a,b\n1,2\n3,x\n"))
        with pytest.raises(ValueError, match=f"{name}, line 3, column 'b': expected a finite number, got 'x'"):
            read_table(path)
        path.write_bytes(pack(b"a,b\n" + b"".join(b"%d,2\n" % i for i in range(99999)))[:-999])
        with pytest.raises(ValueError, match=f"{name}: expected a file compressed as its name says, got a damaged one"):
            read_table(path)
        path.write_text("a,b\n1,2\n")
        with pytest.raises(ValueError, match=f"{name}: expected a file compressed as its name says"):
            read_table(path)
        path.unlink()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n3,x\n", "rows.csv, line 3, column 'b': expected a finite number, got 'x'"),
        ("a,b\n1,2\n\n3,x\n", "line 4, column 'b'"),
        ('a,b,task\n1,2,"two\nlines"\n3,1;5,t\n', "line 4, column 'b': expected a finite number, got '1;5'"),
        ("a,b\n1,\n", "line 2, column 'b': expected a finite number, got nothing"),
        ("a,b\n1,2\nnan,1\n", "line 3, column 'a': expected a finite number, got 'nan'"),
        ("a,b\n1,NA\n", "line 2, column 'b': expected a finite number, got nothing"),
        (
            ",b\n0,2\n",
            "rows.csv: expected a name for every feature, got none for column 1; name it or ignore it, as ''",
        ),
        ("a, b\n1,2\n3,x\n", "line 3, column ' b'"),
        ("a,b\n1,inf\n", "line 2, column 'b': expected a finite number, got 'inf'"),
        ("a,b\n1,1_000\n", "line 2, column 'b'"),
        ("a,b\n1,2\n3\n", "line 3: expected 2 fields, got 1"),
        ("a,b\n1,2\n3,4,5\n", "line 3: expected 2 fields, got 3"),
        ("a,a\n1,2\n", "expected column names that differ, got 'a' more than once"),
        ("", "expected a header line, got an empty file"),
        ("a,b\n", "expected rows below the header line, got none"),
        (b"a,b\n1,\xff\n", "expected UTF-8 text, got byte 0xff"),
        (b"a,b\n1,\0\n", "line 2: expected text, got binary data"),
        (b"PK\x03\x04,b\n1,2\n", "expected text, got a ZIP archive or an Excel workbook; save it as CSV"),
        ("a,b\n1,2\n3," + "4" * 200_000 + "x\n", "line 3: expected a line of fields, got what cannot be read"),
        ("a;b\n1.5;2\n1,5;3\n", "line 3, column 'a': expected a finite number, got '1,5'"),
        (
            "a,b,c\nx,1,y\n",
            r"line 2, column 'a': .* got 'x'; what holds no numbers .'a', 'c'. must be the task, one-hot",
        ),
    ],
)
def test_faults_are_named_with_their_place(csv, text: str | bytes, message: str) -> None:
    ignore = ["task"] if b"task" in (text if isinstance(text, bytes) else text.encode()) else []
    with pytest.raises(ValueError, match=message):
        read_table(csv(text), ignore=ignore)


@pytest.mark.parametrize("label", ["2", "yes", "0.5"])
def test_labels_are_three(csv, label: str) -> None:
    message = f"line 3, column 'y': expected 1 .anomaly.* got '{label}'"
    with pytest.raises(ValueError, match=message):
        read_table(csv(f"a,y\n1,0\n1,{label}\n"), label="y")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"task": "site"}, "no column 'site'; the columns are task, label, a, b"),
        ({"label": "Label"}, "no column 'Label'; the columns are task, label, a, b"),
        ({"features": ["a", "c"]}, "no column 'c'"),
        ({"ignore": ["z"]}, "no column 'z'"),
        ({"task": "task", "label": "task"}, "expected different columns for task and label"),
        ({"ignore": ["task", "label", "a", "b"]}, "no column is left for the features"),
    ],
)
def test_unknown_columns(csv, columns: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(csv(GOOD), **columns)


def test_words_for_nothing_are_gaps_of_numbers_and_names_elsewhere(csv) -> None:
    table = read_table(
        csv("task,label,a\nNA,NA,1\nNA,0,NA\nb,null,N/A\n"), task="task", label="label", missing="median"
    )
    assert table.matrix.tolist() == [[1], [1], [1]]
    assert table.y.tolist() == [-1, 0, -1]
    assert table.groups.tolist() == ["NA", "NA", "b"]


def test_an_unnamed_column_can_be_ignored(csv) -> None:
    assert read_table(csv(",a\n0,7\n"), ignore=[""]).matrix.tolist() == [[7]]


def test_a_missing_file_and_an_empty_folder(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=f"{tmp_path.name}: expected .csv, .tsv, .parquet, .pq files, found none"):
        read_table(tmp_path)


def test_numbers_survive_writing_and_reading(tmp_path) -> None:
    values = np.random.default_rng(0).normal(size=50) * 10.0 ** np.arange(-25, 25)
    write_table(tmp_path / "out.csv", {"value": values, "count": np.arange(50)})
    back = read_table(tmp_path / "out.csv").x
    np.testing.assert_array_equal(back["value"].to_numpy(), values)
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]


def test_a_folder_that_is_not_there(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none.*out\.csv"):
        write_table(tmp_path / "none" / "out.csv", {"value": np.zeros(1)})


def test_a_task_is_no_feature_and_has_a_name(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("device,volt\na,1\n,2\n")
    with pytest.raises(ValueError, match=r"line 3, column 'device': expected the name of a task, got nothing"):
        read_table(path, task="device")
    with pytest.raises(ValueError, match=r"no feature of the model for the task, got 'volt'"):
        read_table(path, task="volt", features=["volt"])
