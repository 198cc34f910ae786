"""The measurement of AHL's speed measures, at a size that takes no time."""

from __future__ import annotations

from heterad.experiments import ahl_speed


def test_an_epoch_is_timed(monkeypatch) -> None:
    monkeypatch.setattr(ahl_speed, "SHAPE", (4, 3, 3))
    found = ahl_speed.measure(1, repeats=1)
    assert found["epoch"] > 0
    assert found["loop_over_stack"] > 0
