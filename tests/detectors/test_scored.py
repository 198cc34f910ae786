"""DevNet, DRA and AHL as detectors: scores, explanations, files, and what they refuse."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from heterad.detectors import image_features, scored
from heterad.detectors.ahl import AHLDetector
from heterad.detectors.devnet import DevNetDetector
from heterad.detectors.dra import DRADetector

SHORT = {"epochs": 2, "batches": 3, "batch_size": 12}
DETECTORS = [
    DevNetDetector(**SHORT),
    DRADetector(hidden=8, **SHORT),
    AHLDetector(window=1, **SHORT),
    AHLDetector("devnet", second_order=True, **SHORT),
]


def line(shape, generator) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 1), nn.Flatten(0))


def vectors(n: int = 60, n_anomalies: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n + n_anomalies, 2)) @ np.array([[1, 2, 0, 1], [0, 1, 1, -1]])
    X += 0.1 * rng.normal(size=X.shape)
    X[n:, 0] += 3
    return X, np.repeat([0, 1], [n, n_anomalies])


def maps(n: int = 12, n_anomalies: int = 3) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).normal(size=(n + n_anomalies, 2, 5, 4)).astype(np.float32)
    X[n:, :, 1, 2] += 6
    return X, np.repeat([0, 1], [n, n_anomalies])


@parametrize_with_checks(
    [
        DevNetDetector(epochs=1, batches=2, batch_size=12),
        DRADetector(hidden=8, epochs=1, batches=2, batch_size=12),
        AHLDetector("devnet", epochs=1, batches=2, batch_size=6, inner_steps=1),
    ]
)
@pytest.mark.filterwarnings("ignore:y. expected 1 .anomaly.:UserWarning", "ignore:y. no seen anomaly:UserWarning")
def test_estimator(estimator, check) -> None:
    check(estimator)


@pytest.mark.parametrize("data", [vectors, maps])
@pytest.mark.parametrize("detector", [*DETECTORS, AHLDetector(line, **SHORT)], ids=lambda d: type(d).__name__)
def test_files_hold_everything(detector, data, tmp_path: Path) -> None:
    X, y = data()
    detector.fit(X, y).set_threshold(value=0.7).save(tmp_path / "model.safetensors")
    options = {"base": line} if getattr(detector, "base", "") is line else {}
    loaded = type(detector).load(tmp_path / "model.safetensors", **options)
    np.testing.assert_array_equal(loaded.decision_function(X), detector.decision_function(X))
    np.testing.assert_array_equal(loaded.predict_proba(X), detector.predict_proba(X))
    for name, part in detector.explain(X).items():
        np.testing.assert_array_equal(loaded.explain(X)[name], part)
    assert loaded.threshold_ == 0.7
    assert loaded.get_params() == detector.get_params()
    assert loaded.history_ == detector.history_
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


@pytest.mark.parametrize("detector", [*DETECTORS, AHLDetector(line, **SHORT)], ids=lambda d: type(d).__name__)
def test_pickles_are_model_files(detector, tmp_path: Path) -> None:
    X, y = maps()
    detector = clone(detector).fit(X, y).set_threshold(value=0.7)
    data = pickle.dumps(detector)
    assert b"torch" not in data
    for other in (pickle.loads(data), copy.deepcopy(detector)):
        np.testing.assert_array_equal(other.decision_function(X), detector.decision_function(X))
        assert (other.threshold_, other.get_params()) == (0.7, detector.get_params())
    state = detector.__getstate__()
    damaged = bytearray(state["_fitted"])
    damaged[-9] ^= 1
    with pytest.raises(ValueError, match="state: contents do not match their checksum"):
        clone(detector).__setstate__(state | {"_fitted": bytes(damaged)})
    assert not hasattr(pickle.loads(pickle.dumps(clone(detector))), "model_")


def test_a_file_of_a_foreign_base_asks_for_it(tmp_path: Path) -> None:
    AHLDetector(line, **SHORT).fit(*vectors()).save(tmp_path / "m")
    with pytest.raises(ValueError, match="needs the factory 'line'; pass it as load"):
        AHLDetector.load(tmp_path / "m")
    with pytest.raises(ValueError, match="expected a DRADetector, got a AHLDetector"):
        DRADetector.load(tmp_path / "m")


def test_a_file_is_not_taken_up_by_another_base_in_silence(tmp_path: Path) -> None:
    def other(shape, generator) -> nn.Module:
        return line(shape, generator)

    X, y = vectors()
    detector = AHLDetector(line, **SHORT).fit(X, y)
    detector.save(tmp_path / "m.safetensors")
    with pytest.warns(UserWarning, match=r"base: .* saved with the factory 'line', got 'test_.*other'; scores are the"):
        AHLDetector.load(tmp_path / "m.safetensors", base=other)
    with pytest.raises(ValueError, match=r"^device: expected one of cpu.*, got 'tpu'"):
        AHLDetector.load(tmp_path / "m.safetensors", base=line, device="tpu")


def test_a_heat_map_of_another_shape_is_named() -> None:
    class Map(nn.Module):
        def __init__(self, shape, generator) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.weight * x.mean((1, 2, 3))

        def heat_map(self, x):
            return x

    with pytest.raises(ValueError, match=r"base: expected heat_map to give \[15, H, W\], got \(15, 2, 5, 4\)"):
        AHLDetector(Map, **SHORT).fit(*maps()).explain(maps()[0])


def test_what_is_unlike_what_one_may_mean_is_said() -> None:
    X, y = vectors()
    detector = DevNetDetector(**SHORT)
    with pytest.warns(UserWarning, match=r"y: no row is labelled normal \(0\), so those of -1, unlabelled, are taken"):
        detector.fit(X, np.where(y == 0, -1, 1))
    with pytest.warns(UserWarning, match="validation_fraction: 3 normals are too few to keep some back, so"):
        clone(detector).set_params(validation_fraction=0.2).fit(X[57:], y[57:])
    with pytest.warns(UserWarning, match=r"X: bytes of shape \(15, 2, 5, 4\) are taken as feature maps; of"):
        detector.fit(maps()[0].astype(np.uint8), maps()[1])


@pytest.mark.parametrize("detector", DETECTORS[:3], ids=lambda d: type(d).__name__)
def test_heads_add_up_and_maps_have_heat(detector) -> None:
    X, y = maps()
    detector.fit(X, y)
    parts = detector.explain(X)
    assert parts.pop("heat_map").shape == (15, 5, 4)
    if "normality" in parts:
        parts["normality"] = -parts["normality"]
    np.testing.assert_allclose(sum(parts.values()), detector.decision_function(X))
    assert "heat_map" not in detector.fit(*vectors()).explain(vectors()[0])


@pytest.mark.parametrize("detector", [DRADetector(lr=5e-3, epochs=8), AHLDetector(lr=5e-3, epochs=6, batches=10)])
def test_it_finds_anomalies(detector) -> None:
    X, y = vectors(200, 100, seed=1)
    detector.fit(*vectors())
    assert roc_auc_score(y, detector.decision_function(X)) > 0.97
    assert detector.predict(X)[:200].mean() < 0.3
    assert detector.predict(X)[200:].mean() > 0.9


def test_training_rows_are_judged_as_fresh_ones() -> None:
    X, y = vectors(80)
    detector = DRADetector(**SHORT).fit(X, y)
    fresh = detector.decision_function(vectors(400, seed=2)[0][:400])
    assert np.median(detector.support_scores_) == pytest.approx(np.median(fresh), abs=0.3 * fresh.std())


@pytest.mark.parametrize("detector", DETECTORS[:3], ids=lambda d: type(d).__name__)
def test_normals_that_are_kept_back_set_the_threshold(detector) -> None:
    X, y = vectors(100)
    fitted = clone(detector).set_params(validation_fraction=0.4).fit(X, y)
    kept = np.isin(fitted.decision_function(X), fitted.support_scores_)
    assert kept.sum() == 40
    assert not y[kept].any()
    assert fitted.predict(X[kept]).sum() == 4
    np.testing.assert_array_equal(
        clone(detector).fit(X[~kept], y[~kept]).decision_function(X), fitted.decision_function(X)
    )
    assert len(fitted.fine_tune(X[:10], epochs=1).support_scores_) == 4
    assert len(clone(detector).set_params(validation_fraction=0.9).fit(X[-9:], y[-9:]).support_scores_) == 1


def test_new_normals_are_called_anomalous_as_often_as_asked() -> None:
    X, y = np.random.default_rng(0).normal(size=(2066, 16)), np.repeat([0, 1], [60, 6])
    X[60:66] += 2
    detector = DevNetDetector(batch_size=48, epochs=20, contamination=0.2)
    learned, kept = (
        clone(detector).set_params(validation_fraction=share).fit(X[:66], y).predict(X[66:]).mean()
        for share in (0, 0.5)
    )
    low, high = binom.interval(0.99, 30, 0.2) / np.array(30)
    assert low <= kept <= high < learned  # the model knows by heart what it learned from


@pytest.mark.parametrize("detector", DETECTORS[:3], ids=lambda d: type(d).__name__)
def test_one_seed_gives_the_same_scores_and_leaves_global_generators_alone(detector) -> None:
    X, y = vectors()
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  the global state is what is looked at
    first, second = (detector.fit(X, y).decision_function(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_without_anomalies_it_warns_and_learns_all_the_same() -> None:
    X, y = vectors()
    with pytest.warns(UserWarning, match=r"y: no seen anomaly \(1\); learning from pseudo anomalies alone"):
        detector = AHLDetector(**SHORT).fit(X[y == 0])
    assert detector.decision_function(X).shape == (66,)


def test_one_anomaly_is_logged_as_such(caplog) -> None:
    X, y = vectors(n_anomalies=1)
    with caplog.at_level(logging.INFO, "heterad"):
        AHLDetector(**SHORT).fit(X, y)
    assert "the rule of M = 1" in caplog.text


def test_constant_features_and_frames_are_fine() -> None:
    X, y = vectors()
    frame = pd.DataFrame(np.c_[X, np.ones(len(X))], columns=list("abcde"))
    detector = AHLDetector(**SHORT).fit(frame, y)
    assert detector.feature_names_in_.tolist() == list("abcde")
    assert np.isfinite(detector.decision_function(frame)).all()


@pytest.mark.parametrize(
    ("options", "X", "y", "message"),
    [
        ({}, vectors()[0], np.ones(66), "y: expected at least two normals .* got 0 among 66"),
        ({}, np.ones((4, 3, 2)), None, r"X: expected shape \[n, d\] or \[n, C, H, W\], got \(4, 3, 2\)"),
        ({}, np.full((4, 3), np.nan), None, "NaN"),
        ({"base": "pca"}, *vectors(), "base: expected one of dra, devnet or a factory, got 'pca'"),
        ({"n_clusters": 0}, *vectors(), "n_clusters: expected at least 1, got 0"),
        ({"inner_lr": -1.0}, *vectors(), "inner_lr: expected a finite number above 0"),
        ({"batch_size": 2}, *vectors(), "batch_size: expected at least 3"),
        ({"scale": "minmax"}, *vectors(), "scale: expected 'standard', 'global' or None, got 'minmax'"),
        ({"base": lambda shape, g: nn.Linear(4, 2)}, *vectors(), r"base: expected scores of shape \(2,\) for 2 rows"),
    ],
)
@pytest.mark.filterwarnings("ignore:y. no seen anomaly:UserWarning")
def test_bad_input(options, X, y, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AHLDetector(**SHORT | options).fit(X, y)


class Averaged(nn.Sequential):
    """A base that gives the mean loss of all rows where that of each is wanted."""

    def __init__(self, shape, generator) -> None:
        super().__init__(nn.Linear(shape[0], 1), nn.Flatten(0))

    def loss(self, heads, kind):
        return heads["score"].square().mean()


def test_a_loss_of_another_shape_and_a_module_for_a_factory_are_named() -> None:
    with pytest.raises(ValueError, match=r"base: expected losses of shape \(7, .*one of each row, got \(\)"):
        AHLDetector(Averaged, **SHORT).fit(*vectors())
    with pytest.raises(TypeError, match=r"expected a factory base\(shape, generator\) .* got a module itself, Linear"):
        AHLDetector(nn.Linear(4, 1), **SHORT).fit(*vectors())


def test_a_share_of_more_than_all_places_is_refused() -> None:
    with pytest.raises(ValueError, match="top: expected a share above 0 and of at most 1, got 2"):
        DRADetector(top=2).fit(*vectors())


def test_maps_of_another_size_are_refused() -> None:
    X, y = maps()
    detector = DRADetector(**SHORT).fit(X, y)
    with pytest.raises(ValueError, match=r"X: expected shape \[n, 2, 5, 4\], got \(15, 2, 4, 4\)"):
        detector.decision_function(X[:, :, :4])


def images(n: int = 14) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).integers(0, 60, (n, 1, 32, 32), dtype=np.uint8)
    y = (np.arange(n) % 5 == 0).astype(int)
    X[y == 1, :, 8:16, 8:16] = 255
    return X, y


@pytest.mark.parametrize(
    "detector", [DRADetector(hidden=8, backbone="small", **SHORT), DevNetDetector(backbone="small", **SHORT)]
)
def test_a_backbone_takes_images(detector, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_features, "STEPS", 2)
    X, y = images()
    scores = detector.fit(X, y).decision_function(X)
    np.testing.assert_allclose(scores, detector.decision_function((X / 255).astype(np.float32)), rtol=1e-5, atol=1e-6)
    heat = detector.explain(X[:2])["heat_map"]
    assert heat.shape == (2, 32, 32)
    places = detector.scaling_.apply(image_features.maps_of(detector.backbone_, X[:2]))
    of_places = detector.model_.heat_map(torch.as_tensor(places)).numpy()
    np.testing.assert_allclose(heat[:, ::8, ::8], of_places)  # where a place looks
    np.testing.assert_allclose(heat[:, 4::8, 8][:, :-1], (of_places[:, :-1, 1] + of_places[:, 1:, 1]) / 2)
    detector.save(tmp_path / "m.safetensors")
    assert (type(detector).load(tmp_path / "m.safetensors").decision_function(X) == scores).all()
    assert (detector.decision_function(torch.as_tensor(X)) == scores).all()
    with pytest.raises(ValueError, match=r"X: expected images as uint8 or in \[0, 1\], got values from 0 to 255"):
        detector.fit(X.astype(float), y)
    with pytest.raises(ValueError, match=r"X: expected images \[n, C, H, W\] of 1 or 3 colours"):
        detector.fit(X.reshape(len(X), 2, 16, 32), y)
    with pytest.raises(ValueError, match=r"backbone: expected 'small', 'torchvision/<model>', .* got 'large'"):
        detector.set_params(backbone="large").fit(X, y)


def test_images_are_mapped_and_scored_in_chunks(monkeypatch) -> None:
    monkeypatch.setattr(image_features, "STEPS", 2)
    X, y = images()
    X = np.tile(X, (3, 1, 1, 1))
    detector = DRADetector(hidden=8, backbone="small", **SHORT).fit(X[: len(y)], y)
    scores, parts = detector.decision_function(X), detector.explain(X)
    sizes: list[int] = []
    total = detector.model_.total
    monkeypatch.setattr(detector.model_, "total", lambda heads: (sizes.append(len(heads["seen"])), total(heads))[1])
    monkeypatch.setattr(scored, "CHUNK", 3 * int(np.prod(detector.shape_)))
    assert len(X) > 32
    np.testing.assert_allclose(detector.decision_function(X), scores, rtol=1e-12)
    assert max(sizes) <= 3
    for name, values in detector.explain(X).items():
        np.testing.assert_allclose(values, parts[name], rtol=1e-12)


@pytest.mark.parametrize("share", [0, 0.2])
def test_progress_of_images_is_told_stage_by_stage(share: float, monkeypatch) -> None:
    monkeypatch.setattr(image_features, "STEPS", 2)
    X, y = images(40)
    told, loops = [], []
    detector = DRADetector(hidden=8, backbone="small", validation_fraction=share, **SHORT)
    detector.fit(X, y, callback=loops.append, report=lambda *at: told.append(at))
    assert [at for at in told if at[0] == "backbone"] == [("backbone", done, 2) for done in range(3)]
    done = [0, 32, 40] if share == 0 else [0, 32, 34, 34, 40]
    assert [at for at in told if at[0] == "features"] == [("features", n, 40) for n in done]
    assert told[-3:] == [("training", done, 2) for done in range(3)]
    assert [hasattr(loop.model, "backbone") for loop in loops] == [True, True, False, False]
    assert loops[0].model.backbone is detector.backbone_
    assert loops[-1].history is detector.history_


@pytest.mark.parametrize(
    ("detector", "width"),
    [(DRADetector(hidden=8, **SHORT), 100), (AHLDetector(**SHORT), 100), (DevNetDetector(hidden=7, **SHORT), 7)],
)
def test_a_chunk_has_rows_for_the_widest_layer_or_all_references(detector, width: int, monkeypatch) -> None:
    X, y = vectors(100)  # of 4 features, of which 100 rows are references
    scores = detector.fit(X, y).decision_function(X)
    monkeypatch.setattr(scored, "CHUNK", 350)
    rows = []
    detector.model_.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    np.testing.assert_allclose(detector.decision_function(X), scores)
    assert max(rows) == 350 // width


@pytest.mark.parametrize("detector", [DRADetector(hidden=8, **SHORT), AHLDetector(**SHORT)])
def test_scores_that_overflow_are_refused_by_all(detector) -> None:
    X, y = vectors()
    fitted = clone(detector).set_params(scale=None).fit(X, y)
    for call in (fitted.decision_function, fitted.explain):
        with pytest.raises(ValueError, match=r"X: expected values whose squares are finite, got values up to .*e\+20"):
            call(X * 1e200)


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: type(d).__name__)
def test_tuning_on_another_domain(detector) -> None:
    X, y = vectors()
    fitted = clone(detector).fit(X, y)
    before = fitted.decision_function(X)
    other = 3 * X[y == 0] + 10
    tuned = fitted.fine_tune(other, epochs=2)
    assert (fitted.decision_function(X) == before).all()
    assert len(tuned.support_scores_) == len(other)
    assert tuned.n_iter_ == 40
    fresh = 3 * vectors(n=400, n_anomalies=0, seed=1)[0] + 10
    assert tuned.predict(fresh).mean() == pytest.approx(detector.contamination, abs=0.09)
    assert (tuned.decision_function(other) == fitted.fine_tune(other, epochs=2).decision_function(other)).all()
    with pytest.raises(ValueError, match="X: expected at least two normals, got 1"):
        fitted.fine_tune(other[:1])
    for options, error in (({"epochs": 0}, ValueError), ({"epochs": "2"}, TypeError), ({"lr": -1.0}, ValueError)):
        with pytest.raises(error, match=f"{next(iter(options))}: expected"):
            fitted.fine_tune(other, **options)


@pytest.mark.parametrize("option", [{"clusters": "gmm"}, {"learn_on": "both"}])
def test_options_of_ahl(option) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(option))}: expected one of"):
        AHLDetector(**option).fit(*vectors())
