"""Arrays from NumPy's .npz files, without running code that a file may hold."""

from __future__ import annotations

import os
import zipfile
import zlib

import numpy as np


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read every array of an .npz file; arrays of Python objects are refused.

    Args:
        path: the file.

    Returns:
        Arrays by name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no .npz file, is damaged, or holds Python objects.

    Cost:
        One pass; memory is the arrays.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez(path, x=np.arange(3))
        >>> read_arrays(path)
        {'x': array([0, 1, 2])}
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            for name in archive.namelist():
                with archive.open(name) as member:
                    found[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
            return found
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError) as error:
        raise ValueError(f"{path}: expected an .npz file of plain arrays, got one that is not ({error})") from None
