"""The demo: rotated digits as tasks, contaminated targets, four methods, and the pictures of the paper.

Six rotations are the domains; four give source tasks, one validates, one is the target. One digit of a domain is
normal, the others are anomalous. More rotations, outside the range of the six, serve as further source tasks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from heterad.data.digits import ANGLES, rotated_digits
from heterad.data.protocol import CONTAMINATIONS, TargetRows, one_class_tasks, source_rows, split_values, target_rows
from heterad.data.whole_file import whole_file, writable_folder
from heterad.detectors import RobustMetaDetector
from heterad.experiments import pictures
from heterad.experiments.baselines import isolation_forest, one_class_svm, robust_autoencoders
from heterad.ops import roc_auc
from heterad.train import Report

PICTURED = 0.4  # contamination of the support set in the pictures, as in the paper's Fig. 4


class Size(NamedTuple):
    """How much the demo does; ``step`` is the angle between the further source rotations, in degrees."""

    step: float
    max_iter: int
    n_digits: int
    n_trees: int


FULL = Size(step=7.5, max_iter=1000, n_digits=10, n_trees=200)
QUICK = Size(step=30, max_iter=150, n_digits=3, n_trees=50)

LABEL_RATIO, LABELLED_ANOMALIES = 0.5, 0.5


class Data(NamedTuple):
    """Digits of every rotation, and the rotations of each role."""

    x: np.ndarray
    digit: np.ndarray
    angle: np.ndarray
    source: np.ndarray
    validation: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class Demo:
    """What a run found.

    Args:
        auc: mean AUC over the target tasks by method and contamination ("0.1" … "0.5").
        seconds: duration of the run.
        seed: its seed.
        files: what it wrote.
    """

    auc: dict[str, dict[str, float]]
    seconds: float
    seed: int
    files: tuple[Path, ...]


def run(out: str | os.PathLike[str], *, seed: int = 0, quick: bool = False, report: Report | None = None) -> Demo:
    """Meta-train on rotated digits, compare with three baselines on an unseen rotation, and write what was found.

    Args:
        out: folder for ``results.json``, ``model.safetensors`` and three pictures; made if it is not there.
        seed: of the split into domains, the rows drawn, and every method.
        quick: train less and test on fewer digits.
        report: told of progress; None for none.

    Returns:
        The results and the files written.

    Raises:
        OSError: the folder cannot be made or written to; found out before anything is computed.
        ValueError: ``seed`` is negative.

    Cost:
        About a minute on two CPU cores, a quarter of one if ``quick``; memory 0.8 GB.

    Source:
        Kumagai et al. (2023), section 4, with digits for Mnist-r.
    """
    started = time.perf_counter()
    if seed < 0:
        raise ValueError(f"seed: expected an integer >= 0, got {seed}")
    folder = writable_folder(out)
    report = report or (lambda *_: None)
    size = QUICK if quick else FULL
    rng = np.random.default_rng(seed)
    with _one_thread():
        data = prepare(size, rng)
        detector = meta_train(data, size, seed, rng, report)
        targets = draw_targets(data, size, seed)
        auc = compare(detector, data, targets, size, seed, report)
        files = [folder / "model.safetensors", *draw_pictures(folder, detector, data, targets, auc)]
    detector.save(files[0])
    seconds = time.perf_counter() - started
    results = folder / "results.json"
    with whole_file(results) as unfinished:
        unfinished.write_text(json.dumps({"auc": auc, "seconds": round(seconds, 1), "seed": seed}, indent=1) + "\n")
    return Demo(auc, seconds, seed, (results, *files))


def prepare(size: Size, rng: np.random.Generator) -> Data:
    """Rotate the digits and deal the six rotations to source, validation and target."""
    source, validation, target = split_values(np.array(ANGLES, dtype=float), (4, 1, 1), rng)
    further = np.arange(90, 360, size.step)
    x, digit, angle = rotated_digits([*ANGLES, *further])
    return Data(x, digit, angle, np.concatenate([source, further]), validation, target)


def meta_train(data: Data, size: Size, seed: int, rng: np.random.Generator, report: Report) -> RobustMetaDetector:
    """Fit the detector to the source tasks; the validation tasks tell it when it was best.

    The options that are not the defaults were chosen by the validation AUC of seeds 0, 1 and 2.
    """
    source = one_class_tasks(data.digit, data.angle, data.source)
    validation = one_class_tasks(data.digit, data.angle, data.validation)
    drawn = source_rows(source + validation, LABEL_RATIO, rng, labelled_anomalies=LABELLED_ANOMALIES)
    detector = RobustMetaDetector(
        hidden=64,
        lam_init=0.5,
        support_size=90,
        max_iter=size.max_iter,
        lr=3e-3,
        eval_every=50,
        patience=None,
        scale="global",
        random_state=seed,
    )
    report("meta-training", 0, size.max_iter)
    return detector.fit(
        data.x[drawn.rows],
        drawn.y,
        drawn.groups,
        validation_groups=[task.name for task in validation],
        callback=lambda loop: report("meta-training", loop.step, size.max_iter),
    )


def draw_targets(data: Data, size: Size, seed: int) -> list[tuple[float, TargetRows]]:
    """Contaminated support sets and test rows of the target tasks: every digit at every contamination."""
    tasks = one_class_tasks(data.digit, data.angle, data.target)[: size.n_digits]
    return [
        (contamination, target_rows(task, contamination, np.random.default_rng([seed, i])))
        for i, task in enumerate(tasks)
        for contamination in CONTAMINATIONS
    ]


def compare(
    detector: RobustMetaDetector,
    data: Data,
    targets: list[tuple[float, TargetRows]],
    size: Size,
    seed: int,
    report: Report,
) -> dict[str, dict[str, float]]:
    """Mean test AUC of each method at each contamination."""
    pairs = [(data.x[rows.support], data.x[rows.test]) for _, rows in targets]

    def each(method: str, score: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> list[np.ndarray]:
        scores = []
        for i, (support, test) in enumerate(pairs):
            report(method, i, len(pairs))
            scores.append(score(support, test))
        report(method, len(pairs), len(pairs))
        return scores

    scores = {
        "heterad": each("heterad", lambda support, test: detector.adapt(support).decision_function(test)),
        "isolation forest": each("isolation forest", partial(isolation_forest, n_trees=size.n_trees, seed=seed)),
        "one-class SVM": each("one-class SVM", one_class_svm),
        "robust autoencoder": robust_autoencoders(
            [support for support, _ in pairs],
            [test for _, test in pairs],
            seed=seed,
            callback=partial(report, "robust autoencoder"),
        ),
    }
    table: dict[str, dict[str, float]] = {}
    for method, of_targets in scores.items():
        found = [
            (contamination, float(roc_auc(torch.as_tensor(s), torch.as_tensor(rows.test_y))))
            for (contamination, rows), s in zip(targets, of_targets, strict=True)
        ]
        table[method] = {str(c): float(np.mean([auc for d, auc in found if d == c])) for c in CONTAMINATIONS}
    return table


def draw_pictures(
    folder: Path,
    detector: RobustMetaDetector,
    data: Data,
    targets: list[tuple[float, TargetRows]],
    auc: dict[str, dict[str, float]],
) -> list[Path]:
    """Draw the AUC, and the attributes and two reconstructions of the first target's support set."""
    files = [folder / f"{name}.png" for name in ("auc", "attributes", "reconstructions")]
    _, rows = next(drawn for drawn in targets if drawn[0] == PICTURED)
    support, anomalous = data.x[rows.support], rows.support_y == 1
    task = detector.adapt(support)
    pictures.auc_against_contamination(files[0], auc)
    pictures.attributes(files[1], np.abs(task.explain(support)), rows.support_y)
    example = [anomalous.argmin(), anomalous.argmax()]
    shown = support[example]
    names = [
        f"{name}: a {digit}"
        for name, digit in zip(("normal", "anomaly"), data.digit[rows.support[example]], strict=True)
    ]
    pictures.reconstructions(files[2], shown, task.reconstruct(shown), names)
    return files


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from a second thread, and on busy cores waiting for it takes most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
