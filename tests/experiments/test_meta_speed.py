"""The measurement of stacks measures, at a size that takes no time."""

from __future__ import annotations

from heterad.experiments.meta_speed import LAYOUTS, METHODS, measure


def test_every_layout_is_timed() -> None:
    found = measure({"small": (2, 4, 5)}, shrink=500, repeats=1)
    assert set(found) == {("small", method) for method in METHODS}
    assert all(tuple(seconds) == LAYOUTS and min(seconds.values()) > 0 for seconds in found.values())
