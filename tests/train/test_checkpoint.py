"""Checkpoints: written as training goes, taken up by the same run only; and the logs beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from heterad import RobustMetaDetector
from heterad.data import toy_tasks
from heterad.train import JSONLog, Loop, Processes, Settings, TensorBoardLog, each, keep, write_tensors


def make(seed: int = 0, **options) -> Loop:
    g = torch.Generator().manual_seed(seed)
    model = nn.Linear(2, 1)
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    settings = Settings(**{"max_iter": 20, "eval_every": 5} | options)
    return Loop(model, lambda g: (model(torch.rand(4, 2, generator=g)) - 1).square().mean(), g, settings)


def test_a_finished_run_trains_no_further_and_a_longer_one_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "run"
    for max_iter in (20, 20, 40):
        loop = make(max_iter=max_iter)
        keep(loop, file, {"seed": 0})
        resumed = loop.step
        loop.run()
    assert resumed == 20
    assert loop.history["step"] == make(max_iter=40).run().history["step"]
    assert torch.equal(loop.model.weight, make(max_iter=40).run().model.weight)


def test_it_writes_now_and_then_and_at_the_end(tmp_path: Path) -> None:
    heard = []
    loop = make()
    loop.callback = lambda loop: heard.append((tmp_path / "run").exists())
    keep(loop, tmp_path / "run", {}, every=1e9)
    loop.run()
    assert heard == [False] * 4
    assert (tmp_path / "run").exists()


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    loop = make()
    loop.processes = Processes(rank=1)
    keep(loop, tmp_path / "run", {})
    loop.run()
    assert not list(tmp_path.iterdir())


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run"
    loop = make()
    keep(loop, file, {"seed": 0, "rows": "a"})
    loop.run()
    with pytest.raises(ValueError, match=r"run: a checkpoint of a run with other lr, rows;"):
        keep(make(lr=0.1), file, {"seed": 0, "rows": "b"})
    with pytest.raises(ValueError, match=r"run: a checkpoint of a run with other averaging, max_iter, schedule;"):
        keep(make(averaging=0.9, schedule="cosine"), file, {"seed": 0, "rows": "a"})
    write_tensors(file, {}, {"kind": "a model"})
    with pytest.raises(ValueError, match="a checkpoint of a run with other eval_every, lr, seed"):
        keep(make(), file, {"seed": 0})
    file.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        keep(make(), file, {"seed": 0})


def test_a_detector_goes_on_with_the_same_scores(tmp_path: Path) -> None:
    toy = toy_tasks(12, 30)

    def fit(max_iter: int, checkpoint: Path | None = None, seed: int = 0) -> np.ndarray:
        options = {"eval_every": 2, "patience": None, "warm_up": 8, "averaging": 0.9}
        detector = RobustMetaDetector(max_iter=max_iter, random_state=seed, **options)
        return detector.fit(toy.x, toy.y, toy.groups, checkpoint=checkpoint).decision_function(toy.x)

    file = tmp_path / "run"
    fit(6, file)
    assert np.array_equal(fit(12, file), fit(12))
    with pytest.raises(ValueError, match="of a run with other seed;"):
        fit(12, file, seed=1)


def test_json_lines_are_appended_as_training_goes(tmp_path: Path) -> None:
    loop = make()
    loop.callback = each(JSONLog(tmp_path / "log"), None)
    loop.run()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 15, 20]
    assert lines[-1] == {name: values[-1] for name, values in loop.history.items()}
    with pytest.raises(OSError, match="none"):
        JSONLog(tmp_path / "none" / "log")


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loop = make()
    loop.callback = TensorBoardLog(tmp_path)
    loop.run()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["scalars"] == ["loss", "seconds"]
    assert [event.step for event in events.Scalars("loss")] == loop.history["step"]
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(loop.history["loss"])


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"needs tensorboard; install it with: pip install 'heterad\[log\]'"):
        TensorBoardLog(tmp_path)
