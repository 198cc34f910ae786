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
@pytest.mark.parametrize(
    ("name", "of", "other"),
    [
        ("auc_loss", r"smoothed AUC +test AUC (\S+)", r"cross-entropy +test AUC (\S+)"),
        ("devices", r"heterad .* (\S+)\n", r"isolation forest .* (\S+)\n"),
        ("images", r"AHL: .*stains (\S+)", None),
    ],
)
def test_example_shows_what_it_is_there_to_show(name: str, of: str, other: str | None, monkeypatch, capsys) -> None:
    path = next(path for path in EXAMPLES if path.stem == name)
    monkeypatch.setattr(sys, "argv", [str(path)])
    runpy.run_path(str(path), run_name="__main__")
    printed = capsys.readouterr().out
    found, least = (0.95 if p is None else float(re.search(p, printed)[1]) for p in (of, other))
    assert found > least
