"""One run of the tables of Kumagai et al. (2023): choose by validation, train, and test at every contamination."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from heterad.data import TaskSet
from heterad.data.protocol import TargetRows
from heterad.experiments.meta_methods import VARIANTS, Recipe, recipe
from heterad.experiments.meta_sets import Split, draw_split, load_set
from heterad.methods.meta import MetaLearner, meta_fit
from heterad.ops import roc_auc
from heterad.train import Settings

CHUNK = 3_000_000
"""Numbers in one batch of test rows: what caches hold is scored five times as fast as batches ten times as large."""


class Tasks(NamedTuple):
    """Tasks to learn from and to validate on, and the size of support sets: N_S as section 4.1 sets it for targets."""

    source: TaskSet
    validation: TaskSet
    n_support: int


class Trained(NamedTuple):
    """What one choice of hyper-parameters gave."""

    hyper: Mapping[str, Any]
    members: list[MetaLearner]
    validation: float
    steps: int
    seconds: float


def run_cell(key: Mapping[str, Any], folder: Path | None) -> list[dict[str, Any]]:
    """Do one run.

    Args:
        key: ``dataset``, ``method``, ``variant``, ``split``, ``label_ratio`` (None for what needs no labels),
            ``seed`` and ``grid`` ("full", "short" or "smoke").
        folder: of the data; None fetches them.

    Returns:
        A row for each contamination of the target tasks: ``anomaly_ratio``, ``auc`` (mean over the target tasks),
        ``seconds`` of training of the choice taken and ``test_seconds`` (of what learns from the target alone, those
        of all choices, trained at once), ``steps``, ``validation`` and ``hyper``.

    Raises:
        OSError, ValueError: as ``load_set`` and ``draw_split``.
    """
    data = load_set(key["dataset"], folder)
    split = draw_split(data, key["split"], key["label_ratio"] or 0.2, VARIANTS[key["variant"]].setting)
    how = recipe(key["method"], key["variant"], binary=data.binary)
    grid = {"full": how.grid, "short": how.short, "smoke": how.short[:1]}[key["grid"]]
    if key["grid"] == "smoke":
        how = replace(how, settings=Settings(max_iter=4, eval_every=2), passes=0, n_members=min(2, how.n_members))
        split = split._replace(targets={share: split.targets[share][:1] for share in (0.0, 0.05, 0.1, 0.5)})
    if how.meta_learned:
        trained = max(_train_all(how, grid, split, key["seed"]), key=lambda found: found.validation)
        return _rows(trained, evaluate([trained.members], split)[0])
    choices = [[make(how, hyper, split, key["seed"])] for hyper in grid]
    tested = evaluate(choices, split, 10 * CHUNK)
    best = max(range(len(grid)), key=lambda i: np.mean([auc for auc, _ in tested[i].values()]))
    return _rows(Trained(grid[best], choices[best], np.nan, 0, 0.0), tested[best])


def make(how: Recipe, hyper: Mapping[str, Any], split: Split, seed: int) -> MetaLearner:
    """A learner before training; a variant's changes outrank the grid's choices."""
    learner = how.make(split.x.shape[1], torch.Generator().manual_seed(seed), **{**hyper, **how.fixed})
    learner.outer = how.outer
    return learner


def evaluate(
    choices: Sequence[Sequence[MetaLearner]], split: Split, chunk: int = CHUNK
) -> list[dict[float, tuple[float, float]]]:
    """Mean AUC over the target tasks, and the seconds that all choices took together, by contamination.

    Args:
        choices: learners, or several each whose standardised scores are averaged.
        split: whose targets are scored.
        chunk: so many numbers of test rows at once.

    Returns:
        What each choice reaches.
    """
    x = torch.as_tensor(split.x)
    found: list[dict[float, tuple[float, float]]] = [{} for _ in choices]
    before: list[TargetRows] = []
    for share, targets in split.targets.items():
        if before and all(np.array_equal(t.support, b.support) for t, b in zip(targets, before, strict=True)):
            for of_choice in found:
                of_choice[share] = list(of_choice.values())[-1]  # supports too small to tell 0 from 1 %
            continue
        before, started = targets, time.perf_counter()
        size = max(1, int(chunk / (len(targets[0].test) * x.shape[1])))
        aucs = torch.cat([_aucs(choices, x, targets[i : i + size]) for i in range(0, len(targets), size)], 1)
        seconds = time.perf_counter() - started
        for of_choice, mean in zip(found, aucs.mean(1).tolist(), strict=True):
            of_choice[share] = mean, seconds
    return found


def prepare(split: Split) -> Tasks:
    """The source and validation tasks of a split."""
    source, validation = (
        TaskSet(split.x[drawn.rows], drawn.y, drawn.groups) for drawn in (split.source, split.validation)
    )
    return Tasks(source, validation, max(len(t.support) for t in split.targets[0.0]))


def _train_all(how: Recipe, grid: Sequence[Mapping[str, Any]], split: Split, seed: int) -> list[Trained]:
    tasks = prepare(split)
    sampling = replace(how.sampling, support_size=tasks.n_support)
    a_pass = len(tasks.source) // how.sampling.tasks_per_step
    settings = replace(
        how.settings,
        max_iter=max(how.settings.max_iter, how.passes * a_pass),
        eval_every=max(how.settings.eval_every, a_pass // 4),
    )
    found = []
    for hyper in [h for i, h in enumerate(grid) if _chosen(how, h) not in [_chosen(how, g) for g in grid[:i]]]:
        members, loops = [], []
        for member in range(how.n_members):
            learner = make(how, hyper, split, 1000 * seed + member)
            generator = torch.Generator().manual_seed(1000 * seed + member)
            loops.append(
                meta_fit(
                    learner,
                    tasks.source,
                    generator,
                    validation=tasks.validation,
                    sampling=sampling,
                    settings=settings,
                )
            )
            members.append(learner)
        seconds = sum(loop.history["seconds"][-1] for loop in loops)
        value = float(np.mean([loop.best_value for loop in loops]))
        found.append(Trained(_chosen(how, hyper), members, value, max(loop.best_step for loop in loops), seconds))
    return found


def _chosen(how: Recipe, hyper: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hyper.items() if name not in how.fixed}


def _aucs(choices: Sequence[Sequence[MetaLearner]], x: Tensor, targets: Sequence[TargetRows]) -> Tensor:
    """AUC of each choice on each target task."""
    support, support_mask = _padded(x, [t.support for t in targets])
    rows, real = _padded(x, [t.test for t in targets])
    truth, _ = _padded(torch.cat([torch.as_tensor(t.test_y) for t in targets]), _numbers([t.test_y for t in targets]))
    with torch.no_grad():
        learners = [learner for members in choices for learner in members]
        adapted = iter(learners[0].adapt_all(learners, support, support_mask))
        aucs = []
        for members in choices:
            total = torch.zeros(rows.shape[:-1])
            for learner in members:
                scores = learner.score(rows, next(adapted))
                if len(members) > 1:
                    kept = torch.where(real, scores, torch.nan)
                    middle = kept.nanmedian(-1, keepdim=True).values
                    scores = (scores - middle) / (kept - middle).abs().nanmedian(-1, keepdim=True).values.clamp(
                        min=1e-12
                    )
                total += scores
            aucs.append(roc_auc(total, truth, mask=real))
        return torch.stack(aucs)


def _padded(values: Tensor, rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    size = torch.tensor([len(r) for r in rows])
    index = torch.zeros(len(rows), int(size.max()), dtype=torch.int64)
    for t, r in enumerate(rows):
        index[t, : len(r)] = torch.as_tensor(r)
    return values[index], torch.arange(index.shape[1]) < size[:, None]


def _numbers(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Row numbers of parts that stand one after the other."""
    ends = np.cumsum([len(p) for p in parts])
    return [np.arange(end - len(p), end) for p, end in zip(parts, ends, strict=True)]


def _rows(trained: Trained, tested: Mapping[float, tuple[float, float]]) -> list[dict[str, Any]]:
    about = {"steps": trained.steps, "validation": round(trained.validation, 5), "hyper": dict(trained.hyper)}
    if trained.steps == 0:
        del about["steps"], about["validation"]
    return [
        {
            "anomaly_ratio": share,
            "auc": round(auc, 6),
            "seconds": round(trained.seconds, 2),
            "test_seconds": round(seconds, 4),
            **about,
        }
        for share, (auc, seconds) in tested.items()
    ]
