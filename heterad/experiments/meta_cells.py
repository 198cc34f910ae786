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
from torch.nn.utils.rnn import pad_sequence

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
    """What one choice of hyper-parameters gave; ``about`` its training, if there was one, is part of every row."""

    hyper: Mapping[str, Any]
    members: list[MetaLearner]
    about: Mapping[str, Any]


def run_cell(key: Mapping[str, Any], folder: Path | None) -> list[dict[str, Any]]:
    """Do one run.

    Args:
        key: ``dataset``, ``method``, ``variant``, ``split``, ``label_ratio`` (None for what needs no labels),
            ``seed`` and ``grid`` ("full", "short" or "smoke"; None for what is always given its whole grid).
        folder: of the data; None fetches them.

    Returns:
        A row for each contamination of the target tasks: ``anomaly_ratio``, ``auc`` (mean over the target tasks),
        ``seconds`` (CPU time of training the choice taken), ``test_seconds`` (of what learns from the target alone,
        those of all choices, trained at once) and ``hyper``; of what is trained also ``validation``, ``steps`` (after
        which its weights are kept) and ``steps_taken``, the mean over members.

    Raises:
        OSError, ValueError: as ``load_set`` and ``draw_split``.
    """
    data = load_set(key["dataset"], folder)
    split = draw_split(
        data, key["split"], 0.2 if key["label_ratio"] is None else key["label_ratio"], VARIANTS[key["variant"]].setting
    )
    how = recipe(key["method"], key["variant"], binary=data.binary)
    grid = {None: how.grid, "full": how.grid, "short": how.short, "smoke": how.short[:1]}[key["grid"]]
    if key["grid"] == "smoke":
        how = replace(how, settings=Settings(max_iter=4, eval_every=2), passes=0, n_members=min(2, how.n_members))
        split = split._replace(targets={share: split.targets[share][:1] for share in (0.0, 0.05, 0.1, 0.5)})
    if how.meta_learned:
        trained = max(_train_all(how, grid, split, key["seed"]), key=lambda found: found.about["validation"])
        return _rows(trained, evaluate([trained.members], split)[0])
    choices = [[make(how, hyper, split, key["seed"])] for hyper in grid]
    tested = evaluate(choices, split, 10 * CHUNK)
    best = max(range(len(grid)), key=lambda i: np.mean([auc for auc, _ in tested[i].values()]))
    return _rows(Trained(grid[best], choices[best], {"seconds": 0.0}), tested[best])


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
        members, loops, started = [], [], time.process_time()
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
        about = {
            "seconds": round(time.process_time() - started, 2),
            "steps": max(loop.best_step for loop in loops),
            "steps_taken": sum(loop.step for loop in loops) / len(loops),
            "validation": round(float(np.mean([loop.best_value for loop in loops])), 5),
        }
        found.append(Trained(_chosen(how, hyper), members, about))
    return found


def _chosen(how: Recipe, hyper: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in hyper.items() if name not in how.fixed}


def _aucs(choices: Sequence[Sequence[MetaLearner]], x: Tensor, targets: Sequence[TargetRows]) -> Tensor:
    """AUC of each choice on each target task."""
    support, support_mask = _padded([x[t.support] for t in targets])
    rows, real = _padded([x[t.test] for t in targets])
    truth, _ = _padded([torch.as_tensor(t.test_y) for t in targets])
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


def _padded(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Parts of different lengths as one tensor, and which of its rows are theirs."""
    length = torch.tensor([len(part) for part in parts])
    whole = pad_sequence(list(parts), batch_first=True)
    return whole, torch.arange(whole.shape[1]) < length[:, None]


def _rows(trained: Trained, tested: Mapping[float, tuple[float, float]]) -> list[dict[str, Any]]:
    return [
        {
            "anomaly_ratio": share,
            "auc": round(auc, 6),
            "test_seconds": round(seconds, 4),
            **trained.about,
            "hyper": dict(trained.hyper),
        }
        for share, (auc, seconds) in tested.items()
    ]
