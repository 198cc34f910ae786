"""Saved and loaded detectors: the same scores bit for bit, and no file does harm."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import heterad
from heterad.data.toy import toy_tasks
from heterad.detectors import RobustMetaDetector
from heterad.detectors.card import model_card
from heterad.train import read_tensors, write_tensors

GOLDEN = Path(__file__).parent / "golden"


def small(**options) -> RobustMetaDetector:
    return RobustMetaDetector(max_iter=2, hidden=4, embed_dim=4, task_dim=3, **options)


def test_round_trip_is_bitwise(fitted, target, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    fitted.set_threshold(value=3.5)
    fitted.save(file)
    loaded = RobustMetaDetector.load(file)
    np.testing.assert_array_equal(loaded.decision_function(target.x), fitted.decision_function(target.x))
    for theirs, ours in ((fitted, loaded), (fitted.adapt(target.x[:60]), loaded.adapt(target.x[:60]))):
        np.testing.assert_array_equal(ours.decision_function(target.x), theirs.decision_function(target.x))
        np.testing.assert_array_equal(ours.predict_proba(target.x), theirs.predict_proba(target.x))
        np.testing.assert_array_equal(ours.explain(target.x), theirs.explain(target.x))
    assert loaded.threshold_ == 3.5
    assert loaded.task_.threshold_ == fitted.task_.threshold_
    assert loaded.get_params() == fitted.get_params()
    for name in ("history_", "n_iter_", "best_iter_", "best_validation_", "n_features_in_"):
        assert getattr(loaded, name) == getattr(fitted, name)
    assert loaded.validation_groups_.tolist() == fitted.validation_groups_.tolist()
    again = tmp_path / "again.safetensors"
    loaded.save(again)
    assert again.read_bytes() == file.read_bytes()


def test_the_record_is_readable_by_anyone(tmp_path: Path) -> None:
    toy = toy_tasks(5, 20)
    frame = pd.DataFrame(toy.x, columns=list("abcdefghij"))
    file = tmp_path / "model.safetensors"
    small(device="cpu", random_state=np.random.RandomState(0)).fit(frame, toy.y, toy.groups.astype(str)).save(file)
    size = int.from_bytes(file.read_bytes()[:8], "little")
    record = json.loads(json.loads(file.read_bytes()[8 : 8 + size])["__metadata__"]["heterad"])["record"]
    assert record["kind"] == "RobustMetaDetector"
    assert record["format_version"] == 2
    assert record["library_version"] == heterad.__version__
    assert record["feature_names"] == list("abcdefghij")
    assert record["configuration"]["hidden"] == 4
    assert "device" not in record["configuration"]
    assert record["training"]["n_iter_"] == 2
    loaded = RobustMetaDetector.load(file, device="cpu")
    assert loaded.feature_names_in_.tolist() == list("abcdefghij")
    assert loaded.device == "cpu"
    with pytest.raises(ValueError, match="feature names should match"):
        loaded.decision_function(frame.rename(columns={"a": "z"}))


def test_a_model_without_scaling_round_trips(tmp_path: Path) -> None:
    toy = toy_tasks(2, 20)
    detector = small(scale=None).fit(toy.x, toy.y, toy.groups)
    detector.save(tmp_path / "m")
    far = toy.x * 50
    np.testing.assert_array_equal(
        RobustMetaDetector.load(tmp_path / "m").decision_function(far), detector.decision_function(far)
    )


def test_numpy_options_can_be_saved(tmp_path: Path) -> None:
    toy = toy_tasks(2, 20)
    small(n_iter=np.int64(3), lr=np.float32(0.01)).fit(toy.x, toy.y, toy.groups).save(tmp_path / "m")
    assert RobustMetaDetector.load(tmp_path / "m").n_iter == 3


def test_damaged_files_raise_or_score_the_same(tmp_path: Path) -> None:
    toy = toy_tasks(2, 20)
    detector = small().fit(toy.x, toy.y, toy.groups)
    expected = detector.decision_function(toy.x)
    file = tmp_path / "model.safetensors"
    detector.save(file)
    whole = file.read_bytes()
    rng = np.random.default_rng(0)
    caught = 0
    for _ in range(1000):
        damaged = bytearray(whole)
        if rng.random() < 0.2:
            damaged = damaged[: rng.integers(len(whole))]
        else:
            for position in rng.integers(len(whole) * 8, size=rng.integers(1, 4)):
                damaged[position // 8] ^= 1 << (position % 8)
        file.write_bytes(damaged)
        try:
            loaded = RobustMetaDetector.load(file)
        except (ValueError, OSError):
            caught += 1
        else:
            np.testing.assert_array_equal(loaded.decision_function(toy.x), expected)
    assert caught > 990


def rewrite(file: Path, **changes) -> None:
    """A well-formed file whose record lies."""
    tensors, record = read_tensors(file)
    write_tensors(file, tensors, record | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "AHLDetector"}, "expected a RobustMetaDetector, got a AHLDetector"),
        ({"format_version": 3}, "format version 3 is newer than this library's 2"),
        ({"configuration": {"hidden": 5}}, "do not fit its configuration"),
        ({"configuration": {"unknown": 5}}, "do not fit its configuration"),
        ({"configuration": {"hidden": "many"}}, "do not fit its configuration"),
        ({"n_features": 7}, "do not fit its configuration"),
        ({"training": None}, "do not fit its configuration"),
    ],
)
def test_files_that_lie(tmp_path: Path, changes: dict, message: str) -> None:
    toy = toy_tasks(2, 20)
    file = tmp_path / "model.safetensors"
    small().fit(toy.x, toy.y, toy.groups).save(file)
    rewrite(file, **changes)
    with pytest.raises(ValueError, match=message):
        RobustMetaDetector.load(file)


def test_a_record_without_its_keys(tmp_path: Path) -> None:
    write_tensors(tmp_path / "m", {"w": torch.ones(1)}, {"kind": "RobustMetaDetector", "format_version": 1})
    with pytest.raises(ValueError, match="do not fit its configuration"):
        RobustMetaDetector.load(tmp_path / "m")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_files_of_every_version_load(version: int, tmp_path: Path) -> None:
    detector = RobustMetaDetector.load(GOLDEN / f"robust_meta_v{version}.safetensors")
    expected = json.loads((GOLDEN / f"robust_meta_v{version}.json").read_text())
    x = np.array(expected["x"])
    task = detector.adapt(x)
    np.testing.assert_allclose(detector.decision_function(x), expected["scores"], rtol=1e-9)
    np.testing.assert_allclose(task.decision_function(x), expected["adapted_scores"], rtol=1e-6)
    assert detector.threshold_ == expected["threshold"]
    if version == 1:
        assert (detector.calibration_, detector.columns_, detector.learned_from_) == (None, None, None)
    else:
        np.testing.assert_allclose(task.p_values(x), expected["p_values"])
        assert detector.columns_ is not None
        assert detector.columns_.record() == expected["columns"]
        assert detector.learned_from_ == expected["learned_from"]
    assert "# RobustMetaDetector" in model_card(GOLDEN / f"robust_meta_v{version}.safetensors")
    detector.save(tmp_path / "again.safetensors")
    again = RobustMetaDetector.load(tmp_path / "again.safetensors")
    np.testing.assert_array_equal(again.decision_function(x), detector.decision_function(x))


def test_a_card_of_a_newer_file_says_so(tmp_path: Path) -> None:
    write_tensors(tmp_path / "m", {}, {"kind": "RobustMetaDetector", "format_version": 9, "library_version": "7.0"})
    for read in (model_card, RobustMetaDetector.load):
        with pytest.raises(ValueError, match=r"m: format version 9 is newer than .* written by heterad 7.0"):
            read(tmp_path / "m")


def test_the_card_tells_what_was_learned(fitted, tmp_path: Path) -> None:
    fitted.save(tmp_path / "m")
    card = model_card(tmp_path / "m")
    assert "* Learned from: 1200 rows, 20 tasks, " in card
    assert "* Kept: step " in card
    assert "held-out tasks; for normal rows of new tasks P(p <= a) <= a + (1 - a) / 5" in card
    assert "* Features: 10" in card
    assert "* max_iter: 90" in card
