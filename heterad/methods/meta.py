"""What every meta-learner shares: the outer objective, validation, and the loop over random tasks."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from heterad import ops
from heterad.data.tasks import Episodes, TaskSet
from heterad.train import ALONE, Loop, Processes, Settings, keep

if TYPE_CHECKING:
    from typing_extensions import Self

OUTER = ("auc", "cross-entropy")


class MetaLearner(nn.Module, ABC):
    """A model that adapts to unlabelled support sets and scores rows, both batched over tasks.

    A method defines ``adapt`` and ``score``; the outer objective and its exact counterpart are common.

    Attributes:
        outer: the outer loss of a task with labelled anomalies, one of ``OUTER``: 1 - smoothed AUC, or the
            cross-entropy of the labels under the probability (e + s) / (1 + s) of an anomaly, e = 1e-8, for scores
            s >= 0.
        vector: while the learner is trained all its parameters as one leaf, else None; see ``heterad.train.Vector``.
        meta_learned: whether there is anything to meta-train; else ``adapt`` learns from the target task alone.
        log_odds: whether scores are a classifier's logarithms of s, of any sign.
        unit: the score of a row of which nothing is known, about, where scores are squared distances.
    """

    outer: str = "auc"
    vector: Tensor | None = None
    meta_learned: ClassVar[bool] = True
    log_odds: ClassVar[bool] = False
    unit: float = 1.0

    @abstractmethod
    def adapt(self, support: Tensor, mask: Tensor | None = None) -> Any:
        """Adapt to support sets ``[..., N, D]``, whose real rows ``mask [..., N]`` marks."""

    @classmethod
    def adapt_all(cls, learners: Sequence[Self], support: Tensor, mask: Tensor | None = None) -> list[Any]:
        """What ``adapt`` of each learner gives; a method may have a faster way than one after the other."""
        return [learner.adapt(support, mask) for learner in learners]

    @abstractmethod
    def score(self, x: Tensor, adapted: Any) -> Tensor:
        """Anomaly scores ``[..., M]`` of rows ``x [..., M, D]`` of the tasks adapted to; higher is more anomalous."""

    def query_scores(self, rows: Tensor, n_support: int, mask: Tensor | None = None) -> Tensor:
        """Adapt to each task's support set and score its query set; what compiled forms do in one call.

        Args:
            rows: each task's support set, then its query set ``[B, N + M, D]``.
            n_support: N.
            mask: the real rows of the support sets ``[B, N]``; None: all are.

        Returns:
            ``[B, M]``.
        """
        return self.score(rows[:, n_support:], self.adapt(rows[:, :n_support], mask))

    def loss(self, episodes: Episodes, *, trim: float = 0.0) -> Tensor:
        """The outer loss of each task, ``[B]``.

        1 - smoothed AUC of the query set, or the cross-entropy; for a task without labelled anomalies the mean score
        of its normals in ``unit``, or of a classifier, whose scores have no least value, their cross-entropy. Of the
        latter, the share ``trim`` with the highest scores is left out: what is called normal there may only be
        unlabelled.

        Source:
            Kumagai et al. (2023), Eq. (10), appendix F.3 for the cross-entropy and appendix A (there not divided
            by ``unit``, as is done here so that both kinds of tasks weigh alike).
        """
        return self.loss_of(*self._sides(episodes), episodes, trim)

    def loss_of(self, anomalies: Tensor, normals: Tensor, episodes: Episodes, trim: float) -> Tensor:
        """The outer loss of each task, given the scores of its query set's anomalies and normals."""
        p_mask, n_mask = episodes.anomaly_mask, episodes.normal_mask
        errors = softplus(normals) if self.log_odds else normals / self.unit
        if anomalies.shape[-1] == 0:
            return _trimmed_mean(errors, n_mask, trim)
        if self.outer == "auc":
            ranking = 1 - ops.smoothed_auc(anomalies, normals, pos_mask=p_mask, neg_mask=n_mask)
        else:
            ranking = _cross_entropy(anomalies, normals, p_mask, n_mask, self.log_odds)
        if p_mask is None:
            return ranking
        return torch.where(p_mask.any(-1), ranking, _trimmed_mean(errors, n_mask, trim))

    def auc(self, episodes: Episodes) -> Tensor:
        """The exact AUC of each task's query set, ``[B]`` float64; NaN for a task without labelled anomalies."""
        anomalies, normals = self._sides(episodes)
        scores = torch.cat([anomalies, normals], -1)
        truth = torch.zeros_like(scores, dtype=torch.int8)
        truth[..., : episodes.n_anomalies] = 1
        real = _real(anomalies, episodes.anomaly_mask), _real(normals, episodes.normal_mask)
        return ops.roc_auc(scores, truth, mask=torch.cat(real, -1))

    def _sides(self, episodes: Episodes) -> tuple[Tensor, Tensor]:
        """The scores of the query sets' anomalies and of their normals."""
        scores = self.query_scores(episodes.rows, episodes.n_support, episodes.support_mask)
        return scores[..., : episodes.n_anomalies], scores[..., episodes.n_anomalies :]


