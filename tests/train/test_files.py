"""Model files: round trips, damage of every kind, and nothing half-written."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from heterad.train import read_tensors, write_tensors

TENSORS = {
    "w": torch.arange(6.0).reshape(2, 3),
    "empty": torch.zeros(0, 3),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "state": torch.arange(5, dtype=torch.uint8),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}
RECORD = {"name": "épée", "list": [1, None, 2.5], "nested": {"a": True}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    write_tensors(file, TENSORS, RECORD)
    return file


def test_round_trip(path: Path) -> None:
    tensors, record = read_tensors(path)
    assert record == RECORD
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype


def test_the_same_contents_give_the_same_bytes(path: Path) -> None:
    again = path.with_name("again")
    for _ in range(5):
        write_tensors(again, dict(reversed(TENSORS.items())), dict(reversed(RECORD.items())))
        assert again.read_bytes() == path.read_bytes()


def test_an_existing_file_is_replaced_and_nothing_is_left_beside_it(path: Path) -> None:
    write_tensors(path, {}, {"new": 1})
    assert read_tensors(path) == ({}, {"new": 1})
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_failed_write_keeps_the_old_file(path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_tensors(path, {}, {"loss": float("nan")})
    assert read_tensors(path)[1] == RECORD
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_every_flipped_bit_is_noticed_or_harmless(path: Path) -> None:
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for position in rng.integers(len(whole) * 8, size=600):
        damaged = bytearray(whole)
        damaged[position // 8] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        try:
            tensors, record = read_tensors(path)
        except (ValueError, OSError):
            continue
        assert record == RECORD
        assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


def test_every_truncation_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"damaged or foreign|checksum"):
            read_tensors(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "damaged or foreign"),
        (b"hello, this is text", "damaged or foreign"),
        (b"\x80\x04\x95\x10", "damaged or foreign"),
        (b"\xff" * 64, "damaged or foreign"),
        (save({"w": torch.ones(2)}), "foreign safetensors file"),
        (save({"w": torch.ones(2)}, metadata={"heterad": "{}"}), "foreign safetensors file"),
        (save({"w": torch.ones(2)}, metadata={"heterad": "[]"}), "foreign safetensors file"),
        (save({"w": torch.ones(2)}, metadata={"heterad": '{"record": 1, "sha256": ""}'}), "checksum"),
        (struct.pack("<Q", 8) + json.dumps([[[]]]).encode(), "damaged or foreign"),
    ],
)
def test_foreign_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "f"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_tensors(file)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none")
    with pytest.raises(OSError, match=r"directory|denied"):
        read_tensors(tmp_path)
    with pytest.raises(FileNotFoundError):
        write_tensors(tmp_path / "none" / "f", {}, {})
