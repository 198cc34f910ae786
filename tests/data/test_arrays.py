"""Reading .npz files: plain arrays only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from heterad.data.arrays import read_arrays


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
        with pytest.raises(ValueError, match=rf"{name}.npz: expected an .npz file of plain arrays"):
            read_arrays(tmp_path / f"{name}.npz")
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "absent.npz")
