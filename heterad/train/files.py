"""Tensors and a JSON record in one safetensors file: the only file format of models and checkpoints.

Reading never executes code. A digest over the record and every tensor turns damage of any kind into a ValueError.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from heterad.data.whole_file import whole_file

KEY = "heterad"


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write tensors and a JSON-able record to ``path``; an existing file is replaced whole or not at all.

    Args:
        path: the file.
        tensors: named tensors of any device; stored as contiguous CPU tensors.
        record: anything ``json.dumps`` takes without NaN; stored under the key ``heterad`` of the file's header.

    Raises:
        ValueError: the record holds a non-finite number.
        OSError: the file cannot be written.

    Cost:
        One copy of the tensors in memory and one pass of SHA-256 over them.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> write_tensors(path, {"w": torch.ones(2)}, {"kind": "demo"})
        >>> read_tensors(path)
        ({'w': tensor([1., 1.])}, {'kind': 'demo'})
    """
    data = pack_tensors(tensors, record)
    with whole_file(path) as partial:
        partial.write_bytes(data)


def pack_tensors(tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> bytes:
    """The bytes that ``write_tensors`` writes."""
    stored = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    sealed = {"record": record, "sha256": _digest(stored, record)}
    return save(stored, metadata={KEY: json.dumps(sealed, sort_keys=True)})  # two keys would be stored in any order


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_tensors`` wrote.

    Args:
        path: the file.

    Returns:
        ``(tensors, record)``, tensors on the CPU.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is truncated, damaged, or not a file of this library.

    Cost:
        The file's size in memory twice while it is read, and one pass of SHA-256.

    Example:
        See ``write_tensors``.
    """
    return unpack_tensors(Path(path).read_bytes(), path)


def unpack_tensors(data: bytes, source: object) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the bytes of such a file; errors name ``source``."""
    try:
        tensors = load(data)
        (size,) = struct.unpack("<Q", data[:8])
        metadata = json.loads(data[8 : 8 + size]).get("__metadata__", {})
        sealed = json.loads(metadata.get(KEY, "{}"))
    except (SafetensorError, ValueError, KeyError, struct.error, RecursionError) as error:
        raise ValueError(
            f"{source}: expected a safetensors file, got one that is damaged or foreign ({error})"
        ) from None
    if not isinstance(sealed, dict) or sealed.keys() != {"record", "sha256"}:
        raise ValueError(f"{source}: expected a file written by heterad, got a foreign safetensors file")
    if sealed["sha256"] != _digest(tensors, sealed["record"]):
        raise ValueError(f"{source}: contents do not match their checksum; the file is damaged")
    return tensors, sealed["record"]


def _digest(tensors: Mapping[str, Tensor], record: Any) -> str:
    digest = hashlib.sha256(json.dumps(record, sort_keys=True, allow_nan=False).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
