"""Arrays from NumPy's .npz files, without running code that a file may hold."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read every array of an .npz file; arrays of Python objects are refused.

    Args:
        path: the file.

    Returns:
        Arrays by name.

    Raises:
        OSError: the file cannot be read, is no .npz file, is damaged, or holds Python objects.

    Cost:
        One pass; memory is the arrays.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez(path, x=np.arange(3))
        >>> read_arrays(path)
        {'x': array([0, 1, 2])}
    """
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                found = {}
                for name in archive.namelist():
                    with archive.open(name) as member:
                        found[name.removesuffix(".npy")] = np.lib.format.read_array(member, allow_pickle=False)
                return found
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError, OSError) as error:
            raise OSError(f"{path}: expected an .npz file of plain arrays, got one that is not ({error})") from None


def read_labelled(
    path: str | os.PathLike[str], labels: Sequence[str] = ("y", "domain"), *, images: bool = False
) -> dict[str, np.ndarray]:
    """Read rows ``X`` of an .npz file and what labels them.

    Args:
        path: the file.
        labels: names of arrays with a value for each row.
        images: whether the rows are grey images of bytes.

    Returns:
        Arrays by name: ``X [n, d]`` float32, finite, or images ``[n, H, W]`` uint8, and every label ``[n]``; others
        that the file holds are left out.

    Raises:
        OSError: the file cannot be read, or is not as described; names it and the array.

    Cost:
        That of ``read_arrays``, and a copy of ``X``.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez(path, X=np.ones((2, 3)), y=[0, 1], note="of no use")
        >>> {name: array.shape for name, array in read_labelled(path, ["y"]).items()}
        {'X': (2, 3), 'y': (2,)}
    """
    arrays = read_arrays(path)
    if missing := [name for name in ("X", *labels) if name not in arrays]:
        raise OSError(f"{path}: expected arrays {', '.join(('X', *labels))}, got none called {', '.join(missing)}")
    x = arrays["X"]
    wanted, fits = (
        ("images, uint8 of shape [n, H, W]", x.ndim == 3 and x.dtype == np.uint8)
        if images
        else ("numbers of shape [n, d]", x.ndim == 2 and x.dtype.kind in "buif")
    )
    if not fits or x.size == 0:
        raise OSError(f"{path}: X: expected {wanted}, got {x.dtype} of shape {list(x.shape)}")
    with np.errstate(over="ignore"):
        x = x if images else x.astype(np.float32)
    if bad := x.size - int(np.isfinite(x).sum()):
        row = int(np.flatnonzero(~np.isfinite(x).all(1))[0])
        raise OSError(
            f"{path}: X: expected finite numbers of float32's range, got {bad} others, the first in row {row}"
        )
    for name in labels:
        if arrays[name].shape != (len(x),):
            shape = list(arrays[name].shape)
            raise OSError(f"{path}: {name}: expected a value for each of the {len(x)} rows of X, got shape {shape}")
    return {"X": x, **{name: arrays[name] for name in labels}}
