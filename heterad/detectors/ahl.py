"""AHL with scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import nn

from heterad.detectors.scored import ScoredDetector
from heterad.methods.ahl import AHLRecipe
from heterad.nn.devnet import DevNet
from heterad.nn.dra import DRA
from heterad.nn.scorer import Scorer, as_scorer

BASES: dict[str, Callable[..., nn.Module]] = {"dra": DRA, "devnet": DevNet}
PUBLISHED = {"epochs": 30, "lr": 2e-3}
RECIPES = {"dra": {"epochs": 10, "lr": 5e-4}, "devnet": {"epochs": 50, "lr": 2e-3}}  # found on development draws


class AHLDetector(ScoredDetector):
    """Learn from few anomalies of seen classes a detector that also finds anomalies of unseen classes.

    The normals are divided into clusters; each pair of them, with some of the anomalies, simulates one anomaly
    distribution, on which a base model trains. One unified model learns from how well those generalise.

    Args:
        base: "dra", "devnet", or a factory ``base(shape, generator)`` of a ``torch.nn.Module`` that scores rows of
            that shape; see ``heterad.nn.scorer``. What the factory draws should come from the generator (of the
            CPU); the global one is seeded from it meanwhile and then put back.
        epochs: epochs; the weights of the base models change from one to the next. None: what suits the base, 10 for
            "dra", 50 for "devnet", 30 for others.
        batches: steps of the unified model in an epoch.
        batch_size: rows of a step and base model: normals, seen anomalies and pseudo anomalies, a third each.
        lr: learning rate of the unified model; None: 5e-4 for "dra", 2e-3 (the paper's) for others.
        inner_steps: steps of the base models before each step of the unified model.
        inner_lr: their learning rate.
        second_order: whether the unified model's gradient goes through the base models' steps; it tells from two
            inner steps on.
        n_clusters: clusters that the normals are divided into.
        window: epochs that the importance model looks back; None weighs all base models alike.
        temperature: of the weights' softmax.
        clusters: "kmeans", or "random" subsets of the normals for comparison.
        learn_on: "query", or "support" to learn in a closed world for comparison.
        backbone: for images: "small", a convolutional network that learns from the normals of ``fit``, or the name of a
            published one as ``load_backbone`` takes it, e.g. "torchvision/resnet18"; None takes rows as they are.
        scale: "standard" standardises each feature (or a map's channel) with the mean and standard deviation of the
            normals, "global" all of them alike, which suits pixels and other features of one unit; None leaves
            features as they are.
        contamination: share of anomalies presumed in the normals whose scores set the default threshold.
        validation_fraction: share of the normals that are not learned from but set it. With 0, those learned from do,
            which score lower than new ones.
        device: where to compute, as ``torch.device`` takes it; None is the CPU.
        random_state: int, ``numpy.random.RandomState`` or None. An int gives the same scores bit for bit on the
            CPU of one machine.

    Attributes:
        history_: lists ``step``, ``loss``, ``validation`` (None), ``seconds``, ``w`` (the base models' weights) and
            ``r`` (their generalisation errors), an entry per epoch.
        n_iter_: steps taken by the unified model.
        support_scores_: scores of the normals that set the threshold.
        threshold_: the score above which ``predict`` says 1; see ``set_threshold``.
        learned_from_: counts of ``rows``, ``anomalies``, ``normals`` and ``unlabelled`` rows.
        columns_: what ``fit`` was told of the columns of files, or None.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Source:
        Zhu et al., "Anomaly Heterogeneity Learning for Open-set Supervised Anomaly Detection", CVPR 2024.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 4))
        >>> y = np.arange(60) % 10 == 0
        >>> AHLDetector("devnet", epochs=2, batches=3).fit(X, y).predict(X[:3]).shape
        (3,)
    """

    def __init__(
        self,
        base: str | Callable[[tuple[int, ...], torch.Generator], nn.Module] = "dra",
        epochs: int | None = None,
        batches: int = 20,
        batch_size: int = 48,
        lr: float | None = None,
        inner_steps: int = 1,
        inner_lr: float = 2e-4,
        second_order: bool = False,
        n_clusters: int = 3,
        window: int | None = 5,
        temperature: float = 1.0,
        clusters: str = "kmeans",
        learn_on: str = "query",
        backbone: str | None = None,
        scale: str | None = "standard",
        contamination: float = 0.1,
        validation_fraction: float = 0.0,
        device: str | torch.device | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.base = base
        self.epochs = epochs
        self.batches = batches
        self.batch_size = batch_size
        self.lr = lr
        self.inner_steps = inner_steps
        self.inner_lr = inner_lr
        self.second_order = second_order
        self.n_clusters = n_clusters
        self.window = window
        self.temperature = temperature
        self.clusters = clusters
        self.learn_on = learn_on
        self.backbone = backbone
        self.scale = scale
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state

    def _check_options(self) -> None:
        super()._check_options()
        base: Any = self.base
        if isinstance(base, dict) and "factory" in base:
            raise ValueError(f"base: this file needs the factory {base['factory']!r}; pass it as load(path, base=...)")
        if isinstance(base, nn.Module):
            got = type(base).__name__
            raise TypeError(f"base: expected a factory base(shape, generator) of a module, got a module itself, {got}")
        for name, known in (("clusters", ("kmeans", "random")), ("learn_on", ("query", "support"))):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        if not isinstance(self.second_order, bool):
            raise TypeError(f"second_order: expected True or False, got {self.second_order!r}")
        if not callable(base) and not (isinstance(base, str) and base in BASES):
            raise ValueError(f"base: expected one of {', '.join(BASES)} or a factory, got {base!r}")

    def _new_model(self, seed: int) -> Scorer:
        factory = BASES[self.base] if isinstance(self.base, str) else self.base
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return as_scorer(factory(self.shape_, torch.Generator().manual_seed(seed))).float()

    def _recipe(self) -> AHLRecipe:
        given = {field.name: getattr(self, field.name) for field in fields(AHLRecipe)}
        suited = RECIPES.get(self.base, PUBLISHED) if isinstance(self.base, str) else PUBLISHED
        return AHLRecipe(**given | {name: value for name, value in suited.items() if given[name] is None})
