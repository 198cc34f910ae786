"""What the methods share that learn nothing from source tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from heterad.data.tasks import Episodes
from heterad.methods.meta import MetaLearner

if TYPE_CHECKING:
    from typing_extensions import Self


class TargetOnly(MetaLearner):
    """A method that is trained on a task's own support set alone, in ``adapt``."""

    meta_learned: ClassVar[bool] = False

    @classmethod
    def adapt_all(cls, learners: Sequence[Self], support: Tensor, mask: Tensor | None = None) -> list[Any]:
        """What ``adapt`` of each learner gives; a method may have a faster way than one after the other."""
        return [learner.adapt(support, mask) for learner in learners]

    def loss(self, episodes: Episodes, *, trim: float = 0.0) -> Tensor:
        """Refuse to be meta-trained.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"learner: expected one with meta-learned parameters, got {type(self).__name__}")
