"""Image folders: what is read as what, and folders and files that are not as they should be."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from heterad.data.images import read_image_folder

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def picture(file: Path, size: tuple[int, int] = (6, 4), value: int = 0, mode: str = "RGB") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 9)).save(file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in (("train/good/1.png", 1), ("train/good/0.png", 2), ("train/hole/a.PNG", 3)):
        picture(tmp_path / name, value=value)
    picture(tmp_path / "test/good/0.png", value=4)
    picture(tmp_path / "test/crack/0.bmp", value=5)
    (tmp_path / "test" / "good" / "notes.txt").write_text("no image")
    return tmp_path


def test_defects_splits_and_pixels(folder: Path) -> None:
    found = read_image_folder(folder)
    assert found.x.shape == (5, 3, 4, 6)
    assert found.x.dtype == np.uint8
    assert found.x[:, 0, 0, 0].tolist() == [2, 1, 3, 5, 4]
    assert found.defect.tolist() == ["good", "good", "hole", "crack", "good"]
    assert found.y.tolist() == [0, 0, 1, 1, 0]
    assert found.train.tolist() == [True] * 3 + [False] * 2
    assert [f.name for f in found.files] == ["0.png", "1.png", "a.PNG", "0.bmp", "0.png"]


def test_grey_images_and_resizing(folder: Path) -> None:
    picture(folder / "test/good/grey.png", (9, 9), 7, "L")
    with pytest.raises(ValueError, match=r"images of one size, got 6 x 4 .*, 9 x 9 \(test/good/grey.png\); give"):
        read_image_folder(folder)
    found = read_image_folder(folder, size=5)
    assert found.x.shape == (6, 3, 5, 5)
    assert (found.x[-1] == 7).all()


def test_an_unreadable_image_is_named_or_skipped(folder: Path, caplog) -> None:
    (folder / "train/good/2.png").write_bytes((folder / "train/good/1.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"2\.png: expected an image that can be decoded"):
        read_image_folder(folder)
    with caplog.at_level(logging.WARNING, "heterad"):
        assert len(read_image_folder(folder, skip_unreadable=True).x) == 5
    assert "2.png cannot be decoded" in caplog.text


def test_folders_that_are_not_as_they_should_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder with train/good"):
        read_image_folder(tmp_path)
    picture(tmp_path / "one.png")
    for name, got in (("one.png", "a file"), ("none", "nothing there")):
        with pytest.raises(ValueError, match=f"{name}: expected a folder of images, got {got}"):
            read_image_folder(tmp_path / name, normals=False)
    (tmp_path / "train" / "good").mkdir(parents=True)
    with pytest.raises(ValueError, match="train/good: expected at least one image"):
        read_image_folder(tmp_path)
    with pytest.raises(ValueError, match="size: expected at least 1, got 0"):
        read_image_folder(tmp_path, size=0)


def test_images_that_would_be_overlooked_are_named(folder: Path) -> None:
    picture(folder / "train/good/.thumbnails/0.png")
    picture(folder / "test/.ipynb_checkpoints/0.png")
    picture(folder / "test/good/._0.png")
    picture(folder / "test/.thumb.png")
    assert len(read_image_folder(folder / "test", normals=False).x) == 2
    picture(folder / "overview.png")
    assert len(read_image_folder(folder).x) == 5
    picture(folder / "train/good/monday/0.png")
    picture(folder / "test/0.png")
    layout = "expected images in train/<class> and test/<class>, as in MVTec AD"
    with pytest.raises(ValueError, match=f"{layout}, got some elsewhere: test, train/good/monday$"):
        read_image_folder(folder)
    either = "or all in the folder itself, or all in folders of it"
    with pytest.raises(ValueError, match=f"test: {layout}, {either}, got some elsewhere: crack, good$"):
        read_image_folder(folder / "test", normals=False)


def test_a_folder_of_test_alone(folder: Path) -> None:
    found = read_image_folder(folder / "test", normals=False)
    assert found.defect.tolist() == ["crack", "good"]
    assert not found.train.any()
    assert read_image_folder(folder / "test" / "crack", normals=False).defect.tolist() == ["good"]
    picture(folder / "test/crack/monday/0.png")
    with pytest.raises(ValueError, match=r"got some elsewhere: crack/monday$"):
        read_image_folder(folder / "test", normals=False)


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'heterad\[vision\]'"):
        read_image_folder(folder)


def test_sixteen_bits_keep_the_upper_eight_and_other_depths_are_refused(folder: Path) -> None:
    values = np.linspace(0, 65535, 24).astype(np.uint16).reshape(4, 6)
    Image.fromarray(values).save(folder / "train/good/deep.png")
    found = read_image_folder(folder)
    assert (found.x[[file.name == "deep.png" for file in found.files]] == values // 256).all()
    Image.fromarray(np.zeros((4, 6), np.float32)).save(folder / "train/good/real.tif")
    with pytest.raises(ValueError, match=r"real.tif: .*expected 8 or 16 bits a value, .*skip_unreadable leaves it out"):
        read_image_folder(folder)
    assert len(read_image_folder(folder, skip_unreadable=True).x) == 6
