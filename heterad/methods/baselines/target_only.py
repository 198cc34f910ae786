"""What the methods share that learn nothing from source tasks."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from heterad.data.tasks import Episodes
from heterad.methods.meta import MetaLearner


class TargetOnly(MetaLearner):
    """A method that is trained on a task's own support set alone, in ``adapt``."""

    meta_learned: ClassVar[bool] = False

    def loss(self, episodes: Episodes, *, trim: float = 0.0) -> Tensor:
        """Refuse to be meta-trained.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"learner: expected one with meta-learned parameters, got {type(self).__name__}")
