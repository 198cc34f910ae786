"""Files are written whole or not at all."""

from __future__ import annotations

import os

import pytest

from heterad.data.whole_file import whole_file, writable_file, writable_folder


def test_an_error_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")
    with pytest.raises(TypeError), whole_file(path) as partial, partial.open("w") as file:
        file.writelines(["half", 1])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_replaces_the_old_one(tmp_path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")
    with whole_file(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert partial.suffix == ".txt"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_file_asked_for(tmp_path) -> None:
    path = tmp_path / "none" / "note.txt"
    with pytest.raises(FileNotFoundError) as error, whole_file(path) as partial:
        partial.write_text("")
    assert error.value.filename == str(path)


def test_a_writable_folder_is_made_with_those_above_it(tmp_path) -> None:
    folder = writable_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert not list(folder.iterdir())


def test_a_file_is_no_folder(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for folder in ("file", "file/below"):
        with pytest.raises(OSError, match="file") as error:
            writable_folder(tmp_path / folder)
        assert error.value.filename == str(tmp_path / folder)


def test_behind_a_link_is_the_file(tmp_path) -> None:
    file, link = tmp_path / "file.txt", tmp_path / "link.txt"
    link.symlink_to(file)
    with whole_file(link) as partial:
        partial.write_text("new")
    assert link.is_symlink()
    assert file.read_text() == "new"


def test_a_pipe_is_not_replaced(tmp_path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match=r"expected the name of a file to write, got a device or a pipe.*pipe"):
        writable_file(pipe)
    with pytest.raises(OSError, match="got a device or a pipe"), whole_file(pipe) as partial:
        partial.write_text("new")
    assert pipe.is_fifo()
