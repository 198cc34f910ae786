"""From columns to features: categories, gaps, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from heterad.data.columns import Columns
from heterad.data.row_files import RowFiles
from heterad.data.tables import read_table

TEXT = "task,kind,a,b\nx,red,1,10\nx,blue,,20\ny,red,3,\ny,green,5,60\n"


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(TEXT)
    return path


def test_one_hot_and_medians(csv) -> None:
    table = read_table(csv, task="task", one_hot=["kind"], missing="median")
    assert table.x.column_names == ["kind=blue", "kind=green", "kind=red", "a", "b"]
    np.testing.assert_array_equal(
        np.asarray(table.x), [[0, 0, 1, 1, 10], [1, 0, 0, 3, 20], [0, 0, 1, 3, 20], [0, 1, 0, 5, 60]]
    )
    assert table.columns.fill == {"a": 3, "b": 20}
    assert Columns.of(table.columns.record()) == table.columns


def test_new_files_are_read_as_the_old_ones(csv, tmp_path) -> None:
    columns = read_table(csv, task="task", one_hot=["kind"], missing="median").columns
    new = tmp_path / "new.csv"
    new.write_text("b,a,kind\n,,violet\n7,8,blue\n,1,\n")
    (rows,) = RowFiles(new).batches(columns.kinds)
    np.testing.assert_array_equal(columns.matrix(rows), [[0, 0, 0, 3, 20], [1, 0, 0, 8, 7], [0, 0, 0, 1, 20]])
    np.testing.assert_array_equal(columns.matrix(rows, np.array([1])), [[1, 0, 0, 8, 7]])


def test_text_is_refused_unless_one_hot(csv) -> None:
    with pytest.raises(ValueError, match=r"line 2, column 'kind': expected a finite number, got 'red'"):
        read_table(csv, task="task")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"one_hot": ["kind"]}, "line 3, column 'a': expected a finite number, got nothing"),
        ({"one_hot": ["kind", "task"]}, "expected a feature to be one-hot, got 'task', which is named otherwise"),
        ({"one_hot": ["colour"]}, "no column 'colour'"),
        ({"missing": "mean"}, "missing: expected 'error' or 'median', got 'mean'"),
    ],
)
def test_bad_options_and_gaps(csv, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(csv, task="task", **options)


def test_a_missing_category_an_empty_column_and_infinity(tmp_path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("kind,a\nred,1\n,2\n")
    with pytest.raises(ValueError, match="line 3, column 'kind': expected a category, got nothing"):
        read_table(path, one_hot=["kind"])
    path.write_text("a,b\n1,\n2,\n")
    with pytest.raises(ValueError, match=r"rows.csv, column 'b': expected a number in some row for the median"):
        read_table(path, missing="median")
    path.write_text("a,b\n1,2\n2,inf\n")
    with pytest.raises(ValueError, match="line 3, column 'b': expected a finite number, got 'inf'"):
        read_table(path, missing="median")


def test_a_category_that_is_also_a_column(tmp_path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("kind,kind=a\na,1\n")
    with pytest.raises(ValueError, match="expected features that differ, got kind=a as category and as column"):
        read_table(path, one_hot=["kind"])


def test_too_many_categories(tmp_path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("serial\n" + "\n".join(f"n{i}" for i in range(1001)) + "\n")
    with pytest.raises(ValueError, match="expected at most 1000 categories in column 'serial', got more"):
        read_table(path, one_hot=["serial"])
