"""AHL on a folder of images and on tables: what is learned from, what is scored, and what is refused."""

from __future__ import annotations

import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from heterad.data.images import read_image_folder
from heterad.detectors import AHLDetector, DevNetDetector, DRADetector, ahl_files, image_features
from heterad.detectors.ahl_files import fit_ahl, is_ahl, score_ahl

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
csv = pytest.importorskip("pyarrow.csv", reason="pyarrow is not installed")


@pytest.fixture(autouse=True)
def _short(monkeypatch) -> None:
    monkeypatch.setattr(image_features, "STEPS", 2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind, n in (("train/good", 9), ("train/cut", 2), ("test/good", 2), ("test/hole", 3)):
        (tmp_path / kind).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 60, (24, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"{i}.png")
    return tmp_path


def columns(file: Path) -> dict[str, list]:
    return csv.read_csv(file).to_pydict()


@pytest.mark.parametrize(
    ("options", "counts"),
    [({}, (8, 2, 1)), ({"seen": ["hole"]}, (8, 5, 1)), ({"shots": 1, "validation_fraction": 0.0}, (9, 1, 0))],
)
def test_images_learned_from(folder: Path, options, counts) -> None:
    told = []
    found = fit_ahl(folder, base="devnet", epochs=1, report=lambda *at: told.append(at), **options)
    assert found[1:] == counts
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == ["backbone", "features", "training"]
    assert told[-2:] == [("training", 0, 1), ("training", 1, 1)]


def test_images_are_scored_by_the_saved_model(folder: Path, tmp_path: Path, monkeypatch) -> None:
    detector, told = fit_ahl(folder, base="devnet", epochs=1).detector, []
    detector.save(tmp_path / "m.safetensors")
    monkeypatch.setattr(ahl_files, "AT_ONCE", 10)
    n, n_odd = score_ahl(
        tmp_path / "m.safetensors", folder, tmp_path / "s.csv", contamination=0.4, report=lambda *at: told.append(at)
    )
    assert told == [("scoring", 0, 16), ("scoring", 10, 16), ("scoring", 16, 16)]
    assert fit_ahl(folder, base="devnet", epochs=1)[1:] == (8, 2, 1)  # though s.csv lies in it now
    found = columns(tmp_path / "s.csv")
    assert n == len(found["file"]) == 16
    assert n_odd == sum(found["label"]) > 0
    x = read_image_folder(folder, normals=False).x
    np.testing.assert_allclose(found["score"], detector.decision_function(x), rtol=1e-5)
    plain = tmp_path / "plain"
    plain.mkdir()
    Image.new("L", (50, 40)).save(plain / "0.png")
    assert score_ahl(tmp_path / "m.safetensors", plain, tmp_path / "p.csv")[0] == 1


def test_a_model_of_grey_images_scores_files_of_any_colours(folder: Path, tmp_path: Path) -> None:
    found = read_image_folder(folder, normals=False, colours=1)
    colour = read_image_folder(folder, normals=False).x
    assert found.x.shape == (16, 1, 24, 16)
    assert (abs(found.x[:, 0] - np.einsum("nchw,c->nhw", colour, [0.299, 0.587, 0.114])) <= 1).all()
    detector = DRADetector(epochs=1, backbone="small").fit(found.x, found.y)
    detector.save(tmp_path / "m.safetensors")
    score_ahl(tmp_path / "m.safetensors", folder, tmp_path / "s.csv")
    np.testing.assert_allclose(columns(tmp_path / "s.csv")["score"], detector.decision_function(found.x))


def test_a_model_of_maps_has_no_files_to_score(folder: Path, tmp_path: Path) -> None:
    maps = np.random.default_rng(0).normal(size=(12, 3, 5, 5))
    DRADetector(epochs=1).fit(maps, np.arange(12) < 2).save(tmp_path / "m.safetensors")
    with pytest.raises(ValueError, match="data: the model learned from feature maps, which no files hold"):
        score_ahl(tmp_path / "m.safetensors", folder, tmp_path / "s.csv")


def test_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{a},{b},{int(i < 3)}" for i, (a, b) in enumerate(rng.normal(size=(40, 2)).round(3))]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,odd", *rows]))
    found = fit_ahl(tmp_path / "t.csv", label="odd", base="devnet", epochs=1, shots=2)
    assert found[1:] == (30, 2, 7)
    found.detector.save(tmp_path / "m.safetensors")
    assert score_ahl(tmp_path / "m.safetensors", tmp_path / "t.csv", tmp_path / "s.csv")[0] == 40
    assert columns(tmp_path / "s.csv")["row"] == list(range(40))
    for option in ({"seen": ["hole"]}, {"size": 8}, {"skip_unreadable": True}, {"backbone": "timm/resnet18"}):
        with pytest.raises(ValueError, match=f"{next(iter(option))}: has no meaning for files of rows"):
            fit_ahl(tmp_path / "t.csv", label="odd", **option)


