"""Recipes: what a variant changes, and where the best preset is the paper's."""

from __future__ import annotations

import pytest

from heterad.experiments.meta_methods import BEST, FOREIGN, METHODS, OURS, recipe


def test_a_variant_changes_what_it_names_and_no_more() -> None:
    changed = recipe(OURS, "averaged weights")
    assert changed.settings.averaging == 0.98
    assert changed.settings.patience == METHODS[OURS].settings.patience
    assert (changed.grid, changed.sampling, changed.fixed) == (METHODS[OURS].grid, METHODS[OURS].sampling, {})


def test_other_tasks_normals_are_no_anomalies_where_all_tasks_share_them() -> None:
    assert recipe(BEST).sampling == FOREIGN
    assert recipe(BEST, binary=True) == METHODS[OURS]
    assert recipe("proto", binary=True) == METHODS["proto"]


def test_unknown_names_are_told() -> None:
    with pytest.raises(ValueError, match=r"method: expected one of ours, .* got 'ours', 'w/o B'"):
        recipe(OURS, "w/o B")
