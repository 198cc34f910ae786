"""The robust meta-learning detector with scikit-learn's interface."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from heterad.data.columns import Columns
from heterad.data.tasks import TaskSet
from heterad.detectors import model_file
from heterad.detectors.adapted_tasks import AdaptedTasks
from heterad.detectors.calibration import calibrate
from heterad.detectors.inputs import check_groups, check_labels, count_labels, fit_scaling
from heterad.detectors.parameters import check_device, check_parameters, seeds
from heterad.detectors.task import TaskDetector
from heterad.detectors.thresholds import ThresholdMixin
from heterad.methods import RobustMeta, Sampling, meta_fit
from heterad.train import ALONE, Loop, Processes, Settings

MAX_OWN_SUPPORT = 10_000


class RobustMetaDetector(ThresholdMixin, model_file.StoredMixin, BaseEstimator):
    """Learn from many related tasks, then adapt in closed form to a task of unlabelled, contaminated rows.

    Args:
        n_iter: alternations of the closed-form adaptation, I.
        task_dim: length of the task vector, K.
        embed_dim: length of the embedding, J.
        hidden: width of the hidden layers.
        lam_init: initial weight lambda of the anomalous attributes' l1 norm, > 0; it is learned.
        mu_init: initial weight mu of the decoder's squared norm, > 0; it is learned.
        tasks_per_step: tasks whose mean loss makes a training step; 1 is the paper's.
        foreign: of so many other tasks of a step, fewer than ``tasks_per_step``, the labelled normals are anomalies of
            each task. It helps where tasks differ in what is normal, and harms where they share it.
        support_size: at most so many unlabelled rows of a task are drawn for a step; None takes all.
        query_size: at most so many labelled rows of a task are drawn for a step; None takes all.
        max_iter: at most so many training steps.
        lr: Adam's learning rate.
        eval_every: training steps between looks at the validation tasks.
        patience: stop after so many looks without a better validation AUC; None trains for ``max_iter`` steps.
        schedule: "constant" or "cosine", which lowers the learning rate to 0 at ``max_iter``.
        warm_up: training steps over which the learning rate first rises in proportion.
        averaging: decay of a moving average of the weights, which is kept in their place, in [0, 1); 0 averages not.
        validation_fraction: share of the tasks kept for validation; of fewer than 1 / validation_fraction tasks
            none is, and training then takes ``max_iter`` steps and keeps the last weights.
        scale: "standard" standardises each feature with its mean and standard deviation in the source tasks;
            "global" uses one mean and one standard deviation for all, which suits features of one kind, such as
            pixels; None leaves features as they are.
        contamination: share of anomalies presumed in unlabelled rows; sets the default threshold.
        device: where to compute, as ``torch.device`` takes it; None is the CPU.
        random_state: int, ``numpy.random.RandomState`` or None. An int gives the same scores bit for bit on the
            CPU of one machine.

    Attributes:
        history_: lists ``step``, ``loss``, ``validation``, ``seconds``, an entry per look.
        n_iter_: training steps taken; best_iter_: the step whose weights are kept.
        best_validation_: its validation value (mean AUC), or None.
        validation_groups_: the tasks that validated.
        calibration_: a ``Calibration`` of p-values from their normal rows, or None where there are none.
        learned_from_: counts of ``rows``, ``tasks``, ``anomalies``, ``normals`` and ``unlabelled`` rows.
        columns_: what ``fit`` was told of the columns of files, or None.
        task_: the ``TaskDetector`` of the training rows themselves.
        support_scores_, threshold_: as in ``TaskDetector``, of ``task_``.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Source:
        Kumagai et al., "Meta-learning for Robust Anomaly Detection", AISTATS 2023.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(60, 4))
        >>> y = np.tile([1, 0, 0, -1, -1, -1], 10)
        >>> groups = np.repeat(np.arange(6), 10)
        >>> detector = RobustMetaDetector(max_iter=10, eval_every=5).fit(X, y, groups)
        >>> detector.adapt(X[:20]).decision_function(X[:3]).shape
        (3,)
    """

    def __init__(
        self,
        n_iter: int = 10,
        task_dim: int = 32,
        embed_dim: int = 32,
        hidden: int = 32,
        lam_init: float = 0.1,
        mu_init: float = 0.1,
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
        self.n_iter = n_iter
        self.task_dim = task_dim
        self.embed_dim = embed_dim
        self.hidden = hidden
        self.lam_init = lam_init
        self.mu_init = mu_init
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
    ) -> RobustMetaDetector:
        """Meta-train on the tasks in ``X``, then adapt to ``X`` itself.

        A task with labelled anomalies is learned by the smoothed AUC of its labelled rows, one with labelled
        normals only by their reconstruction error. Without any label all rows are presumed normal, but for the
        share ``contamination`` that reconstructs worst.

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
            ``max_iter`` steps of O(tasks_per_step · rows of a task · n_iter · J D); memory, beside X if that is
            float64, two copies of the rows in float32 while they are scaled and sorted, and then one.
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
        self.n_iter_ = loop.step
        self.best_iter_ = loop.best_step
        self.best_validation_ = loop.best_value if np.isfinite(loop.best_value) else None
        self.model_ = model.double().requires_grad_(False)
        self.scaling_ = scaling
        own = np.flatnonzero(labels == -1) if (labels == -1).sum() >= 2 else np.arange(len(X))
        if len(own) > MAX_OWN_SUPPORT:
            own = own[rng.choice(len(own), MAX_OWN_SUPPORT, replace=False)]
        self._take_task(self._new_task(X[own]))
        n_held = len(self.validation_groups_)
        self.calibration_ = calibrate(self.many_tasks(n_held), X[held_out], labels[held_out], groups[held_out], rng)
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
            O(n J (D + J) n_iter) time, O(n (D + J)) memory: milliseconds for hundreds of rows.

        Source:
            Kumagai et al. (2023), Eqs. (1) and (4) to (6).
        """
        check_is_fitted(self, "task_")
        X = validate_data(self, X, reset=False, dtype=np.float64, order="C", ensure_min_samples=2)
        task = self._new_task(X)
        task.calibration_ = self.calibration_
        return task

    def many_tasks(self, n_tasks: int, file: str | os.PathLike[str] | None = None) -> AdaptedTasks:
        """Room for ``n_tasks`` tasks to adapt and score together; for ``score_files``."""
        check_is_fitted(self, "task_")
        return AdaptedTasks(self.model_, self.scaling_, self.task_.adapted_, n_tasks, file)

    def decision_function(self, X) -> np.ndarray:
        """Score rows as members of the training rows' own task; see ``fit`` and ``TaskDetector``.

        Args:
            X: features ``[n, D]``, finite.

        Returns:
            float64 ``[n]``; higher is more anomalous.
        """
        check_is_fitted(self, "task_")
        return self.task_.scores(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def explain(self, X) -> np.ndarray:
        """Anomalous attributes ``[n, D]`` of rows of the training rows' own task; see ``TaskDetector``."""
        check_is_fitted(self, "task_")
        return self.task_.attributes(validate_data(self, X, reset=False, dtype=np.float64, order="C"))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted detector to one safetensors file, without pickle; see ``load``.

        Args:
            path: the file; an existing one is replaced whole or not at all.

        Raises:
            OSError: the file cannot be written.
        """
        check_is_fitted(self, "task_")
        model_file.write(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str | torch.device | None = None) -> RobustMetaDetector:
        """Read a detector that ``save`` wrote; its scores are bitwise those of the saved one (on the CPU).

        Args:
            path: the file. Reading it never executes code.
            device: where the loaded detector computes; None is the CPU, wherever it was trained.

        Returns:
            The fitted detector.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is damaged, foreign, or of a newer version of this library.
        """
        return model_file.read(cls, path, device)

    def _contents(self) -> tuple[dict[str, torch.Tensor], dict]:
        return model_file.contents(self)

    def _restore(self, tensors: dict[str, torch.Tensor], record: dict) -> None:
        model_file.restore(self, tensors, record)

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

    def _new_model(self, seed: int = 0) -> RobustMeta:
        return RobustMeta(
            self.n_features_in_,
            torch.Generator().manual_seed(seed),
            task_dim=int(self.task_dim),
            embed_dim=int(self.embed_dim),
            hidden=int(self.hidden),
            n_iter=int(self.n_iter),
            lam_init=float(self.lam_init),
            mu_init=float(self.mu_init),
        )

    def _new_task(self, x: np.ndarray | None = None) -> TaskDetector:
        task = TaskDetector(self.contamination)
        task.n_features_in_ = self.n_features_in_
        if hasattr(self, "feature_names_in_"):
            task.feature_names_in_ = self.feature_names_in_
        return task if x is None else task.adapt_to(x, self.model_, self.scaling_)

    def _take_task(self, task: TaskDetector) -> RobustMetaDetector:
        self.task_ = task
        self.support_scores_, self.threshold_ = task.support_scores_, task.threshold_
        return self
