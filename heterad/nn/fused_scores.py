"""Adapting to support sets and scoring their queries as one node of autograd's graph, on the CPU.

With one task a step, what surrounds the parts of this composition costs as much as they do.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heterad.nn.compiled import alike, eager, twice
from heterad.nn.robust_autoencoder import RobustAutoencoder
from heterad.nn.set_encoder import SetEncoder, SetTransformer
from heterad.ops._library import address, differentiates, direct
from heterad.ops.ridge_solve import not_positive


def plain(
    encoder: SetEncoder | SetTransformer | None,
    autoencoder: RobustAutoencoder,
    rows: Tensor,
    n_support: int,
    mask: Tensor | None,
) -> Tensor:
    """What ``query_scores`` computes, part by part."""
    support, query = rows[..., :n_support, :], rows[..., n_support:, :]
    z = None if encoder is None else encoder(support, mask)
    w, _ = autoencoder.solve(support, z, mask)
    return autoencoder.score(query, z, w)


def query_scores(
    encoder: SetEncoder | SetTransformer | None,
    autoencoder: RobustAutoencoder,
    rows: Tensor,
    n_support: int,
    mask: Tensor | None,
    vector: Tensor | None = None,
) -> Tensor:
    """Adapt to each task's support set, then score its query set.

    The compiled form serves eager calls on the CPU of the paper's own form (a mean or sum of rows for a task vector,
    rows reconstructed, a learned start, one lambda); ``plain`` serves all others, and the second derivative.

    Args:
        encoder: of the task vectors; None where the autoencoder sees none.
        autoencoder: what is adapted.
        rows: each task's support set, then its query set ``[B, N + M, D]``.
        n_support: N.
        mask: the real rows of the support sets ``[B, N]``, or None.
        vector: a leaf that the parameters are parts of; the compiled form leaves their gradient there, and at them
            none. See ``heterad.train.Vector``.

    Returns:
        ``[B, M]``.

    Cost:
        That of the parts; h sees support and query in one call. Memory: their hidden values and residuals.

    Source:
        Kumagai et al. (2023), Algorithm 1, lines 5 to 10.
    """
    found = _composition(encoder, autoencoder)
    if (
        found is not None
        and eager()
        and rows.ndim == 3
        and 0 < n_support < rows.shape[1]
        and rows.shape[2] == found.widths[0][0]
        and not rows.requires_grad
    ):
        tensors = found.tensors()
        addresses = found.addresses(tensors)
        if found.serves(rows, tensors, addresses):
            model = Model(found, autoencoder, n_support, tensors, addresses)
            if differentiates(*tensors):
                whole = vector is not None and _within(vector, addresses)
                return _apply(model, rows, mask, vector if whole else None, *(() if whole else tensors))
            return model.forward(rows, mask)[0]
    return plain(encoder, autoencoder, rows, n_support, mask)


class Composition:
    """What stays the same from call to call: an encoder and an autoencoder of the paper's own form, taken apart."""

    def __init__(self, encoder: SetEncoder, autoencoder: RobustAutoencoder) -> None:
        self.encoder = encoder
        modules: list[tuple[dict[str, Any], str]] = [
            *((encoder._modules, name) for name in "fg"),
            *((autoencoder._modules, name) for name in "hv"),
        ]
        self.parts = [(holder, name, holder[name]) for holder, name in [*modules, (autoencoder._buffers, "center")]]
        nets: list[Any] = [net for _, _, net in self.parts[:4]]
        self.widths = [list(net.sizes) for net in nets]
        parameters = autoencoder._parameters
        places = [*(p for net in nets for p in net.places), (parameters, "log_lam"), (parameters, "log_mu")]
        self.absent = [i for i, (holder, name) in enumerate(places) if holder[name] is None]
        self.places = [place for i, place in enumerate(places) if i not in self.absent]
        self.shapes = [*(shape for net in nets for shape in net.shapes), torch.Size(), torch.Size()]
        self.checked: tuple[list[int], torch.dtype] | None = None
        self.last_room: tuple[tuple[Any, ...], int] = (), 0

    def holds(self, encoder: SetEncoder) -> bool:
        """Whether the two are still made of the same networks, with a lambda."""
        with_lambda = self.places[-2][0]["log_lam"] is not None
        return (
            with_lambda
            and encoder is self.encoder
            and all(holder.get(name) is part for holder, name, part in self.parts)
        )

    def tensors(self) -> list[Tensor]:
        """Of each network the context's weight, where it has one, and the layers' parameters; log lambda and log mu."""
        return [holder[name] for holder, name in self.places]

    def addresses(self, tensors: Sequence[Tensor]) -> list[int]:
        """Of these tensors, or others in their places; 0 for an absent weight of a context."""
        found = [t.data_ptr() for t in tensors]
        for i in self.absent:
            found.insert(i, 0)
        return found

    def serves(self, rows: Tensor, tensors: Sequence[Tensor], addresses: list[int]) -> bool:
        """``compiled.alike``, all contiguous and of their shapes; a glance tells where they are as they were before."""
        if not all(map(Tensor.is_contiguous, tensors)):
            return False
        here = addresses, rows.dtype
        if here != self.checked and [t.shape for t in tensors] == self.shapes and alike(*tensors):
            self.checked = addresses, tensors[0].dtype
        return here == self.checked and rows.is_cpu and rows.numel() > 0

    def room(self, sizes: tuple[Any, ...]) -> int:
        """Bytes that a forward call keeps for its derivative."""
        from heterad import _C

        known, room = self.last_room
        if sizes[:5] != known:
            room = _C.episode_room(*sizes)
            self.last_room = sizes[:5], room
        return room


