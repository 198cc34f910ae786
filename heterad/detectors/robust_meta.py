"""The robust meta-learning detector with scikit-learn's interface."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted, validate_data

from heterad.detectors import model_file
from heterad.detectors.adapted_tasks import AdaptedTasks
from heterad.detectors.meta import MetaDetector
from heterad.methods import RobustMeta


class RobustMetaDetector(model_file.StoredMixin, MetaDetector):
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

    def many_tasks(self, n_tasks: int, file: str | os.PathLike[str] | None = None) -> AdaptedTasks:
        """Room for ``n_tasks`` tasks to adapt and score together; for ``score_files``."""
        check_is_fitted(self, "task_")
        return AdaptedTasks(self.model_, self.scaling_, self.task_.adapted_, n_tasks, file)

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

    def _score_each(self, supports: Sequence[np.ndarray], rows: Sequence[np.ndarray]) -> np.ndarray:
        tasks = np.arange(len(supports))
        adapted = self.many_tasks(len(tasks))
        adapted.adapt(tasks, np.concatenate(supports), np.array([len(s) for s in supports]), 0.0)
        scores, _ = adapted.score(np.concatenate(rows), np.repeat(tasks, [len(x) for x in rows]))
        return scores
