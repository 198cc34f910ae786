"""Pictures of a detector that learned from seen anomalies: what is drawn of vectors, maps and images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.patches import Rectangle

from heterad import AHLDetector, DevNetDetector, DRADetector
from heterad.cli import run
from heterad.detectors import image_features
from heterad.experiments import ahl_plots
from heterad.experiments.ahl_plots import draw_scored
from heterad.experiments.panels import ScoredRows

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 4)), np.arange(60) % 10 == 0
MAPS = RNG.normal(size=(20, 3, 6, 6))


def drawn(files: list[Path]) -> list[str]:
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)
    return [file.name for file in files]


@pytest.fixture
def figures(monkeypatch) -> list:
    found: list = []
    monkeypatch.setattr(ahl_plots, "save_figure", lambda figure, path: found.append(figure))
    return found


def test_what_is_drawn_depends_on_what_there_is(tmp_path: Path) -> None:
    detector = DRADetector(epochs=1).fit(X, Y)
    assert drawn(draw_scored(detector, tmp_path)) == ["history.png"]
    assert drawn(draw_scored(detector, tmp_path, X)) == ["history.png", "scores.png", "heads.png"]
    with_truth = ["history.png", "scores.png", "curves.png", "heads.png"]
    assert drawn(draw_scored(detector, tmp_path, X, Y)) == with_truth
    alone = DevNetDetector(epochs=1).fit(X, Y)
    assert drawn(draw_scored(alone, tmp_path / "new" / "folder", X[:1], Y[:1])) == ["history.png", "scores.png"]
    of_maps = DRADetector(epochs=1).fit(MAPS, np.arange(20) < 2)
    assert drawn(draw_scored(of_maps, tmp_path, MAPS)) == ["history.png", "scores.png", "heads.png", "heat_maps.png"]


def test_the_history_of_ahl_has_the_base_models_weights_and_errors(tmp_path: Path, figures: list) -> None:
    detector = AHLDetector("devnet", epochs=8, batches=2).fit(X, Y)
    ahl_plots.history(tmp_path, detector)
    loss, weights, errors = figures[0].axes
    np.testing.assert_allclose(loss.lines[0].get_ydata(), detector.history_["loss"])
    assert loss.lines[0].get_xdata().tolist() == list(range(1, 9))
    np.testing.assert_allclose([line.get_ydata() for line in weights.lines], np.transpose(detector.history_["w"]))
    assert len(errors.lines) == len(weights.lines) == 7
    assert len({(line.get_color(), line.get_linestyle()) for line in weights.lines}) == 7
    known = [r is not None for r in detector.history_["r"]]
    assert 0 < sum(known) < 8
    for line in errors.lines:
        assert np.isfinite(line.get_ydata()).tolist() == known


def test_the_rows_that_score_highest_are_shown_with_their_heads(tmp_path: Path, figures: list, monkeypatch) -> None:
    detector = DRADetector(epochs=1).fit(X, Y)
    draw_scored(detector, tmp_path, X, names=[f"folder/of/{i}.png" for i in range(60)])
    axes = figures[-1].axes[0]
    top = np.argsort(-detector.decision_function(X), kind="stable")[:40]
    assert [text.get_text() for text in axes.get_yticklabels()] == [f"of/{i}.png" for i in top]
    shown = axes.images[0].get_array()
    signs = np.array([-1, 1, 1, 1])
    np.testing.assert_allclose(shown, signs * np.stack(list(detector.explain(X[top]).values()), 1))


@pytest.mark.parametrize(
    ("score", "threshold", "n_beyond", "n_right"),
    [
        (np.r_[np.linspace(0, 1, 199), 1e6], 0.9, 1, 20),
        (np.r_[np.linspace(0, 1, 99), 40], 5.0, 1, 1),
        (np.r_[np.full(199, 0.2), 9], 1.0, 1, 1),
        (np.r_[np.full(90, 1.0), np.full(10, np.nextafter(1, 2))], 1.0, 0, None),
        (np.zeros(3), 0.0, 0, None),
    ],
)
def test_scores_are_drawn_on_their_side_of_the_threshold(
    score, threshold, n_beyond, n_right, tmp_path: Path, figures: list
) -> None:
    ahl_plots.scores(tmp_path, ScoredRows(score, np.zeros(len(score)), None), threshold)
    axes = figures[0].axes[0]
    assert axes.get_xlabel() == ("score (1 beyond the edges stand there)" if n_beyond else "score")
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert sum(bar.get_height() for bar in bars) == len(score)
    if n_right is not None:
        assert sum(bar.get_height() for bar in bars if bar.get_x() > threshold) <= n_right
        assert sum(bar.get_height() for bar in bars if bar.get_x() + bar.get_width() > threshold) >= n_right


def test_rows_of_any_kind_are_drawn(tmp_path: Path) -> None:
    detector = DRADetector(epochs=1).fit(X, Y)
    for x in (X.tolist(), torch.as_tensor(X)):
        assert len(draw_scored(detector, tmp_path, x)) == 3
    frame = pd.DataFrame(X, columns=list("abcd"))
    assert len(draw_scored(DRADetector(epochs=1).fit(frame, Y), tmp_path, frame)) == 3


def test_what_does_not_fit_the_rows_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    detector = DRADetector(epochs=1).fit(X, Y)
    for wrong, message in (
        ({"y": Y[:-1]}, "y: expected one value for each of the 60 rows"),
        ({"y": Y + 1}, "y: expected 1 .*, 0 .* or -1"),
        ({"names": ["a"]}, "names: expected one for each of the 60 rows"),
    ):
        with pytest.raises(ValueError, match=message):
            draw_scored(detector, tmp_path, X, **wrong)
    assert not list(tmp_path.iterdir())


def test_a_head_that_lowers_the_score_is_drawn_so(tmp_path: Path, monkeypatch) -> None:
    detector, shown = DRADetector(epochs=1).fit(X, Y), []
    monkeypatch.setattr(ahl_plots, "head_scores", lambda path, heads, names: shown.append(heads))
    draw_scored(detector, tmp_path, X)
    heads = shown[0]
    assert list(heads) == ["- normality", "seen", "pseudo", "residual"]
    top = np.argsort(-detector.decision_function(X), kind="stable")[:40]
    np.testing.assert_allclose(sum(heads.values()), detector.decision_function(X)[top])


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_grey_images_of_paths_are_told_apart(kind, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_features, "STEPS", 2)
    images = RNG.integers(0, 60, (9, 1, 16, 24), dtype=np.uint8)
    detector = DRADetector(epochs=1, backbone="small").fit(images, np.arange(9) < 2)
    shown = []
    heat_maps = ahl_plots.heat_maps
    monkeypatch.setattr(ahl_plots, "heat_maps", lambda *given: (shown.append(given), heat_maps(*given)))
    names = [Path(f"test/manipulated_front/a-long-name-of-image-00{i}.png") for i in range(9)]
    draw_scored(detector, tmp_path, kind(images), names=names)
    assert sorted(shown[0][2]) == [f"manipulat…/…image-00{i}.png" for i in range(9)]


def test_the_command_draws_images(tmp_path: Path, capsys, monkeypatch) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    monkeypatch.setattr(image_features, "STEPS", 2)
    folder, model, out = tmp_path / "cloth", str(tmp_path / "m.safetensors"), tmp_path / "pictures"
    for kind, n in (("train/good", 9), ("test/good", 3), ("test/hole", 4)):
        (folder / kind).mkdir(parents=True)
        for i in range(n):
            pixels = RNG.integers(0, 60, (24, 16, 3), dtype=np.uint8)
            image.fromarray(pixels).save(folder / kind / f"{i}.png")
    options = ["--method", "ahl", "--ahl.seen", "hole", "--ahl.epochs", "1", "--ahl.validation-fraction", "0"]
    assert run(["fit", str(folder), "--model", model, *options]) == 0
    (folder / "train" / "good" / "bad.png").write_text("no image")  # which is not drawn
    plot = ["plot", model, str(folder), "--out", str(out)]
    shown = []
    heat_maps = ahl_plots.heat_maps
    monkeypatch.setattr(ahl_plots, "heat_maps", lambda *given: (shown.append(given), heat_maps(*given)))
    assert run(plot) == 0
    assert capsys.readouterr().out.endswith(
        f"Wrote to {out}: history.png, scores.png, curves.png, heads.png, heat_maps.png.\n"
    )
    _, heat, names, scores, images = shown[0]
    assert heat.shape == (7, 24, 16)
    assert images.shape == (7, 3, 24, 16)
    assert sorted(names) == [
        *(f"good/{i}.png" for i in range(3)),
        *(f"hole/{i}.png" for i in range(4)),
    ]  # none of train
    assert (np.diff(scores) <= 0).all()
    assert run([*plot[:2], str(folder / "test" / "hole"), *plot[3:]]) == 0
    assert "scores.png, heads.png, heat_maps.png" in capsys.readouterr().out
    assert run(["plot", model, "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"Wrote to {out}: history.png.\n")
    for option, error in (("task", "for a model of --method ahl"), ("label", "for a folder of images")):
        assert run([*plot, f"--{option}", "x"]) == 2
        assert f"{option}: has no meaning {error}" in capsys.readouterr().err
    (folder / "test" / "hole" / "bad.png").write_text("no image")
    assert run(plot) == 2
    assert "bad.png: expected an image that can be decoded" in capsys.readouterr().err
    assert run([*plot, "--skip-unreadable"]) == 0


def test_the_command_draws_rows(tmp_path: Path, capsys) -> None:
    pytest.importorskip("pyarrow.csv", reason="pyarrow is not installed")
    rows = [f"{a},{b},{int(i < 3)}" for i, (a, b) in enumerate(RNG.normal(size=(40, 2)).round(3))]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,odd", *rows]))
    model, out = str(tmp_path / "m.safetensors"), str(tmp_path / "pictures")
    options = ["--method", "ahl", "--label", "odd", "--ahl.epochs", "1"]
    assert run(["fit", str(tmp_path / "t.csv"), "--model", model, *options]) == 0
    assert run(["plot", model, str(tmp_path / "t.csv"), "--label", "odd", "--out", out]) == 0
    assert capsys.readouterr().out.endswith(f"Wrote to {out}: history.png, scores.png, curves.png, heads.png.\n")
    assert run(["plot", model, str(tmp_path / "t.csv"), "--skip-unreadable", "--out", out]) == 2
    assert "skip-unreadable: has no meaning for files of rows" in capsys.readouterr().err
