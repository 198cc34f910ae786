"""The examples run in their short form, and in their long form find what they are there to show."""

from __future__ import annotations

import re
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


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("auc_loss", 0.9), ("devices", 0.75), ("images", 0.95)])
def test_example_shows_what_it_is_there_to_show(name: str, least: float, monkeypatch, capsys) -> None:
    path = next(path for path in EXAMPLES if path.stem == name)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    found = re.findall(r"(?:AUC [a-z() ]*|stains )([01]\.\d+)", capsys.readouterr().out)
    assert len(found) >= 2
    assert min(map(float, found)) > least
