"""Files in: CSV and Parquet, folders and globs, and faults named with their place."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heterad.data.row_files import RowFiles
from heterad.data.tables import read_table, write_table


def read(path, **kinds) -> list[dict]:
    return [row for rows in RowFiles(path).batches(kinds) for row in rows.batch.to_pylist()]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_folders_and_globs_are_one_table(tmp_path, suffix: str) -> None:
    for i, name in enumerate(["b", "a"]):
        write_table(tmp_path / f"{name}{suffix}", {"volt": np.array([i, i + 0.5]), "who": np.array(["x", "y"])})
    (tmp_path / "notes.txt").write_text("no data")
    (tmp_path / ".hidden.csv").write_text("nothing")
    expected = [{"volt": v, "who": w} for v, w in [(1, "x"), (1.5, "y"), (0, "x"), (0.5, "y")]]
    assert read(tmp_path, volt="number", who="text") == expected
    assert read(tmp_path / f"*{suffix}", volt="number", who="text") == expected
    assert read([tmp_path / f"b{suffix}", tmp_path / f"a{suffix}"], who="text", volt="number")[0] == expected[2]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_of_folders_are_columns(tmp_path, suffix: str) -> None:
    for device in ("7", "pump 8"):
        (tmp_path / f"device={device}").mkdir()
        write_table(tmp_path / f"device={device}" / f"rows{suffix}", {"volt": np.array([1.5])})
    for path in (tmp_path, tmp_path / "device=*" / f"*{suffix}"):
        assert [row["device"] for row in read(path, volt="number", device="text")] == ["7", "pump 8"]
    with pytest.raises(ValueError, match=r"device=pump 8.*pump 8"):
        read(tmp_path, device="number")


def test_types_of_parquet(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    columns = {
        "whole": pa.array([1, None], pa.int32()),
        "yes": pa.array([True, False]),
        "exact": pa.array([Decimal(1), Decimal(2)], pa.decimal128(5, 2)),
        "coded": pa.array(["a", "b"]).dictionary_encode(),
        "when": pa.array([0, 1], pa.timestamp("ms")),
        "many": pa.array([[1], [2]]),
    }
    pq.write_table(pa.table(columns), path)
    assert read(path, whole="number", yes="number", exact="number", coded="text") == [
        {"whole": 1, "yes": 1, "exact": 1, "coded": "a"},
        {"whole": None, "yes": 0, "exact": 2, "coded": "b"},
    ]
    for name, said in (("when", r"timestamp\[ms\]"), ("coded", "dictionary"), ("many", "list")):
        with pytest.raises(ValueError, match=f"rows.parquet: expected numbers in column '{name}', got {said}"):
            read(path, **{name: "number"})
    with pytest.raises(ValueError, match="expected one value a row in column 'many'"):
        read(path, many="text")


def test_a_file_counts_once(tmp_path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("p\n1\n")
    (tmp_path / "link.csv").symlink_to(path)
    for twice in (tmp_path, [path, f"{tmp_path}/./a.csv"], [path, tmp_path / "l*.csv"]):
        with pytest.raises(ValueError, match=r"data: expected every file once, got .*, which is .*a.csv"):
            RowFiles(twice)
    assert RowFiles([path, tmp_path / "a*.csv"]).files == [str(path)]


def test_missing_columns_of_any_file_are_named(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("p,q,r\n1,2,3\n")
    (tmp_path / "b.csv").write_text("q\n1\n")
    with pytest.raises(ValueError, match=r"b.csv: no column 'p', 'r'; the columns are q"):
        read(tmp_path, p="number", q="number", r="number")


def test_places_without_rows(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "b.parquet").write_bytes(b"")
    with pytest.raises(ValueError, match="expected CSV files or Parquet files, got both"):
        RowFiles(tmp_path)
    with pytest.raises(ValueError, match=r"b.parquet: expected a Parquet file, got one that is damaged"):
        RowFiles(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=r"x\*: expected .csv, .tsv, .parquet, .pq files, found none"):
        RowFiles(tmp_path / "x*")
    with pytest.raises(FileNotFoundError):
        RowFiles(tmp_path / "none.parquet")
    write_table(tmp_path / "c.parquet", {"a": np.zeros(0)})
    with pytest.raises(ValueError, match=r"c.parquet: expected rows, got none"):
        read_table(tmp_path / "c.parquet")


def test_a_broken_row_group_is_named(tmp_path) -> None:
    path = tmp_path / "rows.parquet"
    x = np.random.default_rng(0).random(5000)
    pq.write_table(pa.table({"a": x, "b": x}), path, row_group_size=1000)
    whole = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(2).column(1).data_page_offset
    whole[start : start + 40] = b"\xff" * 40
    path.write_bytes(whole)
    assert len(read(path, a="number")) == 5000
    with pytest.raises(ValueError, match=r"rows.parquet, row group 2 of 5 \(from 0\), column 'b': expected readable"):
        read(path, a="number", b="number")


def test_duplicate_columns_of_parquet(tmp_path) -> None:
    pq.write_table(pa.table([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "rows.parquet")
    with pytest.raises(ValueError, match="expected column names that differ, got 'a' more than once"):
        RowFiles(tmp_path / "rows.parquet")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ten_thousand_columns(tmp_path, suffix: str) -> None:
    x = np.random.default_rng(0).random((60, 10_000))
    write_table(tmp_path / f"wide{suffix}", {f"c{i}": x[:, i] for i in range(10_000)})
    table = read_table(tmp_path / f"wide{suffix}")
    assert table.columns.features[9_999] == "c9999"
    np.testing.assert_array_equal(np.asarray(table.x), x)
    assert max(rows.batch.num_rows for rows in RowFiles(tmp_path / f"wide{suffix}").batches(table.columns.kinds)) <= 210


def test_a_large_file_comes_in_batches(tmp_path) -> None:
    path = tmp_path / "long.parquet"
    pq.write_table(pa.table({"a": np.arange(150_000), "b": np.zeros(150_000)}), path)
    batches = list(RowFiles(path).batches({"a": "number"}))
    assert [rows.first for rows in batches] == [0, 65_536, 131_072]
    assert batches[2].batch["a"][0].as_py() == 131_072