def test_epochs_suit_the_base_unless_given(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n" + "\n".join(map(str, range(9))))
    with pytest.warns(UserWarning, match="no seen anomaly"):
        detector = fit_ahl(tmp_path / "t.csv", validation_fraction=0.0).detector
    assert len(detector.history_["step"]) == 10


def test_a_folder_of_tables_of_any_kind_is_one(tmp_path: Path) -> None:
    rows = [f"{a}\t{int(a < 1)}" for a in range(9)]
    (tmp_path / "part=1").mkdir()
    (tmp_path / "part=1" / "t.tsv").write_text("\n".join(["a\todd", *rows]))
    assert fit_ahl(tmp_path, label="odd", base="devnet", epochs=1)[1:] == (7, 1, 1)


def test_tables_with_categories_gaps_and_unlabelled_rows(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"{a},{'rg'[i % 2]},{'' if i > 30 else int(i < 3)}" for i, a in enumerate(rng.normal(size=40).round(3))]
    lines[5] = f",{lines[5].partition(',')[2]}"
    (tmp_path / "t.csv").write_text("\n".join(["a,colour,odd", *lines]))
    with pytest.raises(ValueError, match="what holds no numbers \\('colour'\\) must be the task, one-hot or ignored"):
        fit_ahl(tmp_path / "t.csv", label="odd", missing="median")
    with pytest.warns(UserWarning, match=r"label: 9 rows of 40 without a label are taken as normal"):
        found = fit_ahl(tmp_path / "t.csv", label="odd", base="devnet", epochs=1, one_hot=["colour"], missing="median")
    assert found[1:] == (30, 3, 7)
    assert found.detector.learned_from_ == {"rows": 40, "anomalies": 3, "normals": 28, "unlabelled": 9}
    found.detector.save(tmp_path / "m.safetensors")
    median = np.median([float(line.split(",")[0]) for i, line in enumerate(lines) if i != 5]).item()
    (tmp_path / "gap.csv").write_text("colour,a\ng,\nb,1\n")
    (tmp_path / "full.csv").write_text(f"colour,a\ng,{median}\n,1\n")
    for name in ("gap", "full"):
        score_ahl(tmp_path / "m.safetensors", tmp_path / f"{name}.csv", tmp_path / f"{name}-scores.csv")
    assert columns(tmp_path / "gap-scores.csv") == columns(tmp_path / "full-scores.csv")


@pytest.mark.parametrize("make", [AHLDetector, DRADetector, DevNetDetector])
def test_models_fitted_to_arrays_are_scored_in_the_order_of_the_columns(make, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 2)).round(3)
    detector = make(epochs=1).fit(x, np.arange(20) < 3)
    detector.save(tmp_path / "m.safetensors")
    assert is_ahl(tmp_path / "m.safetensors")
    (tmp_path / "t.csv").write_text("\n".join(["b,a", *(f"{b},{a}" for b, a in x)]))
    score_ahl(tmp_path / "m.safetensors", tmp_path / "t.csv", tmp_path / "s.csv")
    np.testing.assert_allclose(columns(tmp_path / "s.csv")["score"], detector.decision_function(x))
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"t\.csv: expected 2 columns .*, which have no names, got 1: a"):
        score_ahl(tmp_path / "m.safetensors", tmp_path / "t.csv", tmp_path / "s.csv")


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seen: expected some of hole, the folders of test, got scratch"):
        fit_ahl(folder, seen=["scratch"])
    with pytest.raises(ValueError, match="shots: expected at least 1, got 0"):
        fit_ahl(folder, shots=0)
    with pytest.raises(
        ValueError, match=r"X: expected images of at least 8 x 8 pixels for backbone 'small', got 4 x 4"
    ):
        fit_ahl(folder, size=4)
    with pytest.warns(UserWarning, match="shots: 2 seen anomalies are all there are, fewer than 3"):
        fit_ahl(folder, shots=3, base="devnet", epochs=1)
    (folder / "train" / "good" / "bad.png").write_text("no image")
    with pytest.raises(ValueError, match=r"bad.png: expected an image that can be decoded"):
        fit_ahl(folder)
    assert fit_ahl(folder, base="devnet", epochs=1, skip_unreadable=True)[1:] == (8, 2, 1)
    Image.new("RGB", (3, 3)).save(folder / "train" / "good" / "bad.png")
    with pytest.raises(ValueError, match="expected images of one size"):
        fit_ahl(folder)
    with pytest.raises(ValueError, match="label: has no meaning for a folder of images"):
        fit_ahl(folder, label="odd")
    for path in (folder / "train" / "cut" / "0.png", [folder, folder / "train" / "cut" / "0.png"]):
        with pytest.raises(ValueError, match=r"0\.png: expected CSV or Parquet files, or one folder .*, got an image"):
            fit_ahl(path)
    for file in sorted((folder / "train" / "good").iterdir())[1:]:
        file.unlink()
    with pytest.raises(ValueError, match=r"train/good: expected at least two normals to learn from, got 1"):
        fit_ahl(folder)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="expected a folder with train/good"):
        fit_ahl(empty)
    (empty / "t.csv").write_text("a,odd\n1,0\n2,1\n")
    with pytest.raises(ValueError, match=r"t\.csv: expected at least two normals to learn from, got 1"):
        fit_ahl(empty / "t.csv", label="odd")


