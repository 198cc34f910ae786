"""Training a backbone on normal images alone: to tell them from pseudo anomalies, and these from each other."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from heterad.data.augment import KINDS, describe, pseudo_anomalies
from heterad.nn.mlp import linear
from heterad.nn.scorer import top_mean
from heterad.train import Loop, Settings


class _Classifier(nn.Module):
    """A class score from the places of a backbone's maps that speak loudest for it."""

    def __init__(self, backbone: nn.Module, channels: int, n_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = linear(channels, n_classes, generator)

    def forward(self, x: Tensor) -> Tensor:
        places = self.head(self.backbone(x).flatten(2).mT)
        return top_mean(places.mT, 0.1)


def fit_backbone(
    backbone: nn.Module,
    images: Tensor,
    generator: torch.Generator,
    *,
    steps: int = 600,
    batch_size: int = 32,
    lr: float = 1e-3,
    callback: Callable[[Loop], None] | None = None,
) -> Loop:
    """Train a backbone in place to classify normals, CutMix, CutPaste and DREAM pseudo anomalies.

    Args:
        backbone: from images ``[n, C, H, W]`` to maps, on the device of the images.
        images: normals ``[n, C, H, W]`` in [0, 1], two or more.
        generator: of that device; the only source of randomness (for the CPU, of the head's weights too).
        steps: steps of Adam.
        batch_size: images of a step; a quarter of each class, >= 4.
        lr: learning rate.
        callback: called with the loop after every twentieth of the steps.

    Returns:
        The finished loop.

    Raises:
        ValueError: there are fewer than two images, they are no maps, or the batch is too small.

    Source:
        After Li et al., "CutPaste", CVPR 2021.

    Example:
        >>> from heterad.nn.backbone import SmallConvNet
        >>> g = torch.Generator().manual_seed(0)
        >>> images = torch.rand(6, 1, 16, 16, generator=g)
        >>> fit_backbone(SmallConvNet(1, g), images, g, steps=2, batch_size=4).step
        2
    """
    n_classes = 1 + len(KINDS)
    if images.ndim != 4 or len(images) < 2:
        raise ValueError(f"images: expected shape [n, C, H, W] with n >= 2, got {tuple(images.shape)}")
    if batch_size < n_classes:
        raise ValueError(f"batch_size: expected at least {n_classes}, one image of each class, got {batch_size}")
    share = batch_size // n_classes
    normals = describe(images, torch.zeros(len(images), dtype=torch.int64, device=images.device))
    target = torch.arange(n_classes, device=images.device).repeat_interleave(share)
    with torch.no_grad():
        channels = backbone(images[:1]).shape[1]
    on_cpu = torch.Generator().manual_seed(int(torch.randint(2**31, (), device=images.device, generator=generator)))
    model = _Classifier(backbone, channels, n_classes, on_cpu).to(images.device)

    def draw_loss(generator: torch.Generator) -> Tensor:
        row = torch.randint(len(images), (n_classes, share), device=images.device, generator=generator)
        further = torch.randint(1, len(images), row.shape, device=images.device, generator=generator)
        own, donors = images[row], images[(row + further) % len(images)]
        made = [pseudo_anomalies(k, own[i], donors[i], normals, generator) for i, k in enumerate(KINDS, 1)]
        return F.cross_entropy(model(torch.cat([own[0], *made])), target)

    settings = Settings(steps, lr, max(1, steps // 20), patience=None)
    loop = Loop(model, draw_loss, generator, settings, callback=callback).run()
    backbone.eval()
    return loop
