"""AHL's protocols as tables: general and hard settings, cross-domain, ablation; every method on the same splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from torch import nn

from heterad.experiments import ahl_devnet
from heterad.experiments.ahl_methods import Method, ablations, bases, fitted, methods, nearest_normal
from heterad.experiments.ahl_sets import (
    BUILT_IN,
    ONE_CLASS,
    SETS,
    Split,
    Task,
    learn_network,
    split_rng,
    split_task,
    tasks,
    to_maps,
)
from heterad.experiments.ahl_tables import protocol_report
from heterad.experiments.table import Options, Table, choose

SHOTS = (10, 1)
CROSS = "mvtec_resnet18"
TEXTURES = {"3": "carpet", "4": "grid", "6": "leather", "10": "tile", "13": "wood"}
TUNED_EPOCHS = 10
OPTIONS = frozenset({"splits", "datasets", "methods", "seeds", "shots"})


def cells(
    options: Options, *, table: str, sets: Sequence[str], names: Sequence[str], shots: Sequence[int] = SHOTS
) -> list[dict[str, Any]]:
    """The runs of a table: every split, data set, number of seen anomalies, and method; the split's are neighbours.

    ``sets``, ``names`` of methods and ``shots`` are what the options choose among, or replace.

    Example:
        >>> len(cells(Options(splits=2), table="t", sets=["isolet"], names=["DRA", "AHL(DRA)"]))
        8
    """
    chosen = choose("methods", options.methods, names)
    shots = shots if options.shots is None else options.shots
    return [
        {"table": table, "set": data, "shots": m, "split": split, "seed": seed, "method": name, "smoke": options.smoke}
        for split in range(1 if options.smoke else options.splits)
        for seed in options.seeds
        for data in (["digits"] if options.smoke else choose("datasets", options.datasets, sets))
        for m in (shots[:1] if options.smoke else shots)
        for name in chosen
    ]


def run_cell(
    key: Mapping[str, Any], data: Path | None, *, hard: bool, compare: Callable[..., Mapping[str, Method]]
) -> list[dict[str, Any]]:
    """One method on every task of a split: a row of ``task`` and ``auroc`` for each."""
    from sklearn.metrics import roc_auc_score

    method = compare(key["set"], smoke=key["smoke"])[key["method"]]
    rows = []
    for task, split in _splits(data, key["set"], key["split"], key["shots"], hard):
        scores = method(split, 1000 * key["seed"] + key["split"])
        rows.append({"task": task, "auroc": float(roc_auc_score(split.test_y, scores))})
    return rows


@lru_cache(maxsize=1)
def _splits(data: Path | None, name: str, number: int, shots: int, hard: bool) -> list[tuple[str, Split]]:
    """Every task's rows of one split; images as feature maps of a backbone that learned from its normals alone."""
    drawn = []
    for i, task in enumerate(_tasks(data, name, number)):
        try:
            split = split_task(task, shots, split_rng(number), hard=hard)
        except ValueError as error:
            raise ValueError(f"data set {name}: {error}") from None
        drawn.append((task.name, to_maps(split, _network(data, name, number, i)) if split.x.ndim == 4 else split))
    return drawn


def read_tasks(name: str, data: Path | None) -> list[Task]:
    """The tasks of a data set, as the first split has them."""
    return tasks(data, name, 0)


@lru_cache(maxsize=1)
def _tasks(data: Path | None, name: str, number: int) -> list[Task]:
    return tasks(data, name, number)


@lru_cache(maxsize=1)
def _network(data: Path | None, name: str, number: int, i: int) -> nn.Module:
    """The backbone of a split of the i-th task, for every M."""
    return learn_network(_tasks(data, name, number)[i], number)


def run_cross(key: Mapping[str, Any], data: Path | None) -> list[dict[str, Any]]:
    """One method learned on each texture with its anomalies, then tuned on each other one's normals and tested there.

    "nearest normal" knows the target's normals alone.
    """
    from sklearn.metrics import roc_auc_score

    if key["smoke"]:
        drawn = [(str(i), _splits(data, key["set"], i, key["shots"], False)[0][1]) for i in (0, 1)]
    else:
        drawn = [(t, s) for t, s in _splits(data, key["set"], key["split"], key["shots"], False) if t in TEXTURES]
    seed = 1000 * key["seed"] + key["split"]
    rows = []
    for source, learned in drawn:
        others = [(name, split) for name, split in drawn if name != source]
        if key["method"] != "nearest normal":
            detector = fitted(bases(key["set"], smoke=key["smoke"])[key["method"]], learned, seed)
        for target, split in others:
            if key["method"] == "nearest normal":
                scores = nearest_normal(split, seed)
            else:
                tuned = detector.fine_tune(split.x[split.y == 0], epochs=TUNED_EPOCHS)
                scores = tuned.decision_function(split.test_x)
            names = f"{TEXTURES.get(source, source)} to {TEXTURES.get(target, target)}"
            rows.append({"task": names, "auroc": float(roc_auc_score(split.test_y, scores))})
    return rows


def devnet_cells(options: Options) -> list[dict[str, Any]]:
    """The runs of DevNet's own protocol: ten of each set, unless told otherwise."""
    sets = choose("datasets", options.datasets, list(ahl_devnet.SETS))
    if options.smoke:
        raise ValueError("smoke: expected a table with a small form, got ahl-devnet, whose protocol needs its own data")
    return [{"table": "ahl-devnet", "set": s, "seed": i} for s in sets for i in range(options.splits)]


_COMPARED = tuple(methods("digits"))


def _table(
    name: str,
    title: str,
    sets: Sequence[str],
    names: Sequence[str],
    run: Callable[[Mapping[str, Any], Path | None], list[dict[str, Any]]],
    *,
    shots: Sequence[int] = SHOTS,
    than: str | None = None,
) -> Table:
    keys = partial(cells, table=name, sets=sets, names=names, shots=shots)
    return Table(name, title, keys, run, read_tasks, partial(protocol_report, table=name, than=than), options=OPTIONS)


AHL_TABLES: tuple[Table, ...] = (
    _table(
        "ahl-general",
        "AHL, general setting: anomalies of all classes are seen",
        (*SETS, *BUILT_IN),
        _COMPARED,
        partial(run_cell, hard=False, compare=methods),
    ),
    _table(
        "ahl-hard",
        "AHL, hard setting: anomalies of one class are seen, all others are tested",
        [s for s in (*SETS, *BUILT_IN) if s not in ONE_CLASS],
        _COMPARED,
        partial(run_cell, hard=True, compare=methods),
    ),
    _table(
        "ahl-cross",
        "AHL, cross-domain: learned on one texture of MVTec AD, tuned on the normals of another",
        (CROSS,),
        ("nearest normal", *bases("digits")),
        run_cross,
        shots=SHOTS[:1],
    ),
    _table(
        "ahl-ablation",
        "AHL(DRA) with one part taken away or exchanged, hard setting",
        ("isolet", "mnist_r", "omniglot", "digits"),
        tuple(ablations("digits")),
        partial(run_cell, hard=True, compare=ablations),
        shots=SHOTS[:1],
        than="AHL(DRA)",
    ),
    Table(
        "ahl-devnet",
        "DevNet's own protocol on two of its data sets",
        devnet_cells,
        ahl_devnet.run_cell,
        ahl_devnet.read_set,
        ahl_devnet.report,
        options=frozenset({"splits", "datasets"}),
    ),
)
