"""On a GPU: every detector, every meta-learner and the command line train there, and their files serve a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from heterad.data import TaskSet, toy_tasks
from heterad.data.tables import write_table
from heterad.detectors import AHLDetector, DevNetDetector, DRADetector
from heterad.experiments import ahl_speed
from heterad.methods import MetaLearner, RobustMeta, Sampling, meta_fit
from heterad.methods.baselines import BASELINES
from heterad.train import Settings

pytestmark = pytest.mark.gpu

DEVICE = "cuda"
SHORT: dict[str, Any] = {"epochs": 2, "batches": 3, "batch_size": 12}
DETECTORS = [
    DevNetDetector(device=DEVICE, **SHORT),
    DRADetector(hidden=8, device=DEVICE, **SHORT),
    AHLDetector("devnet", window=1, device=DEVICE, **SHORT),
    AHLDetector("dra", window=1, device=DEVICE, **SHORT),
    AHLDetector("dra", second_order=True, device=DEVICE, **SHORT),
]
ROWS: dict[str, tuple[int, ...]] = {"vectors": (4,), "maps": (3, 6, 5), "images": (3, 32, 32)}


def rows(kind: str, n: int = 24, n_anomalies: int = 3) -> tuple[np.ndarray, np.ndarray]:
    X = np.random.default_rng(0).uniform(0, 0.5, size=(n + n_anomalies, *ROWS[kind])).astype(np.float32)
    X[n:, :1] += 0.5
    return X, np.repeat([0, 1], [n, n_anomalies])


@pytest.mark.filterwarnings("ignore:validation_fraction")
@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("detector", DETECTORS, ids=lambda d: f"{type(d).__name__}-{getattr(d, 'base', '')}")
def test_detectors(detector: Any, kind: str, tmp_path: Path) -> None:
    X, y = rows(kind)
    detector = clone(detector).set_params(backbone="small" if kind == "images" else None).fit(X, y)
    assert {p.device.type for p in detector.model_.parameters()} == {DEVICE}
    detector.save(tmp_path / "model")
    there = type(detector).load(tmp_path / "model", device=DEVICE)
    np.testing.assert_array_equal(there.decision_function(X), detector.decision_function(X))
    here = type(detector).load(tmp_path / "model")
    np.testing.assert_allclose(here.decision_function(X), detector.decision_function(X), rtol=1e-4, atol=1e-4)
    for name, part in detector.explain(X).items():
        np.testing.assert_allclose(here.explain(X)[name], part, rtol=1e-4, atol=1e-4, err_msg=name)
    tuned = detector.fine_tune(X[y == 0], epochs=1)
    assert np.isfinite(tuned.decision_function(X)).all()


LEARNERS: dict[str, tuple[type[MetaLearner], dict[str, Any]]] = {
    "ours": (RobustMeta, {}),
    "svdd": (RobustMeta, {"formulation": "svdd"}),
    "sum": (RobustMeta, {"encoder": "sum"}),
    "set transformer": (RobustMeta, {"encoder": "set-transformer"}),
    "no attributes": (RobustMeta, {"attributes": False}),
    "no start": (RobustMeta, {"learned_start": False}),
    "no task": (RobustMeta, {"task_in_h": False, "task_in_start": False}),
    **{name: (made, {}) for name, made in BASELINES.items()},
    **{name: (BASELINES[name], {"n_iter": 4}) for name in ("ae", "rae", "dagm")},
}


@pytest.mark.parametrize("outer", ["auc", "cross-entropy"])
@pytest.mark.parametrize("name", LEARNERS)
def test_meta_learners(name: str, outer: str) -> None:
    made, options = LEARNERS[name]
    toy = toy_tasks(6, 30, n_features=5)
    tasks = TaskSet(toy.x, toy.y, toy.groups, device=DEVICE)
    learner = made(5, torch.Generator().manual_seed(0), **options).to(DEVICE)
    if any(p.requires_grad for p in learner.parameters()):
        learner.outer = outer
        sampling = Sampling(3, support_size=12, foreign=2 if name == "ours" else 0)
        loop = meta_fit(
            learner,
            tasks,
            torch.Generator(DEVICE).manual_seed(0),
            sampling=sampling,
            settings=Settings(max_iter=4, eval_every=2, averaging=0.5),
            validation=tasks,
        )
        assert np.isfinite(loop.history["loss"]).all()
    support, x = (torch.randn(2, n, 5, generator=torch.Generator().manual_seed(n)) for n in (9, 4))
    there = learner.score(x.to(DEVICE), learner.adapt(support.to(DEVICE)))
    assert there.device.type == DEVICE
    here = learner.to("cpu").score(x, learner.to("cpu").adapt(support))
    torch.testing.assert_close(there.cpu(), here, rtol=1e-3, atol=1e-3)


def test_the_speed_of_ahl_can_be_measured_there() -> None:
    found = ahl_speed.measure(1, repeats=1, device=DEVICE)
    assert found["epoch"] > 0
    assert 0 < found["peak"] < 8


@pytest.mark.parametrize("base", ["dra", "devnet"])
def test_command_line(base: str, tmp_path: Path) -> None:
    pytest.importorskip("tyro")
    from heterad.cli import run

    X, y = rows("vectors")
    table, model, scores = (str(tmp_path / name) for name in ("rows.csv", "model", "scores.csv"))
    write_table(Path(table), {"label": y, **dict(zip("abcd", X.T, strict=True))})
    options = ["--label", "label", "--ahl.base", base, "--ahl.epochs", "1", "--model", model]
    assert run(["fit", table, "--method", "ahl", *options, "--device", DEVICE]) == 0
    assert run(["score", model, table, "--out", scores, "--device", DEVICE]) == 0
    assert len(Path(scores).read_text().splitlines()) == 1 + len(X)
