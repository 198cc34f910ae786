"""Means, errors, pairs and bold print of known rows."""

from __future__ import annotations

import numpy as np
import pytest

from heterad.experiments import meta_figures
from heterad.experiments.meta_figures import draw_iterations
from heterad.experiments.meta_methods import METHODS
from heterad.experiments.meta_report import Cell, Column, cells, markdown, table, values
from heterad.experiments.meta_starts import report_starts
from heterad.experiments.meta_times import report_times
from heterad.experiments.statistics import paired_p


def row(method: str, split: int, auc: float, *, dataset: str = "isolet", variant: str = "", **others) -> dict:
    key = {"dataset": dataset, "method": method, "variant": variant, "split": split, "seed": 0, "label_ratio": 0.2}
    return {**key, "grid": "full", "anomaly_ratio": 0.1, "seconds": 1.0, "auc": auc, **others}


def test_values_average_the_anomaly_ratios_of_table_1_alone() -> None:
    rows = [row("ours", 0, 0.9), row("ours", 0, 0.7, anomaly_ratio=0.5), row("ours", 0, 0.1, anomaly_ratio=0.01)]
    assert values(rows, "isolet", "ours") == {(0, 0, 0.2): pytest.approx(80)}
    assert values(rows, "isolet", "ours", ratios=(0.01,)) == {(0, 0, 0.2): pytest.approx(10)}
    assert values(rows, "iot", "ours") == {}


def test_the_full_grid_counts_before_a_short_one() -> None:
    rows = [row("ours", 0, 0.9), row("ours", 0, 0.1, grid="short"), row("ours", 1, 0.2, grid="short")]
    assert values(rows, "isolet", "ours") == {(0, 0, 0.2): 90, (1, 0, 0.2): 20}


def test_what_needs_no_labels_stands_at_every_label_ratio() -> None:
    rows = [row("ours", 0, 0.9), row("ours", 0, 0.9, label_ratio=0.1), row("if", 0, 0.5, label_ratio=None)]
    assert values(rows, "isolet", "if") == {(0, 0, 0.1): 50, (0, 0, 0.2): 50}


def test_a_data_set_whose_method_was_not_varied_has_no_panel(tmp_path) -> None:
    image = pytest.importorskip("matplotlib.image", reason="matplotlib is not installed")
    varied = [row("ours", s, 0.8, dataset="mnist_r", variant=v) for s in range(2) for v in ("", "I=1", "I=5")]
    plain = [row(method, s, 0.7, dataset=d) for s in range(2) for method, d in (("rae", "mnist_r"), ("rae", "iot"))]
    widths = []
    for name, rows in (("alone", varied), ("others", [*varied, *plain, row("ours", 0, 0.9, dataset="iot")])):
        (tmp_path / name).mkdir()
        (file,) = draw_iterations(rows, tmp_path / name)
        widths.append(image.imread(file).shape[1])
    assert widths[0] == widths[1]


def test_a_picture_of_variants_is_of_one_grid(tmp_path, monkeypatch) -> None:
    rows = [row("ours", s, 0.8, variant=v, grid="short") for s in range(2) for v in ("", "I=1", "I=5")]
    rows += [row("ours", s, 0.5) for s in range(2)]
    drawn = []
    monkeypatch.setattr(
        meta_figures, "_panels", lambda path, methods, curve, axis: drawn.append(curve("isolet", "ours"))
    )
    draw_iterations(rows, tmp_path)
    assert [*drawn[0]] == [1, 5, 10]
    assert {auc for runs in drawn[0].values() for auc in runs.values()} == {80}


def test_a_legend_fits_over_one_panel(tmp_path, monkeypatch) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    rows = [row(m, 0, 0.8, anomaly_ratio=a) for m in METHODS for a in (0.1, 0.5)]
    figures = []
    monkeypatch.setattr(meta_figures, "save_figure", lambda figure, path: figures.append(figure))
    meta_figures.draw_ratios(rows, tmp_path)
    figure = figures[0]
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
    assert box.y1 <= figure.bbox.y1
    assert len(figure.legends[0].get_texts()) == len(METHODS)


