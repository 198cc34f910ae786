"""The measurement of AHL's thresholds measures, in one epoch."""

from __future__ import annotations

from heterad.experiments import ahl_thresholds


def test_new_rows_are_judged(monkeypatch, capsys) -> None:
    short = ahl_thresholds.measure
    monkeypatch.setattr(ahl_thresholds, "METHODS", ("DRA",))
    monkeypatch.setattr(ahl_thresholds, "measure", lambda *given: short(*given, smoke=True))
    found = ahl_thresholds.measure("DRA", 60, 0.5, 0)
    assert 0 < found.false_positives < 0.5 < found.auroc < 1
    ahl_thresholds.report(seeds=range(2), sizes=(30,))
    assert capsys.readouterr().out.count("DRA, 30 normals") == 2