def test_the_command_line(folder: Path, tmp_path: Path, capsys) -> None:
    pytest.importorskip("tyro", reason="tyro is not installed")
    from heterad.cli import run

    model, out = str(tmp_path / "m.safetensors"), str(tmp_path / "s.csv")
    options = ["--method", "ahl", "--ahl.base", "devnet", "--ahl.epochs", "1", "--ahl.seen", "hole"]
    assert run(["fit", str(folder), "--model", model, *options]) == 0
    assert "Learned from 8 normals and 5 seen anomalies; 1 more normal set the threshold." in capsys.readouterr().out
    assert run(["score", model, str(folder), "--out", out]) == 0
    assert "Scored 16, " in capsys.readouterr().out
    scores = sorted(columns(Path(out))["score"])
    assert run(["score", model, str(folder), "--out", out, "--threshold", str((scores[2] + scores[3]) / 2)]) == 0
    assert "Scored 16, 13 of them" in capsys.readouterr().out
    assert run(["fit", str(folder), "--model", model, "--ahl.shots", "3"]) == 2
    assert "ahl.shots: needs --method ahl" in capsys.readouterr().err
    assert run(["fit", str(folder), "--model", model, "--method", "ahl", "--task", "t"]) == 2
    assert "task: has no meaning with --method ahl" in capsys.readouterr().err
    assert run(["fit", str(folder), "--model", model, "--method", "ahl", "--max-iter", "9"]) == 2
    assert "max-iter: has no meaning with --method ahl" in capsys.readouterr().err
    for option, error in (("size", "expected at least 1"), ("validation-fraction", "expected")):
        assert run(["fit", str(folder), "--model", model, "--method", "ahl", f"--ahl.{option}", "-1"]) == 2
        assert f"heterad: ahl.{option}: {error}" in capsys.readouterr().err
    assert run(["info", model]) == 0
    card = capsys.readouterr().out
    assert "channels x height x width: 3 x 24 x 16" in card
    assert "Steps: 20, 1 epoch\n" in card
    assert "Learned from: 14 rows, 5 anomalies, 9 normals, 0 unlabelled" in card
    assert run(["score", model, str(folder), "--contamination", "0.1", "--threshold", "1"]) == 2
    assert "threshold: expected it or contamination, got both" in capsys.readouterr().err
    assert run(["score", model, str(folder), "--device", "tpu"]) == 2
    assert re.fullmatch(r"heterad: device: expected one of cpu.*, got 'tpu'\n", capsys.readouterr().err)
    assert run(["score", model, str(folder), "--out", out, "--explain", "3"]) == 2
    assert "explain: has no meaning for a model of --method ahl" in capsys.readouterr().err
    (folder / "test" / "hole" / "bad.png").write_text("no image")
    assert run(["score", model, str(folder), "--out", out]) == 2
    assert "bad.png: expected an image that can be decoded" in capsys.readouterr().err
    assert run(["score", model, str(folder), "--out", out, "--skip-unreadable"]) == 0
    assert "Scored 16, " in capsys.readouterr().out


