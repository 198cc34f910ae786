"""Reading .npz files: plain arrays only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heterad.data.arrays import read_arrays, read_labelled


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(save, tmp_path: Path) -> None:
    x, name = np.random.default_rng(0).random((3, 2)), np.array(["a", "b"])
    save(tmp_path / "a.npz", x=x, name=name)
    found = read_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["name"], name)


def test_objects_and_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "o.npz", o=np.array([{}], dtype=object))
    (tmp_path / "t.npz").write_text("text")
    np.savez(tmp_path / "cut.npz", x=np.ones(9))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-30])
    for name in ("o", "t", "cut"):
        with pytest.raises(OSError, match=rf"{name}.npz: expected an .npz file of plain arrays"):
            read_arrays(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "absent.npz")


def test_whatever_byte_is_damaged_the_file_is_named(tmp_path: Path) -> None:
    np.savez(file := tmp_path / "a.npz", x=np.arange(9))
    good = file.read_bytes()
    for i in range(len(good)):
        file.write_bytes(good[:i] + bytes([good[i] ^ 0xFF]) + good[i + 1 :])
        said = complaint(file)
        assert said == "" or said.startswith(
            f"{file}: expected an .npz file of plain arrays"
        )  # some bytes are not used


def complaint(file: Path) -> str:
    try:
        read_arrays(file)
    except OSError as error:
        return str(error)
    return ""


def test_rows_with_labels_come_back(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=np.array([[6e17, -1], [0, 1]]), y=["a", "b"], note="of no use")
    found = read_labelled(tmp_path / "a.npz", ["y"])
    assert found["X"].dtype == np.float32
    assert found["X"].tolist() == np.array([[6e17, -1], [0, 1]], np.float32).tolist()
    assert found["y"].tolist() == ["a", "b"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones(4)}, r"X: expected numbers of shape \[n, d\], got float64 of shape \[4\]"),
        ({"X": np.ones((4, 2, 2))}, r"X: expected .* of shape \[4, 2, 2\]"),
        ({"X": np.ones((0, 2))}, r"X: expected .* of shape \[0, 2\]"),
        ({"X": np.full((4, 2), "1")}, r"X: expected numbers of shape \[n, d\], got <U1"),
        ({"X": np.array([[0, 1], [np.nan, 1], [np.inf, np.nan], [0, 1]])}, "X: .* got 3 others, the first in row 1$"),
        ({"X": np.full((4, 2), 1e300)}, r"X: expected finite numbers of float32's range, got 8 others"),
        ({"y": np.zeros(3)}, r"y: expected a value for each of the 4 rows of X, got shape \[3\]"),
        ({"domain": np.zeros((4, 1))}, r"domain: expected a value for each of the 4 rows of X, got shape \[4, 1\]"),
    ],
)
def test_rows_that_cannot_be_used(change: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"X": np.ones((4, 2)), "y": np.zeros(4), "domain": np.zeros(4), **change})
    with pytest.raises(OSError, match=rf"a\.npz: {message}"):
        read_labelled(tmp_path / "a.npz")
