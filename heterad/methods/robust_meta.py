"""Meta-learning for robust anomaly detection (Kumagai et al., AISTATS 2023)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from heterad.methods.checks import check_rows
from heterad.methods.meta import OUTER, MetaLearner
from heterad.nn import RobustAutoencoder, SetEncoder, SetTransformer
from heterad.nn.fused_scores import query_scores

FORMULATIONS = ("ae", "svdd")
ENCODERS = ("mean", "sum", "set-transformer")


class Adapted(NamedTuple):
    """What one task's support set determines: task vector z ``[..., K]`` and decoder W ``[..., D, J]``.

    z is None in a model that uses none.
    """

    z: Tensor | None
    w: Tensor


class RobustMeta(MetaLearner):
    """The paper's model. Its parameters are f, g, h, v, lambda and mu, shared by all tasks.

    Args:
        n_features: D, length of a row.
        generator: source of the initial weights, of the CPU.
        task_dim: K, length of the task vector (paper: 32, 64 or 128).
        embed_dim: J, length of h's output (paper: 32).
        hidden: width of the hidden layers (paper: 32).
        n_iter: I, alternations of Eqs. (4) and (5) (paper: 10); 1 is the paper's "w/o Iter".
        lam_init: initial lambda (paper: 0.1, 1 or 10).
        mu_init: initial mu (paper: 0.1).
        formulation: "ae" reconstructs the rows; "svdd" maps them to one point of ``embed_dim`` ones, all as near as
            W can.
        encoder: how a task vector is made of a set: "mean" (paper) or "sum" of rows, or "set-transformer".
        attributes: False is "w/o A": plain ridge regression on contaminated rows.
        learned_start: False is "w/o Initial": A starts from zero.
        task_in_h, task_in_start: False are "w/o hTask" and "w/o ATask", both together "w/o Task".
        per_feature: a lambda for each feature.
        outer: the outer loss, see ``MetaLearner``.

    Raises:
        ValueError: ``formulation``, ``encoder`` or ``outer`` is unknown.

    Source:
        Kumagai et al. (2023), section 3, Algorithm 1; sizes in sections D and E; appendix B for SVDD, Table 2 for
        what can be left out.

    Example:
        >>> learner = RobustMeta(5, torch.Generator().manual_seed(0))
        >>> adapted = learner.adapt(torch.ones(4, 7, 5))
        >>> learner.score(torch.ones(4, 3, 5), adapted).shape
        torch.Size([4, 3])
    """

    def __init__(
        self,
        n_features: int,
        generator: torch.Generator,
        *,
        task_dim: int = 32,
        embed_dim: int = 32,
        hidden: int = 32,
        n_iter: int = 10,
        lam_init: float = 0.1,
        mu_init: float = 0.1,
        formulation: str = "ae",
        encoder: str = "mean",
        attributes: bool = True,
        learned_start: bool = True,
        task_in_h: bool = True,
        task_in_start: bool = True,
        per_feature: bool = False,
        outer: str = "auc",
    ) -> None:
        super().__init__()
        for name, value, known in (
            ("formulation", formulation, FORMULATIONS),
            ("encoder", encoder, ENCODERS),
            ("outer", outer, OUTER),
        ):
            if value not in known:
                raise ValueError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        self.outer = outer
        self.task_encoder: SetEncoder | SetTransformer | None = None
        if task_in_h or (task_in_start and attributes and learned_start):
            if encoder == "set-transformer":
                self.task_encoder = SetTransformer(n_features, task_dim, generator, hidden=hidden)
            else:
                self.task_encoder = SetEncoder(n_features, task_dim, generator, hidden=hidden, pool=encoder)
        self.autoencoder = RobustAutoencoder(
            n_features,
            task_dim,
            generator,
            embed_dim=embed_dim,
            hidden=hidden,
            n_iter=n_iter,
            lam_init=lam_init,
            mu_init=mu_init,
            attributes=attributes,
            learned_start=learned_start,
            task_in_h=task_in_h,
            task_in_start=task_in_start,
            center_dim=embed_dim if formulation == "svdd" else None,
            per_feature=per_feature,
        )
        self.unit = embed_dim if formulation == "svdd" else n_features  # ||c||², or ||x||² of standardised rows

    def adapt(self, support: Tensor, mask: Tensor | None = None) -> Adapted:
        """Algorithm 1, lines 5 to 9."""
        check_rows(support, self.autoencoder.h.sizes[0])
        z = None if self.task_encoder is None else self.task_encoder(support, mask)
        w, _ = self.autoencoder.solve(support, z, mask)
        return Adapted(z, w)

    def score(self, x: Tensor, adapted: Adapted) -> Tensor:
        """Eq. (7)."""
        return self.autoencoder.score(x, adapted.z, adapted.w)

    def query_scores(self, rows: Tensor, n_support: int, mask: Tensor | None = None) -> Tensor:
        """Algorithm 1, lines 5 to 10, in one call where it can be."""
        return query_scores(self.task_encoder, self.autoencoder, rows, n_support, mask, self.vector)
