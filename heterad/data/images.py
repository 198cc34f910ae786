"""Folders of images laid out as MVTec AD: ``train/good``, ``test/good`` and a folder of ``test`` per defect."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heterad.data.row_files import shortened

logger = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
GOOD = "good"


class ImageSet(NamedTuple):
    """Images ``x [n, colours, H, W]`` uint8; ``y [n]`` 1 for a defect; the defect of each, "good" for none; whether it
    lies in ``train``; and its file."""

    x: np.ndarray
    y: np.ndarray
    defect: np.ndarray
    train: np.ndarray
    files: list[Path]


def is_image(path: Path) -> bool:
    """Whether a path is a file that, by its name, holds an image; hidden ones do not."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def read_image_folder(
    folder: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] | None = None,
    skip_unreadable: bool = False,
    normals: bool = True,
    colours: int = 3,
) -> ImageSet:
    """Read every image of a folder laid out as one category of MVTec AD.

    Folders beside ``good`` in ``train`` are defects too: seen anomalies to learn from. What is hidden, by a name that
    starts with a dot, is passed over.

    Args:
        folder: holds ``train/good``; ``train/<defect>``, ``test/good`` and ``test/<defect>`` may be there.
        size: height and width that images are resized to, or one number for both; None asks for images of one size.
        skip_unreadable: leave out files that cannot be decoded, with a note in the log, instead of raising.
        normals: whether ``train/good`` must be there. If not, a folder without ``train`` and ``test`` may hold the
            images itself, which then count as good, or folders of them, as ``test`` of MVTec AD does.
        colours: 3, or 1 for their brightness alone.

    Returns:
        The images in the order of split, defect and file name; grey ones have equal colours, those of 16 bits their
        upper 8.

    Raises:
        ImportError: Pillow is not installed (extra ``vision``).
        ValueError: there is no folder, no ``train/good`` or no image in it, or no image at all, images lie in other
            folders than said, where they would be overlooked, an image cannot be decoded or has other than 8 or 16 bits
            (its file is named), or sizes differ and ``size`` is None.

    Cost:
        One decoding a file; memory of the decoded images.

    Example:
        See ``tests/data/test_images.py``, which makes such a folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"{root}: expected a folder of images, got {'a file' if root.exists() else 'nothing there'}")
    if normals and not (root / "train" / GOOD).is_dir():
        raise ValueError(f"{root}: expected a folder with train/{GOOD}, as in MVTec AD, got none")
    sides = (size, size) if isinstance(size, int) else size
    if sides is not None and min(sides) < 1:
        raise ValueError(f"size: expected at least 1, got {size}")
    images, defects, train, files = [], [], [], []
    for split, kind in _folders(root, normals):
        for file in sorted(p for p in kind.iterdir() if is_image(p)):
            image = _read(file, sides, skip_unreadable, "L" if colours == 1 else "RGB")
            if image is not None:
                images.append(image)
                defects.append(GOOD if kind == root else kind.name)
                train.append(split == "train")
                files.append(file)
    if not images and not normals:
        raise ValueError(f"{root}: expected at least one image ({', '.join(SUFFIXES)}), got none")
    sizes = {image.shape: file for image, file in zip(images, files, strict=True)}
    if len(sizes) > 1:
        named = ", ".join(
            f"{shape[2]} x {shape[1]} ({file.relative_to(root)})" for shape, file in list(sizes.items())[:3]
        )
        raise ValueError(f"{root}: expected images of one size, got {named}; give a size to resize to")
    defect, in_train = np.array(defects, dtype=str), np.array(train, dtype=bool)
    if normals and not (in_train & (defect == GOOD)).any():
        raise ValueError(f"{root / 'train' / GOOD}: expected at least one image ({', '.join(SUFFIXES)}), got none")
    return ImageSet(np.stack(images), (defect != GOOD).astype(np.int64), defect, in_train, files)


def _folders(root: Path, normals: bool) -> list[tuple[str, Path]]:
    """The folders to read, each with its split; images in others, which would be overlooked, raise ValueError."""
    layout = "images in train/<class> and test/<class>, as in MVTec AD"
    tops = {split: root / split for split in ("train", "test")}
    one = not normals and not any(top.is_dir() for top in tops.values())
    if one:
        tops = {"test": root}
        layout += ", or all in the folder itself, or all in folders of it"
    if one and any(map(is_image, root.iterdir())):
        read = [("test", root)]
    else:
        read = [(split, kind) for split, top in tops.items() for kind in sorted(top.glob("[!.]*")) if kind.is_dir()]
    known = {folder for _, folder in read}
    below = [path for top in tops.values() for path in top.rglob("*")]
    others = {path.parent.relative_to(root) for path in below if path.parent not in known and is_image(path)}
    seen = sorted(str(path) for path in others if not any(part.startswith(".") for part in path.parts))
    if seen:
        raise ValueError(f"{root}: expected {layout}, got some elsewhere: {shortened(seen)}")
    return read


def _read(file: Path, size: tuple[int, int] | None, skip: bool, mode: str) -> np.ndarray | None:
    """One image as uint8 ``[colours, H, W]``, or None where it cannot be decoded and may be skipped."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("reading images needs Pillow; install it with: pip install 'heterad[vision]'") from None
    try:
        with Image.open(file) as opened:
            if opened.mode in ("I", "F"):
                raise ValueError(f"expected 8 or 16 bits a value, got Pillow's mode {opened.mode!r}, of 32")
            deep = opened.mode.startswith("I;16")  # which Pillow would cut at 255
            image = (Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8)) if deep else opened).convert(mode)
            if size is not None:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if not skip:
            raise ValueError(
                f"{file}: expected an image that can be decoded, got an error ({error}); skip_unreadable leaves it out"
            ) from None
        logger.warning("%s cannot be decoded and is left out (%s)", file, error)
        return None
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