def test_cells_are_bold_where_pairs_cannot_tell() -> None:
    best = {(s, 0, 0.2): 80.0 + 10 * s for s in range(5)}
    close = {place: v - (1 if place[0] % 2 else -0.5) for place, v in best.items()}
    behind = {place: v - 1 - 0.1 * place[0] for place, v in best.items()}
    found = cells({"best": best, "close": close, "behind": behind, "none": {}})
    assert {name: cell.bold for name, cell in found.items()} == {"best": True, "close": True, "behind": False}
    assert found["best"] == Cell(100, pytest.approx(50**0.5), 5, True)
    assert cells({"a": {(0, 0, 0.2): 1.0}, "b": {(0, 0, 0.2): 0.9}})["b"].bold is False
    far = cells({"a": {(i, 0, 0.2): 89.0 for i in range(2)}, "b": {(0, 0, 0.2): 79.0, (1, 0, 0.2): 75.0}})
    assert [cell.bold for cell in far.values()] == [True, False]


def test_pairs_are_splits_not_label_ratios() -> None:
    gains = {0: 0.1, 1: 0.2, 2: 0.9}
    best = {(split, 0, ratio): 80.0 for split in gains for ratio in (0.1, 0.2, 0.3)}
    other = {place: v - gains[place[0]] for place, v in best.items()}
    assert paired_p(np.repeat(list(gains.values()), 3)) < 0.05 < paired_p(np.array(list(gains.values())))
    assert cells({"best": best, "other": other})["other"].bold


def test_errors_are_of_splits_not_of_label_ratios() -> None:
    found = cells({"a": {(s, 0, ratio): 50.0 + s for s in range(2) for ratio in (0.1, 0.2, 0.3)}})
    assert found["a"].error == pytest.approx(0.5)


def test_a_table_stands_beside_the_papers() -> None:
    rows = [row(m, s, v + s / 100) for s in range(2) for m, v in (("ours", 0.9), ("if", 0.7))]
    columns = [Column("Ours", "ours", "", "ours"), Column("IF", "if", "", "if"), Column("AE", "ae", "", "ae")]
    paper = {"isolet": {"ours": 95.69, "if": 92.54}}
    text = table(rows, "Title", columns, paper, special=False).splitlines()
    assert text[0] == "**Title**"
    assert text[2:6] == [
        "| Data    |             Ours |           IF |",
        "|:--------|-----------------:|-------------:|",
        "| Isolet  | **90.50** ± 0.50 | 70.50 ± 0.50 |",
        "| *paper* |            95.69 |        92.54 |",
    ]
    assert text[-1].startswith("Runs (splits × label ratios × seeds) of each mean: Isolet 2;")
    assert text[-1].endswith("Grid: full.")


def test_rows_that_every_table_shares_fill_none_but_the_first() -> None:
    rows, columns = [row("ours", 0, 0.9)], [Column("Ours", "ours", "", ""), Column("w/o A", "ours", "w/o A", "w/o A")]
    assert table(rows, "Title", columns, {}) == ""
    assert "Isolet" in table(rows, "Title", columns, {}, special=False)
    assert "w/o A" in table([*rows, row("ours", 0, 0.8, variant="w/o A")], "Title", columns, {})


def test_variants_are_compared_on_the_splits_that_all_have() -> None:
    rows = [*(row("ours", s, v) for s, v in enumerate((0.9, 0.8, 0.1))), row("ours", 0, 0.7, variant="w/o A")]
    columns = [Column("Ours", "ours", "", ""), Column("w/o A", "ours", "w/o A", "w/o A"), Column("-", "if", "", "if")]
    assert "| **90.00** | 70.00 |" in table(rows, "Title", columns, {})


