"""Progress bars: there before the first step, with time left however long a step takes."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from heterad.cli import progress


def test_steps_of_hours(monkeypatch) -> None:
    written, now = StringIO(), [0.0]
    console = Console(file=written, force_terminal=True, width=120, color_system=None, get_time=lambda: now[0])
    monkeypatch.setattr(progress, "Console", lambda **_: console)
    with progress.bars() as report:
        report("table1", 0, 4)
        console.print("started")
        assert "0/4" in written.getvalue()
        for done in (1, 2):
            now[0] += 3600
            report("table1", done, 4)
    assert "2/4" in written.getvalue()
    assert "left 2:00:00" in written.getvalue()
