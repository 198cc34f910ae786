"""The methods that the tables of Kumagai et al. (2023) compare: how each is made and trained, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from heterad.experiments.meta_sets import Setting
from heterad.methods.baselines import BASELINES
from heterad.methods.meta import MetaLearner, Sampling
from heterad.methods.robust_meta import RobustMeta
from heterad.train import Settings

OURS, BEST = "ours", "ours-best"

Hyper = Mapping[str, Any]


PAPER = Settings(max_iter=10_000, lr=1e-3, eval_every=50, patience=10)
"""Section 4.3 and appendix E; how early the paper's early stop is, it does not say."""

PATIENT = replace(PAPER, patience=40)
"""Of NP and TNP, whose validation AUC may stay near 50 % for 450 steps, and rise again after 950 without a better."""

BEST_SETTINGS = Settings(max_iter=500, lr=1e-3, eval_every=50, patience=8)
"""Of the preset that adds what raises the AUC of validation tasks; docs/results.md says how it was found."""


@dataclass(frozen=True)
class Recipe:
    """How a method is made and trained.

    Args:
        make: called with the number of features, a generator and a choice of hyper-parameters.
        grid: choices of hyper-parameters; the one with the best validation AUC is taken.
        short: fewer of them.
        fixed: hyper-parameters that are not chosen.
        sampling, settings: of the training.
        passes: so many passes over the source tasks are allowed, even if they are more steps than the settings'.
        outer: the outer objective; see ``MetaLearner``.
        n_members: learners trained from different seeds whose standardised scores are averaged.
        meta_learned: whether there is training at all; what learns from the target's rows alone has, as in the
            paper, the choice that is best on the test rows.
    """

    make: Callable[..., MetaLearner]
    grid: tuple[Hyper, ...]
    short: tuple[Hyper, ...]
    fixed: Hyper = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    settings: Settings = PAPER
    passes: int = 0
    outer: str = "auc"
    n_members: int = 1
    meta_learned: bool = True


@dataclass(frozen=True)
class Variant:
    """A change of the method (its hyper-parameters, its training) or of the source tasks; None changes nothing."""

    hyper: Hyper = field(default_factory=dict)
    setting: Setting = field(default_factory=Setting)
    outer: str | None = None
    sampling: Sampling | None = None
    settings: Settings | None = None
    n_members: int | None = None


OURS_GRID = tuple({"lam_init": lam, "task_dim": k} for lam, k in product((0.1, 1.0, 10.0), (32, 64, 128)))
OURS_SHORT = ({"lam_init": 0.1, "task_dim": 32},)

ABLATIONS: dict[str, Variant] = {
    "w/o A": Variant({"attributes": False}),
    "w/o Initial": Variant({"learned_start": False}),
    "w/o Iter": Variant({"n_iter": 1}),
    "w/o hTask": Variant({"task_in_h": False}),
    "w/o ATask": Variant({"task_in_start": False}),
    "w/o Task": Variant({"task_in_h": False, "task_in_start": False}),
}
STARTS = {f"w/o Initial, I={n}": Variant({"learned_start": False, "n_iter": n}) for n in (20, 30, 50)}
ITERATIONS = {f"I={n}": Variant({"n_iter": n}) for n in (1, 2, 5, 20)}
TASK_DIMS = {f"K={k}": Variant({"task_dim": k}) for k in (8, 32, 64, 128, 256)}
TASK_COUNTS = {f"T={n}": Variant(setting=Setting(n_source=n)) for n in (10, 30, 100, 250, 500)}
FORMS = {
    "SVDD": Variant({"formulation": "svdd"}),
    "sum": Variant({"encoder": "sum"}),
    "set transformer": Variant({"encoder": "set-transformer"}),
}
STEP_OF_4 = Sampling(tasks_per_step=4)
FOREIGN = Sampling(tasks_per_step=4, foreign=3)
GAINS = {
    "4 tasks a step": Variant(sampling=STEP_OF_4),
    "4 tasks a step, foreign normals": Variant(sampling=FOREIGN),
    "lr 3e-3": Variant(settings=replace(PAPER, lr=3e-3)),
    "hidden 64": Variant({"hidden": 64}),
    "J=64": Variant({"embed_dim": 64}),
    "lambda per feature": Variant({"per_feature": True}),
    "warm-up of 100 steps": Variant(settings=replace(PAPER, warm_up=100)),
    "cosine to step 1,000": Variant(settings=replace(PAPER, max_iter=1000, schedule="cosine")),
    "averaged weights": Variant(settings=replace(PAPER, averaging=0.98)),
    "3 members": Variant(n_members=3),
}
VARIANTS: dict[str, Variant] = {
    "": Variant(),
    **FORMS,
    **GAINS,
    "cross-entropy": Variant(outer="cross-entropy"),
    "1 % labelled anomalies": Variant(setting=Setting(labelled_anomalies=0.01)),
    "10 % tasks with anomalies": Variant(setting=Setting(with_anomalies=0.1)),
    **ABLATIONS,
    **STARTS,
    **ITERATIONS,
    **TASK_DIMS,
    **TASK_COUNTS,
}


def recipe(method: str, variant: str = "", *, binary: bool = False) -> Recipe:
    """How a method, in a variant, is made and trained.

    Args:
        method: one of ``METHODS``.
        variant: one of ``VARIANTS``.
        binary: whether the tasks differ in their domain alone. One's normals are then no anomalies of another's, and
            the best preset is the paper's: on IoT's validation tasks it was the better one in each of five splits.

    Returns:
        The method's, with what the variant changes.

    Raises:
        ValueError: a name is unknown.

    Example:
        >>> recipe("ours", "w/o Iter").fixed
        {'n_iter': 1}
    """
    if method not in METHODS or variant not in VARIANTS:
        raise ValueError(
            f"method: expected one of {', '.join(METHODS)} and a known variant, got {method!r}, {variant!r}"
        )
    found, change = METHODS[OURS if binary and method == BEST else method], VARIANTS[variant]
    changed = {name: getattr(change, name) for name in ("outer", "sampling", "settings", "n_members")}
    given = {name: value for name, value in changed.items() if value is not None}
    return replace(found, fixed={**found.fixed, **change.hyper}, **given)


def _baseline(name: str) -> Recipe:
    method: Any = BASELINES[name]
    grid = tuple(method.GRID)
    short = ({},) if method.meta_learned else grid
    settings = PATIENT if name in ("np", "tnp") else PAPER
    return Recipe(method, grid, short, settings=settings, meta_learned=method.meta_learned)


METHODS: dict[str, Recipe] = {
    OURS: Recipe(RobustMeta, OURS_GRID, OURS_SHORT),
    BEST: Recipe(RobustMeta, OURS_GRID, OURS_SHORT, sampling=FOREIGN, settings=BEST_SETTINGS, passes=8),
    **{name: _baseline(name) for name in BASELINES},
}
META_LEARNERS = tuple(name for name, found in METHODS.items() if found.meta_learned)
