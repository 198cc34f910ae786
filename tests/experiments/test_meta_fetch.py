"""Data sets fetched from a server on this machine: conversion, checksums, and what is said when it cannot be done."""

from __future__ import annotations

import io
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from heterad.data import read_arrays
from heterad.experiments import meta_fetch
from heterad.experiments.meta_fetch import Archive, fetched, read_isolet, read_omniglot

pooch = pytest.importorskip("pooch")
Image = pytest.importorskip("PIL.Image")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address that it is served under."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def write_omniglot(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for alphabet, character in (("Greek", "character01"), ("Greek", "character02"), ("Latin", "character01")):
            for drawer in range(2):
                image = np.full((105, 105), 255, np.uint8)
                image[30:60, 30:60] = 0
                data = io.BytesIO()
                Image.fromarray(image).convert("1").save(data, "png")
                archive.writestr(f"images_background/{alphabet}/{character}/0_{drawer}.png", data.getvalue())


def test_omniglot_is_fetched_once_and_converted(served, tmp_path) -> None:
    folder, address = served
    write_omniglot(folder / "o.zip")
    archive = Archive(f"{address}/o.zip", "sha256:" + pooch.file_hash(str(folder / "o.zip")), read_omniglot)
    file = fetched("omniglot", archives={"omniglot": archive}, cache=tmp_path / "cache")
    arrays = read_arrays(file)
    assert arrays["X"].shape == (6, 784)
    assert arrays["X"].reshape(6, 28, 28)[:, 12, 12].tolist() == [255] * 6
    assert arrays["X"].reshape(6, 28, 28)[:, 0, 0].tolist() == [0] * 6
    assert arrays["y"].tolist() == [0, 0, 1, 1, 2, 2]
    assert arrays["domain"].tolist() == [0, 0, 0, 0, 1, 1]
    (folder / "o.zip").unlink()
    assert fetched("omniglot", archives={"omniglot": archive}, cache=tmp_path / "cache") == file


def test_another_checksum_is_refused(served, tmp_path) -> None:
    folder, address = served
    write_omniglot(folder / "o.zip")
    archives = {"omniglot": Archive(f"{address}/o.zip", "md5:" + "0" * 32, read_omniglot)}
    with pytest.raises(OSError, match=r"o.zip: expected checksum md5:0000.*, got another"):
        fetched("omniglot", archives=archives, cache=tmp_path / "cache")
    assert not (tmp_path / "cache" / "omniglot.npz").exists()


def test_isolet_is_converted_and_held_to_its_first_checksum(served, tmp_path, monkeypatch) -> None:
    import gzip

    monkeypatch.setattr(meta_fetch, "ISOLET_GROUPS", (2, 1, 1, 1, 2))
    folder, address = served
    lines = [",".join(["-0.5"] * 617 + [f" {letter}."]) for letter in (1, 2, 3, 4, 5, 26, 1)]
    with zipfile.ZipFile(folder / "i.zip", "w") as archive:  # gzip opens what it packed itself as it opens .Z
        archive.writestr("isolet1+2+3+4.data.Z", gzip.compress("\n".join(lines[:5]).encode()))
        archive.writestr("isolet5.data.Z", gzip.compress("\n".join(lines[5:]).encode()))
    archives = {"isolet": Archive(f"{address}/i.zip", None, read_isolet)}
    cache = tmp_path / "cache"
    arrays = read_arrays(fetched("isolet", archives=archives, cache=cache))
    assert arrays["X"].shape == (7, 617)
    assert arrays["y"].tolist() == [0, 1, 2, 3, 4, 25, 0]
    assert arrays["domain"].tolist() == [0, 0, 1, 2, 3, 4, 4]
    (cache / "isolet.npz").unlink()
    (cache / "isolet.archive").unlink()
    with zipfile.ZipFile(folder / "i.zip", "a") as archive:
        archive.writestr("more", "other")
    with pytest.raises(OSError, match=r"i.zip: expected checksum .*, got another"):
        fetched("isolet", archives=archives, cache=cache)


def test_a_page_instead_of_an_archive(served, tmp_path) -> None:
    folder, address = served
    (folder / "i.zip").write_text("<html>moved</html>")
    archives = {"isolet": Archive(f"{address}/i.zip", None, read_isolet)}
    with pytest.raises(OSError, match=r"i.zip: expected the archive of isolet, got another file"):
        fetched("isolet", archives=archives, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_no_server_and_no_address(served, tmp_path, monkeypatch) -> None:
    _, address = served
    archives = {"isolet": Archive(f"{address}/none.zip", None, read_isolet)}
    with pytest.raises(OSError, match=r"none.zip: cannot be fetched ") as caught:
        fetched("isolet", archives=archives, cache=tmp_path / "cache")
    assert str(caught.value).endswith(
        "; try again, or take isolet.zip from archive.ics.uci.edu/dataset/54/isolet and save arrays X [7797, 617], y "
        "(letter) and domain (group of speakers) with numpy.savez as isolet.npz in the folder that --data names"
    )
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"to fetch data sets: pip install"):
        fetched("isolet")
    with pytest.raises(FileNotFoundError, match=r"iot.npz: there is nothing to fetch it from by itself; take N-BaIoT"):
        fetched("iot")
