"""DevNet with scikit-learn's interface."""

from __future__ import annotations

import numpy as np
import torch

from heterad.detectors.scored import ScoredDetector
from heterad.methods.supervised import Recipe
from heterad.nn.devnet import DevNet
from heterad.nn.scorer import Scorer


class DevNetDetector(ScoredDetector):
    """Learn one anomaly score from few labelled anomalies and many presumed normals, by the deviation loss.

    Where None stands, what was published is taken: for vectors RMSprop, for feature maps Adam.

    Args:
        hidden: width of the hidden layer for vectors.
        l2: weight of the squared norm of the weights that ``hidden`` gives, or of a map's channel weights; None: 0.01
            for vectors, 1e-5 for maps.
        top: share of a map's places that make its score.
        epochs: epochs; the weights of the one with the lowest mean loss are kept.
        batches: steps of an epoch.
        batch_size: rows of a step, half of them anomalies; None: 512 vectors, 48 maps.
        lr: learning rate; None: 1e-3 for vectors, 2e-4 for maps.
        pseudo: whether a third of each batch are pseudo anomalies.
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
        history_: lists ``step``, ``loss``, ``validation`` (minus the loss), ``seconds``, an entry per epoch.
        n_iter_: steps taken.
        support_scores_: scores of the normals that set the threshold.
        threshold_: the score above which ``predict`` says 1; see ``set_threshold``.
        learned_from_: counts of ``rows``, ``anomalies``, ``normals`` and ``unlabelled`` rows.
        columns_: what ``fit`` was told of the columns of files, or None.
        n_features_in_, feature_names_in_: as in scikit-learn.

    Source:
        Pang, Shen and van den Hengel, "Deep Anomaly Detection with Deviation Networks", KDD 2019.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(60, 4))
        >>> y = np.arange(60) % 10 == 0
        >>> DevNetDetector(epochs=2).fit(X, y).decision_function(X[:3]).shape
        (3,)
    """

    def __init__(
        self,
        hidden: int = 20,
        l2: float | None = None,
        top: float = 0.1,
        epochs: int = 50,
        batches: int = 20,
        batch_size: int | None = None,
        lr: float | None = None,
        pseudo: bool = False,
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
        self.epochs = epochs
        self.batches = batches
        self.batch_size = batch_size
        self.lr = lr
        self.pseudo = pseudo
        self.backbone = backbone
        self.scale = scale
        self.contamination = contamination
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state

    def _new_model(self, seed: int) -> Scorer:
        g = torch.Generator().manual_seed(seed)
        return DevNet(self.shape_, g, hidden=self.hidden, l2=self.l2, top=self.top)

    def _recipe(self) -> Recipe:
        optimizer, batch_size, lr = ("rmsprop", 512, 1e-3) if len(self.shape_) == 1 else ("adam", 48, 2e-4)
        return Recipe(
            self.epochs,
            self.batches,
            self.batch_size or batch_size,
            self.lr or lr,
            optimizer=optimizer,
            pseudo=self.pseudo,
            keep_best=True,
        )
