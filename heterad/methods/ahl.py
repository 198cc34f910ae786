"""Anomaly heterogeneity learning (Zhu et al., CVPR 2024): one scorer from many simulated anomaly distributions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, vmap

from heterad.data.augment import describe, kinds_for
from heterad.data.mixture import Batch, Mixture
from heterad.data.partition import Distribution, anomaly_distributions, cluster_normals, random_clusters
from heterad.methods.generalisation import Generalisation
from heterad.nn.scorer import Scorer
from heterad.train import Loop, Settings


@dataclass(frozen=True)
class AHLRecipe:
    """How a unified model is learned.

    Args:
        epochs: epochs; weights of the base models change from one to the next.
        batches: updates of the unified model in an epoch.
        batch_size: rows of a batch and base model.
        lr: learning rate of the unified model g (paper: 2e-3).
        inner_steps: updates of the base models before each update of g.
        inner_lr: their learning rate (paper: 2e-4).
        second_order: whether the gradient of g goes through the updates of the base models; with one inner step it
            is the same, as Adam's first step is only the gradient's sign.
        n_clusters: C, clusters of the normals (paper: 3).
        window: K, epochs that the importance model looks back (paper: 5); None weighs all base models alike.
        temperature: of the softmax of Eq. (7); the paper's is 1.
        clusters: "kmeans", or "random" subsets of the normals for comparison.
        learn_on: "query" (the paper's), or "support" to learn in a closed world for comparison.
    """

    epochs: int = 30
    batches: int = 20
    batch_size: int = 48
    lr: float = 2e-3
    inner_steps: int = 2
    inner_lr: float = 2e-4
    second_order: bool = False
    n_clusters: int = 3
    window: int | None = 5
    temperature: float = 1.0
    clusters: str = "kmeans"
    learn_on: str = "query"


class AHL:
    """Algorithm 1. The unified model g is trained in place; the T base models are one stack of its parameters.

    Args:
        model: g, on the device of the rows.
        x: rows ``[n, d]`` or ``[n, C, H, W]``.
        y: 1 seen anomaly, 0 normal ``[n]``; at least two normals.
        generator: of that device; source of batches, pseudo anomalies and references.
        rng: source of the partition.
        recipe: how.

    Attributes:
        distributions: the T simulated anomaly distributions D_i.
        weights: w_i ``[T]``.

    Source:
        Zhu et al. (CVPR 2024), Algorithm 1.

    Example:
        >>> from heterad.nn.devnet import DevNet
        >>> g = torch.Generator().manual_seed(0)
        >>> x, y = torch.rand(30, 4, generator=g), (np.arange(30) % 5 == 0).astype(int)
        >>> ahl = AHL(DevNet((4,), g), x, y, g, np.random.default_rng(0), AHLRecipe(epochs=2))
        >>> loop = ahl.fit()
        >>> len(ahl.distributions), loop.step, [len(w) for w in loop.history["w"]]
        (7, 40, [7, 7])
    """

    def __init__(
        self,
        model: Scorer,
        x: Tensor,
        y: np.ndarray,
        generator: torch.Generator,
        rng: np.random.Generator,
        recipe: AHLRecipe,
    ) -> None:
        self.model, self.generator, self.recipe = model, generator, recipe
        normal, anomaly = np.flatnonzero(y == 0), np.flatnonzero(y == 1)
        cluster = self._cluster(x, normal, rng)
        self.distributions = anomaly_distributions(normal, anomaly, cluster, rng)
        self.support, self.query = self._mixtures(x, normal, cluster, rng)
        judged = self.query if recipe.learn_on == "query" else self.support
        self._trains, self._judges = self.support.batches(generator), judged.batches(generator)
        self._shapes = {name: p.shape for name, p in model.named_parameters() if p.requires_grad}
        if not self._shapes:
            raise ValueError("base: expected parameters to train, got none")
        self.weights = x.new_full((len(self.distributions),), 1 / len(self.distributions))
        self.generalisation = Generalisation(self.distributions, y, generator, recipe.window, recipe.temperature)
        self._x = x
        self._theta: Tensor
        with torch.no_grad():
            model.draw_references(x, torch.as_tensor(y.astype(np.int64), device=x.device), generator)
            model(x[:2])  # a base of the wrong shape says so here, and not from within vmap

    def fit(self, *, callback: Callable[[Loop], None] | None = None) -> Loop:
        """Alternate Eqs. (1) and (4) to the end.

        Args:
            callback: called with the loop after each epoch.

        Returns:
            The finished loop; an entry of its ``history`` per epoch, with the weights ``w`` used in it and the
            generalisation errors ``r`` estimated after it (None before there is a sequence to learn from).

        Raises:
            ValueError: the model cannot be run as a stack, see ``Scorer``; training diverged.

        Cost:
            epochs x batches x (inner_steps + 1) passes over T x batch_size rows, the T models in one batch; memory
            of the activations of one such pass, of inner_steps + 1 with ``second_order``.
        """

        def end_epoch(loop: Loop) -> None:
            loop.history.setdefault("w", []).append(self.weights.tolist())
            self.weights, r = self.generalisation.look(self.scores(self._theta))
            loop.history.setdefault("r", []).append(r)
            if callback is not None:
                callback(loop)

        recipe = self.recipe
        settings = Settings(recipe.epochs * recipe.batches, recipe.lr, recipe.batches, patience=None)
        self.model.train()
        self._check_stacks()
        loop = Loop(self.model, lambda _: self.draw_loss(), self.generator, settings, callback=end_epoch).run()
        self.model.eval()
        return loop

    def _check_stacks(self) -> None:
        t, rows = len(self.distributions), self._x[:2]
        each, kind = rows.expand(t, *rows.shape), torch.zeros(t, 2, dtype=torch.int64, device=rows.device)
        theta = self._parameters().expand(t, -1)
        try:
            heads = self.heads(theta, rows, same_rows=True)
            self.heads(theta, each)
        except RuntimeError as error:
            raise ValueError(
                "base: expected a forward that torch.func.vmap can run, without batch normalisation that keeps running "
                f"statistics, dropout, or .item(), got one of which torch says: {str(error).splitlines()[0]}"
            ) from error
        if not self.losses(theta, Batch(each, kind)).requires_grad:
            raise ValueError("base: expected losses that depend on the parameters, got some without a gradient")
        total = self.model.total(heads)
        for what, found in (("total", total), ("probability", self.model.probability(total))):
            if not isinstance(found, Tensor) or found.shape != kind.shape:
                wanted = f"one number of each score, of shape {tuple(kind.shape)}"
                raise ValueError(f"base: expected {what} to give {wanted}, got {_form(found)}")

    def _parameters(self) -> Tensor:
        """What is trained of g, ``[P]``."""
        parameters = dict(self.model.named_parameters())
        return torch.cat([parameters[name].flatten() for name in self._shapes])

    def draw_loss(self) -> Tensor:
        """Eq. (4) on fresh batches: sum_i w_i L(query_i; theta_i), theta_i adapted to support_i from theta_g."""
        self._theta = self.adapt([next(self._trains) for _ in range(self.recipe.inner_steps)])
        return (self.weights * self.losses(self._theta, next(self._judges))).sum() + self.model.penalty()

    def adapt(self, batches: list[Batch]) -> Tensor:
        """Eq. (1): the parameters of all base models, ``[T, P]``, after one Adam step per support batch.

        Each starts at theta_g. In the first order they move with theta_g as if the steps did not depend on it.
        """
        start = self._parameters().expand(len(self.distributions), -1)
        if self.recipe.second_order:
            return self._adapt_exactly(start, batches)
        theta = start.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
        optimizer = torch.optim.Adam([theta], lr=self.recipe.inner_lr, fused=True)
        for batch in batches:
            (theta.grad,) = torch.autograd.grad(self.losses(theta, batch).sum(), theta)
            optimizer.step()
        return _MovesAlong.apply(start, theta.detach())

    def _adapt_exactly(self, theta: Tensor, batches: list[Batch]) -> Tensor:
        """The same steps of Adam, as functions of where they start."""
        mean = square = torch.zeros_like(theta)
        for step, batch in enumerate(batches, 1):
            (slope,) = torch.autograd.grad(self.losses(theta, batch).sum(), theta, create_graph=True)
            mean = 0.9 * mean + 0.1 * slope
            square = 0.999 * square + 0.001 * slope.square()
            size = (square / (1 - 0.999**step)).clamp(min=1e-32).sqrt() + 1e-8  # the root's own slope at 0 is infinite
            theta = theta - self.recipe.inner_lr / (1 - 0.9**step) * mean / size
        return theta

    def losses(self, theta: Tensor, batch: Batch) -> Tensor:
        """The mean loss of each base model on its own rows, ``[T]``, in one batched pass."""
        found = self.model.loss(self.heads(theta, batch.x), batch.kind)
        if not isinstance(found, Tensor) or found.shape != batch.kind.shape:
            shapes = f"{tuple(batch.kind.shape)}, one of each row, got {_form(found)}"
            raise ValueError(f"base: expected losses of shape {shapes}; leave their mean to AHL")
        return found.mean(-1)

    def heads(self, theta: Tensor, x: Tensor, *, same_rows: bool = False) -> dict[str, Tensor]:
        """Scores ``[T, n]`` by head of rows ``x [T, n, ...]``, or of rows ``x [n, ...]`` that all models share."""
        parts = theta.split([shape.numel() for shape in self._shapes.values()], -1)
        stack = {name: part.view(-1, *shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}
        each = vmap(lambda p, rows: functional_call(self.model, p, (rows,)), in_dims=(0, None if same_rows else 0))
        return each(stack, x)

    @torch.no_grad()
    def scores(self, theta: Tensor) -> Tensor:
        """What every base model makes of every training row, in [0, 1], ``[n, T]``."""
        parts = self._x.split(max(1, 2**20 // self._x[0].numel()))
        total = [self.model.total(self.heads(theta, part, same_rows=True)) for part in parts]
        found = self.model.probability(torch.cat(total, -1)).T
        if not ((found >= 0) & (found <= 1)).all():
            got = f"{found.min():.3g} to {found.max():.3g}"
            raise ValueError(f"base: expected probability to give numbers from 0 to 1, got {got}")
        return found

    def _cluster(self, x: Tensor, normal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.recipe.clusters == "random":
            return random_clusters(len(normal), self.recipe.n_clusters, rng)
        rows = x[torch.as_tensor(normal, device=x.device)]
        features = rows.flatten(2).mean(-1) if rows.ndim > 2 else rows
        return cluster_normals(features.cpu().numpy(), self.recipe.n_clusters, rng)

    def _mixtures(
        self, x: Tensor, normal: np.ndarray, cluster: np.ndarray, rng: np.random.Generator
    ) -> tuple[Mixture, Mixture]:
        """Support and query sets, whose pseudo anomalies are of different kinds."""
        device = x.device
        normals = describe(x[torch.as_tensor(normal, device=device)], torch.as_tensor(cluster, device=device))
        kinds = _deal_kinds(self.distributions, kinds_for(tuple(x.shape[1:])), rng)

        def mixture(normals_of: list[np.ndarray], anomalies_of: list[np.ndarray], side: int) -> Mixture:
            dealt = [pair[side] for pair in kinds]
            return Mixture(x, normals_of, anomalies_of, self.recipe.batch_size, normals, dealt)

        sets = self.distributions
        support = mixture([d.support_normal for d in sets], [d.support_anomaly for d in sets], 0)
        return support, mixture([d.query_normal for d in sets], [d.query_anomaly for d in sets], 1)


def _form(found: object) -> str:
    return str(tuple(found.shape)) if isinstance(found, Tensor) else type(found).__name__


def _deal_kinds(
    distributions: Sequence[Distribution], kinds: tuple[str, ...], rng: np.random.Generator
) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The kinds of pseudo anomalies in support and query of each distribution, which differ if there are two.

    Ordered pairs of kinds are dealt in turn, so that g learns from all kinds alike and not from those that chance
    dealt to the queries; the holistic set is judged by all kinds that it does not train on.
    """
    if len(kinds) == 1:
        return [(kinds, kinds)] * len(distributions)
    pairs = list(permutations(kinds, 2))
    order = rng.permutation(len(pairs))
    dealt: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for i, distribution in enumerate(distributions):
        support, query = pairs[order[i % len(pairs)]]
        others = tuple(kind for kind in kinds if kind != support)
        dealt.append(((support,), (query,) if distribution.clusters else others))
    return dealt


class _MovesAlong(torch.autograd.Function):
    """``moved``, whose gradient goes to ``start`` as if the way between them did not depend on it."""

    @staticmethod
    def forward(ctx, start: Tensor, moved: Tensor) -> Tensor:
        return moved.view_as(moved)

    @staticmethod
    def backward(ctx, slope: Tensor) -> tuple[Tensor, None]:
        return slope, None