_compositions: weakref.WeakKeyDictionary[RobustAutoencoder, Composition] = weakref.WeakKeyDictionary()


def _composition(encoder: Any, autoencoder: RobustAutoencoder) -> Composition | None:
    """The two taken apart; None where they are not of the paper's own form."""
    found = _compositions.get(autoencoder)
    if found is not None and found.holds(encoder):
        return found
    log_lam = autoencoder.log_lam
    if (
        not isinstance(encoder, SetEncoder)
        or autoencoder.v is None
        or autoencoder.center is not None
        or log_lam is None
        or log_lam.ndim > 0
    ):
        return None
    _compositions[autoencoder] = found = Composition(encoder, autoencoder)
    return found


class Model(NamedTuple):
    """One call's parts."""

    composition: Composition
    autoencoder: RobustAutoencoder
    n_support: int
    tensors: Sequence[Tensor]
    addresses: list[int]  # of the tensors, at the time of the call

    def forward(self, rows: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The scores, and what the derivative needs."""
        from heterad import _C

        rows, mask = rows.contiguous(), None if mask is None else mask.contiguous()
        sizes = self._sizes(rows, self.addresses)
        kept = rows.new_empty(self.composition.room(sizes) // rows.element_size())
        scores = rows.new_empty((sizes[1], sizes[3]))
        failed = _C.episode_fwd(*sizes, rows.data_ptr(), address(mask), kept.data_ptr(), scores.data_ptr())
        if failed >= 0:
            raise not_positive(failed, self.autoencoder.mu.expand(len(rows)))
        return scores, kept

    def backward(self, grad: Tensor, kept: Tensor, rows: Tensor, mask: Tensor | None, places: Sequence[int]) -> None:
        """Write the gradient by each tensor to the place in memory given for it."""
        from heterad import _C

        grad, rows, mask = grad.contiguous(), rows.contiguous(), None if mask is None else mask.contiguous()
        sizes = self._sizes(rows, self.composition.addresses(self.tensors))
        _C.episode_bwd(*sizes, rows.data_ptr(), address(mask), kept.data_ptr(), grad.data_ptr(), places)

    def _sizes(self, rows: Tensor, addresses: list[int]) -> tuple[Any, ...]:
        """What every call begins with."""
        tasks, n, _ = rows.shape
        return (
            rows.dtype == torch.float64, tasks, self.n_support, n - self.n_support, self.autoencoder.n_iter,
            self.composition.encoder.pool == "mean", self.composition.widths, addresses,
            torch.get_num_threads(),
        )  # fmt: skip


def _within(vector: Tensor, addresses: Sequence[int]) -> bool:
    """Whether all contiguous tensors at these addresses begin in the vector's memory; 0 stands for none."""
    begin = vector.data_ptr()
    end = begin + vector.numel() * vector.element_size()
    return all(begin <= a < end for a in addresses if a)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, model: Model, rows: Tensor, mask: Tensor | None, vector: Tensor | None, *tensors: Tensor
    ) -> Tensor:
        scores, kept = model.forward(rows, mask)
        ctx.model = model
        ctx.save_for_backward(kept, rows, mask, vector, *tensors)
        return scores

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        kept, rows, mask, vector, *tensors = ctx.saved_tensors
        none, model = (None, None, None), ctx.model
        if vector is not None:
            whole = torch.zeros_like(vector)
            move = whole.data_ptr() - vector.data_ptr()
            places = [a and a + move for a in model.composition.addresses(model.tensors)]
            model.backward(grad, kept, rows, mask, places)
            return (*none, whole)
        if torch.is_grad_enabled():

            def again(*_: Tensor | None) -> Tensor:
                return plain(model.composition.encoder, model.autoencoder, rows, model.n_support, mask)

            return (*none, None, *twice(again, tensors, ctx.needs_input_grad[4:], grad))
        grads = [torch.empty_like(t) for t in tensors]
        model.backward(grad, kept, rows, mask, model.composition.addresses(grads))
        return (*none, None, *grads)


_apply = direct(_Fused)
