"""The deep autoencoding Gaussian mixture model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from heterad.methods.baselines.networks import Networks
from heterad.methods.baselines.stacked import Weights, run
from heterad.methods.checks import at_least_one
from heterad.nn import MLP


class Mixture(NamedTuple):
    """Gaussians of each task: log weights ``[..., K]``, means ``[..., K, L]``, Cholesky factors ``[..., K, L, L]``."""

    log_share: Tensor
    mean: Tensor
    factor: Tensor

    def energy(self, z: Tensor) -> Tensor:
        """Minus the log density ``[..., N]`` of rows ``z [..., N, L]``."""
        off = z.unsqueeze(-3) - self.mean.unsqueeze(-2)
        white = torch.linalg.solve_triangular(self.factor, off.mT, upper=False)
        log_det = self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) + z.shape[-1] / 2 * math.log(2 * math.pi)
        log_density = (self.log_share - log_det).unsqueeze(-1) - white.square().sum(-2) / 2
        return -log_density.logsumexp(-2)


class DAGM(Networks):
    """An autoencoder and a Gaussian mixture of what it makes of a row, trained together on the support set.

    A row is described by its embedding, by its relative reconstruction error and by the cosine of row and
    reconstruction; an estimation network deals it to the mixture's components. Minimised are the mean squared
    reconstruction error, ``lam_energy`` times the mean energy, and ``lam_diagonal`` times the sum of 1 / variances.
    The score is the energy.

    Args:
        n_features: D, length of a row.
        generator: source of the initial weights.
        n_components: K, number of Gaussians.
        n_iter: training steps over all rows.
        embed_dim: length of the embedding.
        hidden: width of the hidden layers.
        lr: Adam's learning rate.
        lam_energy: weight of the energy.
        lam_diagonal: weight of the inverse variances.
        floor: added to the variances, and a little more where they are so large that rounding outweighs it: a support
            set has fewer rows than a covariance needs to be regular.

    Raises:
        ValueError: ``n_iter`` is less than 1.

    Source:
        Zong et al. (ICLR 2018), Eqs. (1) to (7); sizes and grid in sections D and E of Kumagai et al. (2023).

    Example:
        >>> learner = DAGM(5, torch.Generator().manual_seed(0), n_iter=2)
        >>> learner.score(torch.ones(4, 3, 5), learner.adapt(torch.ones(4, 7, 5))).shape
        torch.Size([4, 3])
    """

    GRID: ClassVar[tuple[dict[str, Any], ...]] = tuple(
        {"n_components": k, "n_iter": n_iter} for k in (2, 4) for n_iter in (100, 500, 1000)
    )

    def __init__(
        self,
        n_features: int,
        generator: torch.Generator,
        *,
        n_components: int = 2,
        n_iter: int = 500,
        embed_dim: int = 32,
        hidden: int = 32,
        lr: float = 1e-3,
        lam_energy: float = 0.1,
        lam_diagonal: float = 0.005,
        floor: float = 1e-3,
    ) -> None:
        super().__init__()
        self.encoder = MLP((n_features, hidden, embed_dim), generator).requires_grad_(False)
        self.decoder = MLP((embed_dim, hidden, n_features), generator).requires_grad_(False)
        self.estimator = MLP((embed_dim + 2, hidden, hidden, n_components), generator).requires_grad_(False)
        self.n_iter = at_least_one("n_iter", n_iter)
        self.lr = lr
        self.lam_energy, self.lam_diagonal = lam_energy, lam_diagonal
        self.floor = floor

    def nets(self) -> tuple[MLP, ...]:
        """Encoder, decoder and estimation network."""
        return self.encoder, self.decoder, self.estimator

    def slope(
        self, support: Tensor, share: Tensor, **stacked: Sequence[float]
    ) -> Callable[[Weights], tuple[Tensor, Tensor]]:
        """The losses and their sum's gradient, which is one."""

        def slope(weights: Weights) -> tuple[Tensor, Tensor]:
            z, error = self._describe(weights, support)
            mixture = self._fit(weights, z, share)
            variances = mixture.factor.square().sum(-1)
            fit = (share * (error + self.lam_energy * mixture.energy(z))).sum(-1)
            losses = fit + self.lam_diagonal * (1 / variances).sum((-2, -1))
            return losses, torch.ones_like(losses)

        return slope

    def finish(self, weights: Weights, support: Tensor, share: Tensor) -> tuple[Weights, Mixture]:
        """Fit the mixture with the trained networks."""
        return weights, self._fit(weights, self._describe(weights, support)[0], share)

    def score(self, x: Tensor, adapted: tuple[Weights, Mixture]) -> Tensor:
        """The energy of each row."""
        weights, mixture = adapted
        return mixture.energy(self._describe(weights, x)[0])

    def _describe(self, weights: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding and reconstruction features ``[..., N, L]``, and the squared reconstruction errors."""
        code = run(weights[:4], x)
        fit = run(weights[4:8], code)
        size, fit_size, error = (v.square().sum(-1) for v in (x, fit, x - fit))
        relative = (error / size.clamp(min=1e-12)).clamp(min=1e-12).sqrt()
        cosine = (x * fit).sum(-1) * size.clamp(min=1e-12).rsqrt() * fit_size.clamp(min=1e-12).rsqrt()
        return torch.cat([code, relative[..., None], cosine[..., None]], -1), error

    def _fit(self, weights: Weights, z: Tensor, share: Tensor) -> Mixture:
        member = run(weights[8:], z).softmax(-1) * share.unsqueeze(-1)
        total = member.sum(-2).clamp(min=1e-12)
        mean = member.mT @ z / total.unsqueeze(-1)
        off = z.unsqueeze(-3) - mean.unsqueeze(-2)
        covariance = (off * (member / total.unsqueeze(-2)).mT.unsqueeze(-1)).mT @ off
        trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
        rounding = z.shape[-1] * torch.finfo(z.dtype).eps * trace  # what a covariance may lack of being one
        floor = (self.floor + rounding)[..., None, None] * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        return Mixture(total.log(), mean, torch.linalg.cholesky(covariance + floor))
