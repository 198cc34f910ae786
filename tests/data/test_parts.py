"""Tables in parts: gone on with after a failure, whole or not there, and for one run at a time."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heterad.data.parts import PartedTable


def part(*values: float) -> pa.Table:
    names = pa.DictionaryArray.from_arrays(pa.array([0] * len(values), pa.int32()), ["volt"])
    return pa.table({"score": pa.array(values, pa.float64()), "name": names})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_failed_run_is_gone_on_with(tmp_path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    path.write_text("old")

    def fail() -> None:
        with PartedTable(path, {"a": 1}) as parts:
            parts.write(part(1, 2), 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    with PartedTable(path, {"a": 1}) as parts:
        assert (parts.n_rows, parts.total) == (2, 1)
        parts.write(part(3), 1)
        assert path.read_text() == "old"
        parts.finish()
        assert parts.total == 2
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    if suffix == ".csv":
        assert path.read_text() == '"score","name"\n1,"volt"\n2,"volt"\n3,"volt"\n'
    else:
        assert pq.read_table(path).to_pydict() == {"score": [1, 2, 3], "name": ["volt"] * 3}


def test_another_job_begins_anew(tmp_path) -> None:
    with PartedTable(tmp_path / "out.csv", {"a": 1}) as parts:
        parts.write(part(1))
    with PartedTable(tmp_path / "out.csv", {"a": 2}) as parts:
        assert parts.n_rows == 0
    assert not (tmp_path / "out.csv").exists()


def test_one_run_at_a_time(tmp_path) -> None:
    with PartedTable(tmp_path / "out.csv", {}), pytest.raises(ValueError, match="another run is writing it"):
        PartedTable(tmp_path / "out.csv", {})


def test_places_that_cannot_be_written_to(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"out.json: expected a name that ends in .csv or .parquet, got .json"):
        PartedTable(tmp_path / "out.json", {})
    with pytest.raises(IsADirectoryError, match="expected the name of a file to write, got a folder"):
        PartedTable(tmp_path, {})
