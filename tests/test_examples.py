"""The examples run, in their short form; figures that they print in their long form stand in the documents."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path: Path, tmp_path, monkeypatch, capsys) -> None:
    options = ["--out", str(tmp_path)] if "--out" in path.read_text() else []
    monkeypatch.setattr(sys, "argv", [str(path), "--smoke", *options])
    runpy.run_path(str(path), run_name="__main__")
    assert "AUC" in capsys.readouterr().out
    assert bool(options) == bool(list(tmp_path.iterdir()))
