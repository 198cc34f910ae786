"""Any meta-learner as a detector with scikit-learn's interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from heterad.data.columns import Columns
from heterad.data.tasks import TaskSet
from heterad.detectors.calibration import calibrate
from heterad.detectors.inputs import check_groups, check_labels, count_labels, fit_scaling
from heterad.detectors.parameters import check_device, check_parameters, seeds
from heterad.detectors.task import TaskDetector
from heterad.detectors.thresholds import ThresholdMixin
from heterad.methods import MetaLearner, Sampling, meta_fit
from heterad.train import ALONE, Loop, Processes, Settings

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_OWN_SUPPORT = 10_000


class MetaDetector(ThresholdMixin, BaseEstimator):
    """Learn from many related tasks, then adapt to a task of unlabelled, contaminated rows, by a method of choice.

    The methods are those of ``heterad.methods.baselines``, every form of ``RobustMeta``, and whatever else is a
    ``MetaLearner``. A method that learns from the target task alone takes of the source tasks the scaling and, trained
    on each that is held out, the calibration. Detectors are kept by pickle.

    Args:
        learner: makes the method's learner, given the number of features and a generator of random numbers: its
            class, or for other settings than its defaults a partial of it, ``partial(TNP, lam=1.0)``.
        tasks_per_step, foreign, support_size, query_size, max_iter, lr, eval_every, patience, schedule, warm_up,
            averaging, validation_fraction, scale, contamination, device, random_state: as in ``RobustMetaDetector``.

    Attributes:
        history_, n_iter_, best_iter_, best_validation_, validation_groups_, calibration_, learned_from_, columns_,
            task_, support_scores_, threshold_, n_features_in_, feature_names_in_: as in ``RobustMetaDetector``; of a
            method that is not meta-trained the history is empty.

    Source:
        Kumagai et al. (2023), section 4.2, whose methods of comparison these are.

    Example:
        >>> from heterad.methods.baselines import Proto
        >>> rng = np.random.default_rng(0)
        >>> X, y, groups = rng.normal(size=(60, 4)), np.tile([1, 0, 0, -1, -1, -1], 10), np.repeat(np.arange(6), 10)
        >>> detector = MetaDetector(Proto, max_iter=10, eval_every=5).fit(X, y, groups)
        >>> detector.adapt(X[:20]).decision_function(X[:3]).shape
        (3,)
    """

    def __init__(
        self,
        learner: Callable[[int, torch.Generator], MetaLearner],
        tasks_per_step: int = 8,
        foreign: int = 0,
        support_size: int | None = 128,
        query_size: int | None = 256,
        max_iter: int = 1000,
        lr: float = 1e-3,
        eval_every: int = 10,
        patience: int | None = 20,
        schedule: str = "constant",
        warm_up: int = 0,
        averaging: float = 0.0,
        validation_fraction: float = 0.2,
        scale: str | None = "standard",
        contamination: float = 0.1,
        device: str | torch.device | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.learner = learner
        self.tasks_per_step = tasks_per_step
        self.foreign = foreign
        self.support_size = support_size
        self.query_size = query_size
        self.max_iter = max_iter
        self.lr = lr
        self.eval_every = eval_every
        self.patience = patience
        self.schedule = schedule
        self.warm_up = warm_up
        self.averaging = averaging
        self.validation_fraction = validation_fraction
        self.scale = scale
        self.contamination = contamination
        self.device = device
        self.random_state = random_state

    def fit(
        self,
        X,
        y=None,
        groups=None,
        *,
        validation_groups: Sequence | None = None,
        callback: Callable[[Loop], None] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        processes: Processes = ALONE,
        columns: Columns | None = None,
    ) -> Self:
        """Meta-train on the tasks in ``X``, then adapt to ``X`` itself.

        A task with labelled anomalies is learned by the smoothed AUC of its labelled rows, one with labelled
        normals only by their mean score. Without any label all rows are presumed normal, but for the share
        ``contamination`` that scores highest.

        The detector's own ``decision_function`` then belongs to the training rows taken as one task: it is
        adapted to all unlabelled rows (to all rows where none is unlabelled; to a random 10,000 of them where
        there are more). Where tasks differ, use ``adapt`` with the rows of one.

        Args:
            X: features ``[n, D]``, finite.
            y: 1 anomaly, 0 normal, -1 unlabelled ``[n]``; None: nothing is labelled. Without ``groups``, integers
                of other values are ignored with a warning, since they belong to some other problem.
            groups: the task of each row ``[n]``, of one sortable type; None: one task.
            validation_groups: tasks to validate on, instead of ``validation_fraction`` of them at random.
            callback: called with the training loop after each look, e.g. to draw a progress bar.
            checkpoint: file to keep the training's state in, every few seconds; a run killed and repeated goes on
                from it and ends with the same weights, bit for bit on the CPU.
            processes: what ``heterad.train.join`` gave; all of them call ``fit`` with the same arguments and share
                the tasks of each step. The detector is then the same on all.
            columns: what the columns of files are, where ``X`` is the matrix that ``read_table`` made of them.

        Returns:
            The detector.

        Raises:
            ValueError: sizes do not match, a value is not finite, an option is out of range, or there are labels
                but a task without a normal row among them (named); the checkpoint is damaged or another run's;
                there are more processes than ``tasks_per_step``.
            ConnectionError: another process died, or did not answer in time.

        Cost:
            ``max_iter`` steps, of ``RobustMeta`` O(tasks_per_step · rows of a task · n_iter · J D) each; memory, beside
            X if that is float64, two copies of the rows in float32 while they are scaled and sorted, and then one.
        """
        check_parameters(self)
        X = validate_data(self, X, dtype=np.float64, order="C", ensure_min_samples=2)
        if columns is not None:
            self.feature_names_in_ = np.array(columns.names, dtype=object)
        labels = check_labels(y, len(X), one_task=groups is None)
        groups = check_groups(groups, len(X))
        init_seed, data_seed, split_seed = seeds(self.random_state)
        rng = np.random.default_rng(split_seed)
        self.validation_groups_ = self._choose_validation(np.unique(groups), validation_groups, rng)
        held_out = np.isin(groups, self.validation_groups_)

        labelled = (labels >= 0).any()
        outcome = labels if labelled else np.zeros_like(labels)
        scaling = fit_scaling(X[~held_out], self.scale)
        device = check_device(self.device)

        def tasks(part: np.ndarray) -> TaskSet:
            rows = np.flatnonzero(part)
            return TaskSet(scaling.apply_float32(X, rows), outcome[rows], groups[rows], device=device)

        model = self._new_model(init_seed).to(device)
        self.history_: dict[str, list[float]] = {}
        self.n_iter_ = self.best_iter_ = 0
        self.best_validation_: float | None = None
        if model.meta_learned:
            loop = meta_fit(
                model,
                tasks(~held_out),
                torch.Generator(device).manual_seed(data_seed),
                validation=tasks(held_out) if held_out.any() else None,
                sampling=Sampling(
                    self.tasks_per_step,
                    self.support_size,
                    self.query_size,
                    0.0 if labelled else self.contamination,
                    self.foreign,
                ),
                settings=Settings(
                    self.max_iter, self.lr, self.eval_every, self.patience, self.schedule, self.warm_up, self.averaging
                ),
                callback=callback,
                checkpoint=checkpoint,
                processes=processes,
            )
            self.history_ = loop.history
            self.n_iter_, self.best_iter_ = loop.step, loop.best_step
            self.best_validation_ = loop.best_value if np.isfinite(loop.best_value) else None
        self.model_: Any = model.double().requires_grad_(False)
        self.scaling_ = scaling
        own = np.flatnonzero(labels == -1) if (labels == -1).sum() >= 2 else np.arange(len(X))
        if len(own) > MAX_OWN_SUPPORT:
            own = own[rng.choice(len(own), MAX_OWN_SUPPORT, replace=False)]
        self._take_task(self._new_task(X[own]))
        self.calibration_ = calibrate(self._score_each, X[held_out], labels[held_out], groups[held_out], rng)
        self.learned_from_ = {"rows": len(X), "tasks": len(np.unique(groups))} | count_labels(labels)
        self.columns_ = columns
        return self

    def adapt(self, X) -> TaskDetector:
        """Adapt to one task given only unlabelled rows, of which some may be anomalous.

        Args:
            X: features ``[n, D]``, finite, n >= 2.

        Returns:
            A fitted detector of that task; this detector is not changed.

        Raises:
            ValueError: X has other features than the model, values that are not finite, or fewer than two rows.

        Cost:
            Of ``RobustMeta`` O(n J (D + J) n_iter) time, O(n (D + J)) memory: milliseconds for hundreds of rows. Of a
            method that trains networks here, seconds.

        Source:
            Kumagai et al. (2023), Eqs. (1) and (4) to (6).
        """
        check_is_fitted(self, "task_")
        X = validate_data(self, X, reset=False, dtype=np.float64, order="C", ensure_min_samples=2)
        task = self._new_task(X)
        task.calibration_ = self.calibration_
        return task

    def decision_function(self, X) -> np.ndarray:
        """Score rows as members of the training rows' own task; see ``fit`` and ``TaskDetector``.

        Args:
            X: features ``[n, D]``, finite.

        Returns:
            float64 ``[n]``; higher is more anomalous.
        """
        check_is_fitted(self, "task_")
        return self.task_.scores(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def _choose_validation(self, tasks: np.ndarray, chosen: Sequence | None, rng: np.random.Generator) -> np.ndarray:
        if chosen is None:
            return np.sort(rng.permutation(tasks)[: int(self.validation_fraction * len(tasks))])
        wanted = np.unique(np.asarray(chosen))
        unknown = wanted[~np.isin(wanted, tasks)]
        if unknown.size:
            raise ValueError(f"validation_groups: expected values of groups, got {unknown[:5].tolist()}")
        if len(wanted) == len(tasks):
            raise ValueError(f"validation_groups: expected to leave a task to train on, got all {len(tasks)}")
        return wanted

    def _new_model(self, seed: int = 0) -> MetaLearner:
        about = "learner: expected a class or function that makes a MetaLearner"
        if isinstance(self.learner, torch.nn.Module) or not callable(self.learner):
            raise TypeError(f"{about}, got {self.learner!r}")
        learner = self.learner(self.n_features_in_, torch.Generator().manual_seed(seed))
        if not isinstance(learner, MetaLearner):
            raise TypeError(f"{about}, got one that makes a {type(learner).__name__}")
        return learner

    def _score_each(self, supports: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> np.ndarray:
        """Adapt to each of these sets and score the rows of each, one after the other."""
        return np.concatenate([self._new_task(s).scores(x) for s, x in zip(supports, rows, strict=True)])

    def _new_task(self, x: np.ndarray | None = None) -> TaskDetector:
        task = TaskDetector(self.contamination)
        task.n_features_in_ = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            task.feature_names_in_ = self.feature_names_in_
        return task if x is None else task.adapt_to(x, self.model_, self.scaling_)

    def _take_task(self, task: TaskDetector) -> Self:
        self.task_ = task
        self.support_scores_, self.threshold_ = task.support_scores_, task.threshold_
        return self