@dataclass(frozen=True)
class Sampling:
    """How tasks are sampled in training.

    Args:
        tasks_per_step: tasks whose mean loss makes a step; 1 is the paper's.
        support_size: at most so many support rows a task; None takes all unlabelled ones.
        query_size: at most so many query rows a task; None takes all labelled ones, the paper's.
        trim: see ``MetaLearner.loss``.
        foreign: of so many other tasks of the step, the labelled normals are anomalies of a task's query set too;
            less than ``tasks_per_step``. Likewise in validation, as far as there are others.

    Raises:
        ValueError: ``foreign`` is out of range.
    """

    tasks_per_step: int = 1
    support_size: int | None = None
    query_size: int | None = None
    trim: float = 0.0
    foreign: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.foreign, Integral) or not 0 <= self.foreign < self.tasks_per_step:
            wanted = f"an integer from 0 to {self.tasks_per_step - 1}, other tasks of a step"
            raise ValueError(f"foreign: expected {wanted}, got {self.foreign!r}")


def with_foreign(episodes: Episodes, n_tasks: int) -> Episodes:
    """Let the labelled normals of the next ``n_tasks`` tasks of a batch be anomalies of each task as well.

    What is normal elsewhere is seldom normal here, so that few labelled anomalies become many of many kinds. It fits
    where tasks differ in what is normal; validation tells.

    Args:
        episodes: of B tasks.
        n_tasks: how many others each is given, less than B.

    Returns:
        The episodes with ``n_tasks`` Q more anomalies a task, in front of its own.

    Raises:
        ValueError: there are not so many others.

    Cost:
        A copy of the rows.

    Example:
        >>> source = TaskSet(torch.eye(6), [1, 0, -1] * 2, ["a"] * 3 + ["b"] * 3)
        >>> drawn = source.episodes(torch.arange(2), torch.Generator().manual_seed(0))
        >>> with_foreign(drawn, 1).rows.argmax(-1).tolist()
        [[2, 4, 0, 1], [5, 1, 3, 4]]
    """
    if n_tasks >= len(episodes.tasks):
        raise ValueError(f"foreign: expected fewer than the {len(episodes.tasks)} tasks of a step, got {n_tasks}")
    if n_tasks == 0:
        return episodes
    support, query = episodes.support, episodes.query
    normals = query[:, episodes.n_anomalies :]
    others = torch.cat([normals.roll(-i, 0) for i in range(1, n_tasks + 1)], 1)
    mask = episodes.anomaly_mask
    if episodes.normal_mask is not None or mask is not None:
        real = _real(normals[..., 0], episodes.normal_mask)
        own = _real(query[:, : episodes.n_anomalies, 0], mask)
        mask = torch.cat([*(real.roll(-i, 0) for i in range(1, n_tasks + 1)), own], 1)
    rows = torch.cat([support, others, query], 1)
    n_anomalies = others.shape[1] + episodes.n_anomalies
    return replace(episodes, rows=rows, n_anomalies=n_anomalies, anomaly_mask=mask)


