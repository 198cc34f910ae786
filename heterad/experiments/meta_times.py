"""Table 3 of Kumagai et al. (2023): training and testing seconds of the meta-learners, in one run on one machine."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heterad.experiments.meta_cells import Tasks, evaluate, make, prepare
from heterad.experiments.meta_methods import BEST, META_LEARNERS, recipe
from heterad.experiments.meta_published import LABELS, NAMES, TABLE3
from heterad.experiments.meta_report import markdown
from heterad.experiments.meta_sets import SMOKE, draw_split, load_set
from heterad.experiments.table import Options, Row, choose
from heterad.train import Loop, Settings

STEPS = 10_000
"""The seconds of so many steps are given; so many are the paper's at most."""


def timing_keys(options: Options) -> list[dict[str, Any]]:
    """A run for each split and seed; all methods are timed in each, so that they share its moments."""
    methods = choose("methods", options.methods, [name for name in META_LEARNERS if name != BEST])
    return [
        {"timing": SMOKE if options.smoke else "mnist_r", "split": split, "seed": seed, "methods": methods}
        for split in range(1 if options.smoke else options.splits)
        for seed in options.seeds
    ]


def time_all(key: Mapping[str, Any], folder: Path | None) -> list[dict[str, Any]]:
    """Time every meta-learner on one thread, in turns of a few steps, and take each one's fastest turn, in CPU seconds.

    Returns:
        A row for each method: ``method``, ``train_seconds`` of 10,000 steps of one task each, ``test_seconds`` of
        adapting to and scoring all target tasks at one contamination.

    Source:
        Kumagai et al. (2023), Table 3; NP, TNP and MC with the same embedding sizes as ours.
    """
    smoke = key["timing"] == SMOKE
    turns, steps = (2, 2) if smoke else (10, 10)
    split = draw_split(load_set(key["timing"], folder), key["split"], 0.2)
    tasks = prepare(split)
    trained: dict[str, list[float]] = defaultdict(list)
    tested: dict[str, list[float]] = defaultdict(list)
    learners = {name: make(recipe(name), {}, split, key["seed"]) for name in key["methods"]}
    generator = torch.Generator().manual_seed(key["seed"])
    settings = Settings(steps, eval_every=steps)
    part = split._replace(targets={0.3: split.targets[0.3]})
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(turns):
            for name, learner in learners.items():
                loop = Loop(learner, partial(_loss, learner, tasks), generator, settings)
                started = time.process_time()
                loop.run()
                trained[name].append(time.process_time() - started)
                started = time.process_time()
                evaluate([[learner]], part)
                tested[name].append(time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    return [
        {
            "method": name,
            "train_seconds": round(min(trained[name]) / steps * STEPS, 2),
            "test_seconds": round(min(tested[name]), 5),
        }
        for name in learners
    ]


def report_times(rows: Sequence[Row]) -> str:
    """Medians over the runs and how many times Proto's they are, beside the paper's."""
    own = [row for row in rows if "timing" in row and "train_seconds" in row]
    methods = [name for name in META_LEARNERS if any(row["method"] == name for row in own)]
    if not methods:
        return ""
    smoke = all(row["timing"] == SMOKE for row in own)
    lines = [["", *(LABELS[name] for name in methods)]]
    for what, title in (("train_seconds", "Train, 10,000 steps"), ("test_seconds", "Test, all target tasks")):
        found = {m: float(np.median([row[what] for row in own if row["method"] == m])) for m in methods}
        published = TABLE3[what]
        ratios = {m: published[m] / published["proto"] for m in methods if m in published}
        lines.append([f"{title}, s", *(f"{found[m]:.3g}" for m in methods)])
        if found.get("proto"):
            lines.append(["times Proto's", *(f"{found[m] / found['proto']:.2f}" for m in methods)])
        if smoke:  # the paper has no figure of it
            continue
        lines.append(["*paper, s*", *(f"{published[m]:g}" if m in published else "" for m in methods)])
        lines.append(["*paper, times Proto's*", *(f"{ratios[m]:.2f}" if m in ratios else "" for m in methods)])
    runs = len({(row["timing"], row["split"], row["seed"]) for row in own})
    where = NAMES[SMOKE if smoke else "mnist_r"]
    count = "One run." if runs == 1 else f"Medians of {runs} runs."
    return f"**Table 3. CPU seconds on {where}, one thread**\n\n{markdown(lines)}\n\n{count}"


def _loss(learner: Any, tasks: Tasks, generator: torch.Generator) -> Tensor:
    return learner.loss(tasks.source.sample(1, generator, support_size=tasks.n_support)).mean()
