"""The demo, made tiny: what it writes, that it is reproducible, and that its baselines detect."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from heterad.data.protocol import CONTAMINATIONS
from heterad.detectors import RobustMetaDetector
from heterad.experiments import demo
from heterad.experiments.baselines import isolation_forest, one_class_svm, robust_autoencoders

METHODS = ["heterad", "isolation forest", "one-class SVM", "robust autoencoder"]
FILES = ["results.json", "model.safetensors", "auc.png", "attributes.png", "reconstructions.png"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "QUICK", demo.Size(step=135, max_iter=20, n_digits=1, n_trees=5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("demo") / "new"


def test_a_run_writes_results_model_and_pictures(folder) -> None:
    threads, told = torch.get_num_threads(), []
    found = demo.run(folder, seed=3, quick=True, report=lambda *progress: told.append(progress))
    assert torch.get_num_threads() == threads
    assert [file.name for file in found.files] == FILES
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    results = json.loads((folder / "results.json").read_text())
    assert set(results) == {"auc", "seconds", "seed"}
    assert results["auc"] == found.auc
    assert results["seed"] == 3
    assert results["seconds"] > 0
    assert list(found.auc) == METHODS
    for values in found.auc.values():
        assert list(values) == [str(c) for c in CONTAMINATIONS]
        assert all(0.5 < value <= 1 for value in values.values())
    assert RobustMetaDetector.load(folder / "model.safetensors").n_features_in_ == 64
    for name in FILES[2:]:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    ends = {stage: (done, total) for stage, done, total in told}
    assert set(ends) == {"meta-training", *METHODS}
    assert all(done == total for done, total in ends.values())


def test_a_second_run_with_the_same_seed_finds_the_same(folder, tmp_path) -> None:
    again = demo.run(tmp_path, seed=3, quick=True)
    assert again.auc == json.loads((folder / "results.json").read_text())["auc"]


def test_the_target_rotation_is_no_source_and_no_neighbour_of_a_further_one() -> None:
    for seed in range(5):
        data = demo.prepare(demo.Size(step=45, max_iter=1, n_digits=1, n_trees=1), np.random.default_rng(seed))
        roles = [set(angles.tolist()) for angles in (data.source, data.validation, data.target)]
        assert sum(map(len, roles)) == len(set.union(*roles))
        gaps = np.abs(data.source - data.target)
        assert np.minimum(gaps, 360 - gaps).min() >= 15


def test_bad_input_is_found_before_anything_is_computed(tmp_path) -> None:
    with pytest.raises(ValueError, match="seed: expected an integer >= 0, got -1"):
        demo.run(tmp_path, seed=-1)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        demo.run(tmp_path / "file")


@pytest.mark.parametrize("method", [isolation_forest, one_class_svm])
def test_baselines_score_outliers_higher(method) -> None:
    rng = np.random.default_rng(0)
    scores = method(rng.normal(size=(80, 3)), np.concatenate([rng.normal(size=(20, 3)), np.full((20, 3), 5.0)]))
    assert scores[:20].max() < scores[20:].min()


def test_autoencoders_of_sets_of_different_sizes_score_outliers_higher() -> None:
    rng = np.random.default_rng(0)
    supports = [rng.normal(size=(n, 3)) for n in (20, 11)]
    tests = [np.concatenate([rng.normal(size=(n, 3)), np.full((1, 3), 9.0)]) for n in (4, 7)]
    told = []
    found = robust_autoencoders(supports, tests, n_iter=20, callback=lambda *progress: told.append(progress))
    assert [len(scores) for scores in found] == [5, 8]
    assert all(scores.argmax() == len(scores) - 1 for scores in found)
    assert told == [(step, 20) for step in range(1, 21)]
