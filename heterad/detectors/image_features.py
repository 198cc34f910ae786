"""What stands before a detector that takes images: a backbone, trained here or published, and its feature maps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from heterad.methods.pretext import fit_backbone
from heterad.nn.backbone import SmallConvNet, extract_maps, load_backbone
from heterad.train import Loop, each

SMALL = "small"
STEPS = 600  # of the small network's training


def check_images(X: np.ndarray) -> None:
    """Raise unless ``X [n, C, H, W]`` are images: uint8, or floating in [0, 1]; one or three colours."""
    if X.ndim != 4 or X.shape[1] not in (1, 3):
        raise ValueError(f"X: expected images [n, C, H, W] of 1 or 3 colours for a backbone, got shape {X.shape}")
    if X.dtype != np.uint8 and (X.min() < 0 or X.max() > 1):
        raise ValueError(f"X: expected images as uint8 or in [0, 1], got values from {X.min():.3g} to {X.max():.3g}")


def check_backbone(name: str | None) -> None:
    """Raise unless a backbone of this name can be; whether the package knows the model is seen when it is loaded."""
    if name is not None and name != SMALL and not str(name).startswith(("torchvision/", "timm/")):
        raise ValueError(f"backbone: expected '{SMALL}', 'torchvision/<model>', 'timm/<model>' or None, got {name!r}")


def new_backbone(name: str, channels: int) -> nn.Module:
    """The untrained small network, or a published one.

    Raises:
        ImportError, OSError, ValueError: as ``load_backbone``.
    """
    return SmallConvNet(channels, torch.Generator().manual_seed(0)) if name == SMALL else load_backbone(name)


def learn_backbone(
    name: str,
    normals: np.ndarray,
    seed: int,
    device: torch.device,
    *,
    callback: Callable[[Loop], None] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """A backbone for images like ``normals``: the small one learns from them; a published one is taken as it is.

    Of the small one's training, ``callback`` is called with the loop, and ``report`` told how many of the steps are
    done, after every twentieth of them.
    """
    if name != SMALL:
        return load_backbone(name).to(device)
    g = torch.Generator().manual_seed(seed)
    net = SmallConvNet(normals.shape[1], g).to(device)
    if min(normals.shape[2:]) < net.stride:
        least, size = f"{net.stride} x {net.stride}", " x ".join(map(str, normals.shape[2:]))
        raise ValueError(f"X: expected images of at least {least} pixels for backbone '{SMALL}', got {size}")
    images = torch.as_tensor(normals, device=device)
    images = images.float() / 255 if images.dtype == torch.uint8 else images.float()
    if report is not None:
        report(0, STEPS)
    told = each(callback, report and (lambda loop: report(loop.step, STEPS)))
    fit_backbone(net, images, torch.Generator(device).manual_seed(seed), steps=STEPS, callback=told)
    return net.requires_grad_(False)


def maps_of(backbone: nn.Module | None, X: np.ndarray, report: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Feature maps of images, see ``extract_maps``; rows themselves without a backbone."""
    return X if backbone is None else extract_maps(backbone, X, report=report)