def meta_fit(
    learner: MetaLearner,
    source: TaskSet,
    generator: torch.Generator,
    *,
    validation: TaskSet | None = None,
    sampling: Sampling | None = None,
    settings: Settings | None = None,
    callback: Callable[[Loop], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    processes: Processes = ALONE,
) -> Loop:
    """Meta-train a learner in place on source tasks, keeping the weights with the best validation value.

    That value is the mean AUC of the validation tasks that have both classes or, where none has, minus their
    mean loss. Their support and query sets are drawn once.

    Args:
        learner: on the device of the tasks.
        source: tasks to learn from.
        generator: of the same device; the only source of randomness.
        validation: tasks to validate on; None trains to the end.
        sampling: how tasks are sampled.
        settings: steps, learning rate, evaluations and patience.
        callback: called with the loop after each evaluation.
        checkpoint: file to go on from where it is there, and to keep the training's state in; see ``keep``.
        processes: those that train together, all called with the same arguments: each step's tasks are shared.

    Returns:
        The finished loop: its history, its best step and value.

    Raises:
        ValueError: training diverged, the checkpoint is another run's, or there are more processes than tasks a step.
        ConnectionError: another process died, or did not answer in time.

    Source:
        Kumagai et al. (2023), Algorithm 1.

    Example:
        >>> from heterad.methods.robust_meta import RobustMeta
        >>> g = torch.Generator().manual_seed(0)
        >>> tasks = TaskSet(torch.rand(30, 4, generator=g), [1, 0, -1] * 10, [0] * 15 + [1] * 15)
        >>> learner = RobustMeta(4, torch.Generator().manual_seed(0))
        >>> meta_fit(learner, tasks, g, settings=Settings(max_iter=2)).step
        2
    """
    sampling = sampling or Sampling()
    settings = settings or Settings()
    support, query = sampling.support_size, sampling.query_size
    share = processes.share(sampling.tasks_per_step)

    def draw_loss(generator: torch.Generator) -> Tensor:
        episodes = source.sample(sampling.tasks_per_step, generator, support_size=support, query_size=query, part=share)
        episodes = with_foreign(episodes, sampling.foreign)
        return learner.loss(episodes, trim=sampling.trim).sum() / sampling.tasks_per_step

    validate = None
    if validation is not None:
        every = torch.arange(len(validation), device=validation.device)
        chunks = [
            with_foreign(drawn, min(sampling.foreign, len(drawn.tasks) - 1))
            for tasks in every.split(64)
            for drawn in [validation.episodes(tasks, generator, support_size=support, query_size=query)]
        ]

        def validate() -> float:
            with torch.no_grad():
                auc = torch.cat([learner.auc(chunk) for chunk in chunks]).nanmean()
                if auc.isnan():
                    auc = -torch.cat([learner.loss(chunk, trim=sampling.trim) for chunk in chunks]).mean()
                return float(auc)

    loop = Loop(learner, draw_loss, generator, settings, validate=validate, callback=callback, processes=processes)
    if checkpoint is not None:
        rows = hashlib.sha256(source.x.cpu().numpy().data).hexdigest()
        keep(loop, checkpoint, {"sampling": asdict(sampling), "seed": generator.initial_seed(), "rows": rows})
    return loop.run()


def _real(scores: Tensor, mask: Tensor | None) -> Tensor:
    """The mask, or one that marks every score."""
    return torch.ones_like(scores, dtype=torch.bool) if mask is None else mask


def _cross_entropy(
    anomalies: Tensor, normals: Tensor, p_mask: Tensor | None, n_mask: Tensor | None, log_odds: bool
) -> Tensor:
    """Mean over the rows of -log((e + s) / (1 + s)) for anomalies and -log((1 - e) / (1 + s)) for normals."""
    if log_odds:
        wrong = softplus(-anomalies), softplus(normals)
    else:
        wrong = torch.log1p(anomalies) - torch.log(anomalies + 1e-8), torch.log1p(normals)
    parts = (wrong[0], p_mask), (wrong[1], n_mask)
    kept = [(v if mask is None else torch.where(mask, v, 0)).sum(-1) for v, mask in parts]
    sizes = [v.new_full((), v.shape[-1]) if mask is None else mask.sum(-1) for v, mask in parts]
    return (kept[0] + kept[1]) / (sizes[0] + sizes[1])


def _trimmed_mean(scores: Tensor, mask: Tensor | None, trim: float) -> Tensor:
    real = _real(scores, mask)
    if trim > 0:
        ordered = torch.where(real, scores.detach(), torch.inf).sort(-1).values
        last = (real.sum(-1, keepdim=True) * (1 - trim)).ceil().long() - 1
        real = real & (scores.detach() <= ordered.gather(-1, last.clamp(min=0)))
    return torch.where(real, scores, 0).sum(-1) / real.sum(-1).clamp(min=1)
