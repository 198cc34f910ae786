"""Where the data sets of Kumagai et al. (2023) come from; two of them fetched from there into a cache and converted."""

from __future__ import annotations

import io
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from heterad.data.whole_file import whole_file, writable_folder

ISOLET_GROUPS = (1560, 1560, 1560, 1558, 1559)
"""Rows of the five groups of speakers, in the archive's order."""


class Archive(NamedTuple):
    """An address, its checksum as published (None: none is), and what makes arrays X, y and domain of the file."""

    url: str
    checksum: str | None
    convert: Callable[[Path], dict[str, np.ndarray]]


WHERE = {
    "omniglot": "take images_background.zip from github.com/brendenlake/omniglot, shrink its images to 28 x 28 and "
    "save arrays X [19280, 784] in [0, 255] (ink 255), y (character) and domain (alphabet)",
    "isolet": "take isolet.zip from archive.ics.uci.edu/dataset/54/isolet and save arrays X [7797, 617], y (letter) "
    "and domain (group of speakers)",
    "mnist_r": "take the six rotations from github.com/ghif/mtae and save arrays X [6000, 256] in [0, 1], y (digit) "
    "and domain (rotation)",
    "iot": "take N-BaIoT from archive.ics.uci.edu/dataset/442, draw 500 benign and 500 malicious rows of each of the 9 "
    "devices and save arrays X [9000, 115], y (1 malicious) and domain (device)",
}


def by_hand(name: str) -> str:
    """What to do for a data set that is not there and cannot be fetched."""
    return f"{WHERE[name]} with numpy.savez as {name}.npz in the folder that --data names"


def fetched(name: str, *, archives: dict[str, Archive] | None = None, cache: Path | None = None) -> Path:
    """The data set's file in the cache, fetched and converted if it is not there yet.

    An archive without a published checksum is held to the one that it had when it was first fetched.

    Args:
        name: of the data set.
        archives: what to fetch by name; None takes the official addresses.
        cache: folder; None takes the user's cache folder.

    Returns:
        The path of ``<name>.npz``.

    Raises:
        OSError: there is nothing to fetch it from by itself, or the server cannot be reached, and what to do instead;
            or what came has another checksum, or is no archive of that data set.
        ImportError: pooch is not installed.

    Source:
        Lake et al. (2015), images shrunk to 28 x 28, ink 1; Fanty and Cole (1990).
    """
    source = (ARCHIVES if archives is None else archives).get(name)
    if source is None:
        raise FileNotFoundError(f"{name}.npz: there is nothing to fetch it from by itself; {by_hand(name)}")
    try:
        import pooch
    except ImportError:
        raise ImportError("to fetch data sets: pip install 'heterad[data]'; or name their folder by --data") from None
    folder = writable_folder(Path(pooch.os_cache("heterad")) if cache is None else cache)
    target = folder / f"{name}.npz"
    if target.exists():
        return target
    note = folder / f"{name}.sha256"
    known = source.checksum or (note.read_text().strip() if note.exists() else None)
    try:
        file = Path(pooch.retrieve(source.url, known, fname=f"{name}.archive", path=folder))
    except ValueError as error:
        raise OSError(f"{source.url}: expected checksum {known}, got another ({error})") from None
    except OSError as error:
        raise OSError(f"{source.url}: cannot be fetched ({error}); try again, or {by_hand(name)}") from None
    try:
        arrays = source.convert(file)
    except (zipfile.BadZipFile, KeyError, ValueError, subprocess.CalledProcessError) as error:
        file.unlink()
        raise OSError(f"{source.url}: expected the archive of {name}, got another file ({error})") from None
    note.write_text(f"{pooch.file_hash(str(file))}\n")
    with whole_file(target) as partial:
        np.savez_compressed(partial, X=arrays["X"], y=arrays["y"], domain=arrays["domain"])
    return target


def read_omniglot(file: Path) -> dict[str, np.ndarray]:
    """Characters of ``images_background.zip``: uint8 rows of 784, ink 255; y the character, domain the alphabet.

    Raises:
        zipfile.BadZipFile, ValueError: it is damaged, or holds no images.
    """
    from PIL import Image

    with zipfile.ZipFile(file) as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".png"))
        if not names:
            raise ValueError("no .png files in it")
        rows = []
        for name in names:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                small = image.convert("L").resize((28, 28), Image.Resampling.LANCZOS)
            rows.append(255 - np.asarray(small).ravel())
    alphabets, characters = zip(*((n.split("/")[-3], "/".join(n.split("/")[-3:-1])) for n in names), strict=True)
    y, domain = (np.unique(part, return_inverse=True)[1] for part in (characters, alphabets))
    return {"X": np.stack(rows), "y": y, "domain": domain}


def read_isolet(file: Path) -> dict[str, np.ndarray]:
    """Letters of ``isolet.zip``: float32 rows of 617 in [-1, 1]; y the letter from 0, domain the group of speakers.

    Raises:
        zipfile.BadZipFile, KeyError, ValueError, subprocess.CalledProcessError: it is damaged or another file.
    """
    with zipfile.ZipFile(file) as archive:
        packed = [archive.read(f"isolet{part}.data.Z") for part in ("1+2+3+4", "5")]
    texts = [subprocess.run(["gzip", "-dc"], input=part, capture_output=True, check=True).stdout for part in packed]
    table = np.concatenate([np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.float32, ndmin=2) for text in texts])
    if table.shape != (sum(ISOLET_GROUPS), 618):
        raise ValueError(f"expected {sum(ISOLET_GROUPS)} rows of 617 features and a letter, got {table.shape}")
    domain = np.repeat(np.arange(5), ISOLET_GROUPS)
    return {"X": table[:, :-1], "y": table[:, -1].astype(np.int64) - 1, "domain": domain}


ARCHIVES = {
    "omniglot": Archive(
        "https://github.com/brendenlake/omniglot/raw/master/python/images_background.zip",
        "md5:68d2efa1b9178cc56df9314c21c6e718",
        read_omniglot,
    ),
    "isolet": Archive("https://archive.ics.uci.edu/static/public/54/isolet.zip", None, read_isolet),
}
