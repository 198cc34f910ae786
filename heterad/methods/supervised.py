"""Training a scorer on labelled rows: what DevNet and DRA do alone, and AHL many times over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from heterad.data.augment import describe, kinds_for
from heterad.data.mixture import Mixture
from heterad.nn.scorer import Scorer
from heterad.train import Loop, Settings


@dataclass(frozen=True)
class Recipe:
    """How a scorer is trained.

    Args:
        epochs: passes, after each of which the mean loss is looked at.
        batches: steps of an epoch.
        batch_size: rows of a step: equal shares of normals, seen anomalies and pseudo anomalies.
        lr: learning rate.
        optimizer: "adam", or "rmsprop" with the norm of the whole gradient clipped to 1.
        pseudo: whether pseudo anomalies are made; without seen anomalies they always are.
        keep_best: whether the weights of the epoch with the lowest mean loss are kept, and not the last.
    """

    epochs: int = 30
    batches: int = 20
    batch_size: int = 48
    lr: float = 1e-3
    optimizer: str = "adam"
    pseudo: bool = True
    keep_best: bool = False


def fit_scorer(
    scorer: Scorer,
    x: Tensor,
    y: np.ndarray,
    generator: torch.Generator,
    recipe: Recipe,
    *,
    callback: Callable[[Loop], None] | None = None,
) -> Loop:
    """Train a scorer in place on normals and seen anomalies.

    Args:
        scorer: on the device of the rows.
        x: rows ``[n, d]`` or ``[n, C, H, W]``.
        y: 1 seen anomaly, 0 normal ``[n]``.
        generator: of that device; the only source of randomness.
        recipe: how.
        callback: called with the loop after each epoch.

    Returns:
        The finished loop; its ``history`` has an entry per epoch.

    Raises:
        ValueError: there are no normals, ``batch_size`` is too small, or training diverged.

    Source:
        Pang et al. (KDD 2019), Algorithm 1; Ding et al. (CVPR 2022).

    Example:
        >>> from heterad.nn.devnet import DevNet
        >>> g = torch.Generator().manual_seed(0)
        >>> x, y = torch.rand(30, 4, generator=g), np.arange(30) % 5 == 0
        >>> fit_scorer(DevNet((4,), g), x, y, g, Recipe(epochs=2)).history["step"]
        [20, 40]
    """
    normal, anomaly = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
    if len(normal) == 0:
        raise ValueError("y: expected at least one normal (0), got none")
    pseudo = recipe.pseudo or len(anomaly) == 0
    normals = describe(x[normal], torch.zeros(len(normal), dtype=torch.int64, device=x.device)) if pseudo else None
    mixture = Mixture(x, [normal], [anomaly], recipe.batch_size, normals, [kinds_for(x.shape[1:])] if pseudo else ())
    kind = torch.as_tensor(y.astype(np.int64), device=x.device)
    scorer.draw_references(x, kind, generator)
    scorer.train()
    epoch_loss: list[Tensor] = []

    batches = mixture.batches(generator)

    def draw_loss(_: torch.Generator) -> Tensor:
        batch = next(batches)
        loss = scorer.loss(scorer(batch.x[0]), batch.kind[0]).mean() + scorer.penalty()
        epoch_loss.append(loss.detach())
        return loss

    def validate() -> float:
        value = -float(torch.stack(epoch_loss).mean())
        epoch_loss.clear()
        return value

    settings = Settings(recipe.epochs * recipe.batches, recipe.lr, recipe.batches, patience=None)
    loop = Loop(
        scorer, draw_loss, generator, settings, validate=validate if recipe.keep_best else None, callback=callback
    )
    if recipe.optimizer == "rmsprop":
        leaf = loop.vector.leaf
        loop.optimizer = torch.optim.RMSprop([leaf], lr=recipe.lr, alpha=0.9, eps=1e-7)
        loop.optimizer.register_step_pre_hook(lambda *_: _clip(leaf))
    loop.run()
    scorer.eval()
    return loop


def _clip(leaf: Tensor) -> None:
    nn.utils.clip_grad_norm_(leaf, 1.0)
