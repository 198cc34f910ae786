"""Pictures of a detector: drawn as far as there is something to draw, from what the detector says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from heterad import RobustMetaDetector
from heterad.cli import run
from heterad.data import toy_tasks
from heterad.data.tables import write_table
from heterad.experiments import panels, plots
from heterad.experiments.panels import MOST_ROWS
from heterad.experiments.plots import draw, score_tasks

TOY = toy_tasks(6, 40)


@pytest.fixture(scope="module")
def detector() -> RobustMetaDetector:
    return RobustMetaDetector(max_iter=20, eval_every=5).fit(TOY.x, TOY.y, TOY.groups)


def drawn(files: list[Path]) -> list[str]:
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    return [file.name for file in files]


def test_what_is_drawn_depends_on_what_is_known(detector, tmp_path: Path) -> None:
    assert drawn(draw(detector, tmp_path)) == ["history.png"]
    rows = ["history.png", "scores.png", "attributes.png"]
    assert drawn(draw(detector, tmp_path, TOY.x)) == rows
    assert drawn(draw(detector, tmp_path, TOY.x, TOY.groups, np.full(len(TOY.x), -1))) == rows
    assert drawn(draw(detector, tmp_path, TOY.x, TOY.groups, TOY.y)) == [*rows[:2], "curves.png", rows[2]]


def test_without_validation_and_with_rows_all_alike(tmp_path: Path) -> None:
    alone = RobustMetaDetector(max_iter=3).fit(np.ones((10, 3)))
    assert len(draw(alone, tmp_path / "new" / "folder", np.ones((5, 3)))) == 3


def test_rows_are_scored_by_their_own_task(detector) -> None:
    order = np.random.default_rng(0).permutation(len(TOY.x))
    scored, attributes = score_tasks(detector, TOY.x[order], TOY.groups[order], None)
    task = detector.adapt(TOY.x[order][TOY.groups[order] == 3])
    np.testing.assert_allclose(scored.score[scored.task == 3], task.support_scores_ / task.threshold_)
    assert len(scored.top) == MOST_ROWS
    assert scored.score[scored.top[0]] == scored.score.max()
    row = scored.top[scored.task[scored.top] == 3][0]
    where = scored.top.tolist().index(row)
    np.testing.assert_allclose(attributes[where], task.explain(TOY.x[order][[row]])[0], atol=1e-12)


def test_a_task_of_one_row_is_of_the_training_rows_taken_as_one(detector) -> None:
    scored, _ = score_tasks(detector, TOY.x[:3], np.array([0, 0, 7]), None)
    assert scored.score[2] == pytest.approx(detector.decision_function(TOY.x[2:3])[0] / detector.threshold_)


def test_a_task_that_cannot_be_adapted_to_is_named(detector) -> None:
    x = TOY.x[:4].copy()
    x[2] = np.inf
    with pytest.raises(ValueError, match=r"task 7: .*infinity"):
        score_tasks(detector, x, np.array([0, 0, 7, 7]), None)


def test_the_area_under_precision_is_the_average_precision(tmp_path: Path, monkeypatch) -> None:
    figures = []
    monkeypatch.setattr(panels, "save_figure", lambda figure, path: figures.append(figure))
    score, y = np.array([4.0, 3.0, 2.0, 1.0]), np.array([0, 1, 1, 0])
    panels.curves(tmp_path, panels.ScoredRows(score, np.zeros(4), y))
    line = figures[0].axes[1].lines[0]
    assert line.get_xdata().tolist() == [0, 0.5, 1]
    assert line.get_ydata().tolist() == [0.5, 0.5, 2 / 3]
    assert line.get_label() == f"all rows, average precision {0.5 * 0.5 + 0.5 * 2 / 3:.3f}"


def test_rows_of_any_kind_are_drawn_and_others_refused_before_anything_is(detector, tmp_path: Path) -> None:
    frame = pd.DataFrame(TOY.x)
    for x in (frame, TOY.x.tolist(), torch.as_tensor(TOY.x)):
        assert len(draw(detector, tmp_path, x, TOY.groups)) == 3
    for wrong in ({"y": TOY.y[:-1]}, {"y": TOY.y + 2}, {"groups": TOY.groups[:-1]}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            draw(detector, tmp_path, TOY.x, **wrong)


def test_names_are_drawn_as_they_are(detector, tmp_path: Path) -> None:
    scored, attributes = score_tasks(detector, TOY.x[:4], np.array(["in $", "in $", r"$\no$", r"$\no$"]), None)
    plots.attributes(tmp_path / "a.png", scored, attributes, [r"$\frac{$", "two\nlines", *map(str, range(8))])
    assert (tmp_path / "a.png").exists()


def test_a_flat_curve_is_drawn_flat_and_named(tmp_path: Path, monkeypatch) -> None:
    figures = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: figures.append(figure))
    easy = RobustMetaDetector(max_iter=4, eval_every=1).fit(*toy_far())
    plots.history(tmp_path, easy)
    panel = figures[0].axes[1]
    assert set(easy.history_["validation"]) == {1.0}
    assert panel.get_ylim() == (0.95, 1.05)
    assert panel.get_ylabel() == "mean AUC of\n1 validation task"


def toy_far() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Five tasks whose anomalies lie far out."""
    x = np.random.default_rng(0).normal(size=(100, 3))
    y = np.tile([1, 0, 0, -1], 25)
    x[y == 1] += 40
    return x, y, np.repeat(np.arange(5), 20)


def test_the_command(tmp_path: Path, capsys) -> None:
    columns = {f"f{i}": column for i, column in enumerate(TOY.x.T)}
    write_table(tmp_path / "rows.csv", {"site": TOY.groups, "truth": TOY.y} | columns)
    rows, model, out = (str(tmp_path / name) for name in ("rows.csv", "m.safetensors", "pictures"))
    options = ["--task", "site", "--label", "truth"]
    assert run(["fit", rows, *options, "--model", model, "--max-iter", "10"]) == 0
    assert run(["plot", model, "--out", out]) == 0
    assert capsys.readouterr().out.endswith(f"Wrote to {out}: history.png.\n")
    assert run(["plot", model, rows, *options, "--out", out]) == 0
    assert "history.png, scores.png, curves.png, attributes.png" in capsys.readouterr().out
    (tmp_path / "row.csv").write_text("".join((tmp_path / "rows.csv").open().readlines()[:2]))
    assert run(["plot", model, str(tmp_path / "row.csv"), "--out", out]) == 0
    assert "adapting takes 2 rows of a task; where there are fewer (0: 1), they were" in capsys.readouterr().out
    assert run(["plot", model, rows, "--task", "none", "--out", out]) == 2
    assert "none" in capsys.readouterr().err
    for option, value in (("--label", "truth"), ("--task", "site")):
        assert run(["plot", model, option, value, "--out", out]) == 2
        assert f"{option[2:]}: has no meaning without DATA" in capsys.readouterr().err
    assert run(["plot", str(tmp_path / "none.safetensors"), rows, "--skip-unreadable"]) == 2
    assert "none.safetensors: No such file" in capsys.readouterr().err
