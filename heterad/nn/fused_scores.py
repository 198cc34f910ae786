"""Adapting to support sets and scoring their queries as one node of autograd's graph, on the CPU.

With one task a step, what surrounds the parts of this composition costs as much as they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from heterad.nn.compiled import serves, twice
from heterad.nn.mlp import MLP
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
    log_lam = autoencoder.log_lam
    if (
        isinstance(encoder, SetEncoder)
        and autoencoder.v is not None
        and autoencoder.center is None
        and log_lam is not None
        and log_lam.ndim == 0
        and rows.ndim == 3
        and 0 < n_support < rows.shape[1]
        and rows.shape[2] == encoder.f.sizes[0]
        and not rows.requires_grad
    ):
        nets = encoder.f, encoder.g, autoencoder.h, autoencoder.v
        tensors = [*(t for net in nets for t in net.tensors()), log_lam, autoencoder.log_mu]
        if serves(rows, *tensors):
            model = Model(encoder, autoencoder, nets, n_support, tensors)
            if differentiates(*tensors):
                whole = vector is not None and _within(vector, tensors)
                return _apply(model, rows, mask, vector if whole else None, *(() if whole else tensors))
            return model.forward(rows, mask)[0]
    return plain(encoder, autoencoder, rows, n_support, mask)


class Model(NamedTuple):
    """The composition's parts."""

    encoder: SetEncoder
    autoencoder: RobustAutoencoder
    nets: tuple[MLP, MLP, MLP, MLP]  # f, g, h and v
    n_support: int
    tensors: Sequence[Tensor | None]  # of each network the context's weight and the layers'; log lambda and log mu

    def forward(self, rows: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The scores, and what the derivative needs."""
        from heterad import _C

        rows, mask = rows.contiguous(), None if mask is None else mask.contiguous()
        held, sizes = self._call(rows)
        kept = rows.new_empty(_C.episode_room(*sizes) // rows.element_size())
        scores = rows.new_empty((len(rows), rows.shape[1] - self.n_support))
        failed = _C.episode_fwd(*sizes, rows.data_ptr(), address(mask), kept.data_ptr(), scores.data_ptr())
        del held
        if failed >= 0:
            raise not_positive(failed, self.autoencoder.mu.expand(len(rows)))
        return scores, kept

    def backward(self, grad: Tensor, kept: Tensor, rows: Tensor, mask: Tensor | None, places: Sequence[int]) -> None:
        """Write the gradient by each tensor to the place in memory given for it."""
        from heterad import _C

        grad, rows, mask = grad.contiguous(), rows.contiguous(), None if mask is None else mask.contiguous()
        held, sizes = self._call(rows)
        _C.episode_bwd(*sizes, rows.data_ptr(), address(mask), kept.data_ptr(), grad.data_ptr(), places)
        del held

    def _call(self, rows: Tensor) -> tuple[list[Tensor | None], tuple[Any, ...]]:
        """Contiguous tensors, to be held while their addresses are in use, and what every call begins with."""
        held = [None if t is None else t.contiguous() for t in self.tensors]
        tasks, n, _ = rows.shape
        return held, (
            rows.dtype == torch.float64, tasks, self.n_support, n - self.n_support, self.autoencoder.n_iter,
            self.encoder.pool == "mean", [net.sizes for net in self.nets], [address(t) for t in held],
            torch.get_num_threads(),
        )  # fmt: skip


def _within(vector: Tensor, tensors: Sequence[Tensor | None]) -> bool:
    """Whether all tensors lie in the vector's memory."""
    begin = vector.data_ptr()
    end = begin + vector.numel() * vector.element_size()
    return all(t is None or (begin <= t.data_ptr() < end and t.is_contiguous()) for t in tensors)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, model: Model, rows: Tensor, mask: Tensor | None, vector: Tensor | None, *tensors: Tensor | None
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
            places = [0 if t is None else t.data_ptr() + move for t in model.tensors]
            model.backward(grad, kept, rows, mask, places)
            return (*none, whole)
        if torch.is_grad_enabled():

            def again(*_: Tensor | None) -> Tensor:
                return plain(model.encoder, model.autoencoder, rows, model.n_support, mask)

            return (*none, None, *twice(again, tensors, ctx.needs_input_grad[4:], grad))
        grads = [None if t is None else torch.empty_like(t) for t in tensors]
        model.backward(grad, kept, rows, mask, [address(g) for g in grads])
        return (*none, None, *grads)


_apply = direct(_Fused)
