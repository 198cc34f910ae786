"""What the methods share that train networks of their own for each target task."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from heterad.methods.baselines.stacked import Weights, shares, stack, train
from heterad.methods.baselines.target_only import TargetOnly
from heterad.methods.checks import check_rows
from heterad.nn import MLP

if TYPE_CHECKING:
    from typing_extensions import Self


class Networks(TargetOnly):
    """A method that trains networks on a task's support set by Adam: those of all tasks of a batch at once.

    Attributes:
        STACKED: hyper-parameters in which the learners of one stack may differ.
        n_iter: training steps over all rows.
        lr: Adam's learning rate.
    """

    STACKED: ClassVar[tuple[str, ...]] = ()
    n_iter: int
    lr: float

    @abstractmethod
    def nets(self) -> tuple[MLP, ...]:
        """The networks with the weights to start from."""

    @abstractmethod
    def slope(
        self, support: Tensor, share: Tensor, **stacked: Sequence[float]
    ) -> Callable[[Weights], tuple[Tensor, Tensor]]:
        """What ``train`` descends.

        Args:
            support: rows ``[M, ..., N, D]`` of M models.
            share: weight of each row in its task's mean ``[..., N]``.
            stacked: each of ``STACKED``, of every model.
        """

    def finish(self, weights: Weights, support: Tensor, share: Tensor) -> Any:
        """What ``score`` needs, given this learner's trained weights."""
        return weights

    def adapt(
        self, support: Tensor, mask: Tensor | None = None, *, callback: Callable[[int, int], None] | None = None
    ) -> Any:
        """Train networks for each task; ``callback`` is told the steps done and their number."""
        return self.adapt_all([self], support, mask, callback=callback)[0]

    @classmethod
    def adapt_all(
        cls,
        learners: Sequence[Self],
        support: Tensor,
        mask: Tensor | None = None,
        *,
        callback: Callable[[int, int], None] | None = None,
    ) -> list[Any]:
        """As ``adapt`` of each, but trained at once.

        A stack holds the networks of all learners whose settings are the same but for ``STACKED``, initial weights
        and ``n_iter``. Those that differ in ``n_iter`` alone are the same networks, looked at sooner or later.

        Cost:
            Of each stack: its longest training for every model that differs in more than ``n_iter``.
        """
        check_rows(support, learners[0].nets()[0].sizes[0])
        share = shares(support, mask)
        stacks: dict[Hashable, dict[Hashable, list[int]]] = defaultdict(lambda: defaultdict(list))
        for i, learner in enumerate(learners):
            common, own = learner._key()
            stacks[common][own].append(i)
        adapted: list[Any] = [None] * len(learners)
        for models in stacks.values():
            first = [learners[same[0]] for same in models.values()]
            every = support.expand(len(first), *support.shape).contiguous()
            stacked = {name: [getattr(m, name) for m in first] for name in cls.STACKED}
            start = [[w for net in m.nets() for w in stack(net, support.shape[:-2])] for m in first]
            n_iters = {learners[i].n_iter for same in models.values() for i in same}
            trained = train(
                tuple(torch.stack(w) for w in zip(*start, strict=True)),
                first[0].slope(every, share, **stacked),
                n_iters,
                first[0].lr,
                callback,
            )
            for m, same in enumerate(models.values()):
                for i in same:
                    own_weights = tuple(w[m] for w in trained[learners[i].n_iter])
                    adapted[i] = learners[i].finish(own_weights, support, share)
        return adapted

    def _key(self) -> tuple[Hashable, Hashable]:
        """What the learners of a stack share, and what those share whose networks are the same."""
        settings = {k: v for k, v in vars(self).items() if k[0] != "_" and k not in ("training", "n_iter")}
        own = tuple(settings.pop(name) for name in self.STACKED)
        shapes = type(self), *((p.shape, p.dtype) for p in self.parameters())
        start = b"".join(p.detach().cpu().numpy().tobytes() for p in self.parameters())
        return (tuple(settings.items()), shapes), (own, start)