def test_the_command_line_shows_each_stage_and_tells_of_folders_in_a_line(folder: Path, capsys, monkeypatch) -> None:
    pytest.importorskip("tyro", reason="tyro is not installed")
    from heterad.cli import ahl, run

    told = []
    monkeypatch.setattr(ahl, "bars", lambda: nullcontext(lambda *at: told.append(at)))
    model = str(folder / "m.safetensors")
    assert (
        run(["fit", str(folder), "--model", model, "--method", "ahl", "--ahl.base", "devnet", "--ahl.epochs", "1"]) == 0
    )
    assert told[0] == ("backbone", 0, 2)
    assert told.index(("training", 0, 1)) > told.index(("features", 0, 11))
    capsys.readouterr()
    assert run(["score", model, str(folder / "test"), "--out", str(folder / "s.csv")]) == 0
    assert "Scored 5, " in capsys.readouterr().out
    shutil.copy(folder / "test" / "good" / "0.png", folder / "test")
    assert run(["score", model, str(folder / "test"), "--out", str(folder / "s.csv")]) == 2
    assert "test: expected images in train/<class> and test/<class>, as in MVTec AD, or all" in capsys.readouterr().err


def test_the_help_of_score_tells_of_images_and_of_ahl(capsys) -> None:
    pytest.importorskip("tyro", reason="tyro is not installed")
    from heterad.cli import run

    with pytest.raises(SystemExit):
        run(["score", "--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for part in ("a folder of them", "file of an image, score and label", "share of the known normals"):
        assert part in text


def test_the_command_line_tells_of_what_is_missing_in_a_line(folder: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    pytest.importorskip("tyro", reason="tyro is not installed")
    from heterad.cli import run

    def published(*_) -> None:
        raise ImportError("x needs torchvision; install it")

    options = [str(folder), "--method", "ahl", "--ahl.epochs", "1", "--model", str(tmp_path / "m.safetensors")]
    assert run(["fit", *options, "--ahl.backbone", "x"]) == 2
    assert "backbone: expected 'small', 'torchvision/<model>'" in capsys.readouterr().err
    monkeypatch.setattr(image_features, "load_backbone", published)
    assert run(["fit", *options, "--ahl.backbone", "torchvision/x"]) == 2
    assert capsys.readouterr().err == "heterad: x needs torchvision; install it\n"
    shutil.rmtree(folder / "train" / "cut")
    assert run(["fit", *options, "--ahl.base", "devnet"]) == 0
    written = capsys.readouterr()
    assert "Note: y: no seen anomaly (1); learning from pseudo anomalies alone." in written.out
    assert written.err == ""