def test_variants_that_share_no_split_have_no_line() -> None:
    columns = [Column("Ours", "ours", "", ""), Column("w/o A", "ours", "w/o A", "w/o A")]
    apart = [row("ours", 0, 0.9), row("ours", 1, 0.8, variant="w/o A")]
    assert table(apart, "Title", columns, {}) == ""
    both = [*apart, *(row("ours", 0, v, dataset="iot", variant=name) for v, name in ((0.9, ""), (0.7, "w/o A")))]
    assert table(both, "Title", columns, {}).splitlines()[4].startswith("| IoT")


def test_each_grid_has_a_line_of_its_own() -> None:
    short = [row(m, s, v + v * s / 100, grid="short") for s in range(2) for m, v in (("ours", 0.9), ("if", 0.7))]
    columns = [Column("Ours", "ours", "", "ours"), Column("IF", "if", "", "if")]
    paper = {"isolet": {"ours": 95.69, "if": 92.54}}
    text = table([*short, row("ours", 0, 0.8)], "Title", columns, paper, special=False).splitlines()
    assert text[4:7] == [
        "| Isolet, short grid | **90.45** ± 0.45 | 70.35 ± 0.35 |",
        "| Isolet, full grid  |            80.00 |              |",
        "| *paper*            |            95.69 |        92.54 |",
    ]
    assert "Isolet, short grid 2; Isolet, full grid 1;" in text[-1]


def test_what_has_no_grid_stands_in_the_line_of_each() -> None:
    rows = [row("ours", 0, 0.9), row("ours", 0, 0.8, grid="short"), row("if", 0, 0.7, grid=None)]
    columns = [Column("Ours", "ours", "", "ours"), Column("IF", "if", "", "if")]
    lines = table(rows, "Title", columns, {}, special=False).splitlines()[4:6]
    assert [line.count("70.00") for line in lines] == [1, 1]
    assert "IF" in table(rows[2:], "Title", columns, {}, special=False)


def test_starts_are_compared_on_common_splits_of_one_grid_at_one_number_of_steps() -> None:
    def started(variant: str, split: int, auc: float, grid: str = "short", steps: int = 500) -> dict:
        return row("ours", split, auc, dataset="mnist_r", variant=variant, grid=grid, steps_taken=steps, seconds=5.0)

    assert report_starts([started("", 0, 0.9)]) == ""
    rows = [started("", s, 0.7 + 0.1 * s) for s in range(3)] + [started("", 2, 0.1, "full")]
    rows += [started(v, 2, 0.6, steps=250) for v in ("w/o Initial", "w/o Initial, I=50")]
    auc, _, seconds, paper = report_starts(rows).splitlines()[4:8]
    assert [cell.strip() for cell in auc.split("|")[2:-1]] == ["90.00", "60.00", "60.00"]
    assert [cell.strip() for cell in seconds.split("|")[2:-1]] == ["100.0", "200.0", "200.0"]
    assert "808.9" in paper


def test_times() -> None:
    timed = [
        {"timing": "mnist_r", "split": 0, "seed": 0, "method": m, "train_seconds": t, "test_seconds": t / 1000}
        for m, t in (("ours", 30.0), ("proto", 20.0))
    ]
    assert "1.50" in report_times(timed)
    assert "42.9" in report_times(timed)
    alone = report_times(timed[:1])
    assert "|    30 |" in alone
    assert not any(line.startswith("| times Proto's") for line in alone.splitlines())
    assert report_times([]) == ""


def test_a_smoke_run_does_not_stand_beside_the_paper() -> None:
    timed = {"timing": "digits", "split": 0, "seed": 0, "method": "proto", "train_seconds": 2.0, "test_seconds": 0.1}
    assert "on Digits" in report_times([timed])
    rows = [row("ours", 0, 0.9, dataset="digits", variant=v, steps_taken=4) for v in ("", "w/o Initial, I=20")]
    starts = report_starts(rows)
    assert "AUC, %" in starts
    assert "*paper" not in starts + report_times([timed])


def test_markdown_is_aligned() -> None:
    assert markdown([["", "x"], ["name", "100"]]).splitlines()[1] == "|:-----|----:|"
