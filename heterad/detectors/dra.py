"""DRA with scikit-learn's interface."""

from __future__ import annotations

import numpy as np
import torch

from heterad.detectors.scored import ScoredDetector
from heterad.methods.supervised import Recipe
from heterad.nn.dra import DRA
from heterad.nn.scorer import Scorer


class DRADetector(ScoredDetector):
    """Learn what is normal, like seen anomalies, like pseudo anomalies, and far from known normals, in four heads.

    Args:
        hidden: width of the hidden layers, and channels of the residual head for maps.
        l2: weight of the squared norm of the weight matrices.
        top: share of a map's places that make its score.
        n_references: normals that residuals are measured to; None is 512 for vectors and 5 for maps.
        epochs: epochs.
        batches: steps of an epoch.
        batch_size: rows of a step, a third of them normals, seen anomalies and pseudo anomalies each.
        lr: learning rate of Adam; the published one, which on vectors was better than 1e-3 too (development draws).
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
        history_: lists ``step``, ``loss``, ``validation`` (None), ``seconds``, an entry per epoch.
        n_iter_: steps taken.
        support_scores_: scores of the normals that set the threshold, none measured to itself.
        threshold_: the score above which ``predict`` says 1; see ``set_threshold``.
        learned_from_: counts of ``rows``, ``anomalies``, ``normals`` and ``unlabelled`` rows.
        columns_: what ``fit`` was told of the columns of files, or None.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Source:
        Ding, Pang and Shen, "Catching Both Gray and Black Swans: Open-set Supervised Anomaly Detection", CVPR 2022.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 4))
        >>> y = np.arange(60) % 10 == 0
        >>> sorted(DRADetector(epochs=2).fit(X, y).explain(X[:3]))
        ['normality', 'pseudo', 'residual', 'seen']
    """

    def __init__(
        self,
        hidden: int = 64,
        l2: float = 1e-5,
        top: float = 0.1,
        n_references: int | None = None,
        epochs: int = 30,
        batches: int = 20,
        batch_size: int = 48,
        lr: float = 2e-4,
        backbone: str | None = None,
        scale: str | None = "standard",
        contamination: float = 0.1,
        validation_fraction: float = 0.0,
        device: str | torch.device | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.hidden = hidden
        self.l2 = l2
        self.top = top
        self.n_references = n_references
        self.epochs = epochs
        self.batches = batches
        self.batch_size = batch_size
        self.lr = lr
        self.backbone = backbone
        self.scale = scale
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state

    def _new_model(self, seed: int) -> Scorer:
        g = torch.Generator().manual_seed(seed)
        return DRA(self.shape_, g, hidden=self.hidden, l2=self.l2, top=self.top, n_references=self.n_references)

    def _recipe(self) -> Recipe:
        return Recipe(self.epochs, self.batches, self.batch_size, self.lr)
