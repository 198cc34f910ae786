"""From images to feature maps: a small convolutional network to train here, or a published one by name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample
from torch.nn.utils import skip_init

BATCH = 32  # images at a time

Colour = tuple[float, float, float]
PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which torchvision's weights expect


class SmallConvNet(nn.Module):
    """Convolutions of stride 2, normalisation over each image, ReLU: ``[n, c, H, W]`` to ``[n, C, H/2^k, W/2^k]``.

    Args:
        channels: of the images.
        generator: source of the initial weights.
        widths: channels after each of the k convolutions; the last is C.

    Example:
        >>> SmallConvNet(1, torch.Generator().manual_seed(0))(torch.ones(2, 1, 64, 64)).shape
        torch.Size([2, 64, 8, 8])
    """

    def __init__(self, channels: int, generator: torch.Generator, *, widths: tuple[int, ...] = (16, 32, 64)) -> None:
        super().__init__()
        self.stride = 2 ** len(widths)  # pixels from place to place
        self.layers = nn.Sequential()
        for n_in, n_out in zip((channels, *widths), widths, strict=False):
            conv = skip_init(nn.Conv2d, n_in, n_out, 3, stride=2, padding=1)
            bound = (9 * n_in) ** -0.5
            with torch.no_grad():
                for parameter in conv.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)
            self.layers.extend([conv, nn.GroupNorm(1, n_out), nn.ReLU()])

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class _Published(nn.Module):
    """The first layers of a published network, on colours as it was trained with."""

    def __init__(self, name: str, body: nn.Module, mean: Colour, std: Colour) -> None:
        super().__init__()
        self.name = name
        self.body = body
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        size = " x ".join(map(str, x.shape[2:]))
        try:
            found = self.body((x - self.mean) / self.std)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(f"{self.name}: cannot make maps of images of {size} ({error})") from None
        if found.ndim != 4:
            got = tuple(found.shape)
            raise ValueError(f"{self.name}: expected maps [n, C, H, W], got {got}; name an earlier layer after a colon")
        return found


class _Level(nn.Module):
    """The one feature level that a network of timm was built for."""

    def __init__(self, levels: nn.Module) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        (found,) = self.levels(x)
        return found.permute(0, 3, 1, 2) if getattr(self.levels, "output_fmt", "NCHW") == "NHWC" else found


def load_backbone(name: str, *, pretrained: bool = True) -> nn.Module:
    """A published network up to one of its layers.

    Args:
        name: "torchvision/<model>" or "timm/<model>", and after a colon the last layer to keep: for torchvision one
            of the model's parts, "torchvision/resnet18:layer2", by default "layer3", or "features" where there is no
            such part; for timm the number of a feature level, "timm/resnet18.a1_in1k:2", by default -2, the last
            but one.
        pretrained: with published weights, which are fetched and cached by the package named.

    Returns:
        A network from colour images ``[n, 3, H, W]`` in [0, 1] to maps ``[n, C, H', W']``, in evaluation mode. It
        raises ValueError for images that it cannot make maps of, as some take one size only.

    Raises:
        ImportError: the package is not installed (extra ``vision``), or made for another torch.
        ValueError: the model or the layer is unknown, or the package cannot build it.
        OSError: the weights cannot be fetched.

    Cost:
        Fetching the weights once (45 MB for resnet18).
    """
    package, _, rest = name.partition("/")
    model, _, layer = rest.partition(":")
    if package not in PACKAGES or not model:
        raise ValueError(f"name of a backbone: expected 'torchvision/<model>' or 'timm/<model>', got {name!r}")
    module, build = PACKAGES[package]
    found = _imported(module, package, name)
    try:
        with torch.random.fork_rng(devices=[]):
            body, mean, std = build(found, model, layer, pretrained)
    except OSError as error:
        hint = (
            "fetch them where there is a connection and copy the cache; the backbone 'small' of a detector or of the "
            "command line needs none, nor does load_backbone(..., pretrained=False)"
        )
        raise OSError(f"{name}: its pretrained weights cannot be fetched ({error}); {hint}") from None
    except RuntimeError as error:
        raise ValueError(f"{name}: {package} cannot build it ({error})") from None
    return _Published(name, body, mean, std).eval().requires_grad_(False)


def _imported(module: str, package: str, name: str) -> Any:
    """The module, or an ImportError in one line of what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        hint = "install it with: pip install 'heterad[vision]'"
        raise ImportError(f"{name} needs {package}; {hint} ({error})") from None
    except (RuntimeError, AttributeError) as error:  # "operator torchvision::nms does not exist", and on a second try
        hint = f"install the torchvision that was made for torch {torch.__version__}"
        raise ImportError(f"{name} needs {package}, which cannot be imported ({error}); {hint}") from None


def _torchvision(models: Any, model: str, layer: str, pretrained: bool) -> tuple[nn.Module, Colour, Colour]:
    if model not in models.list_models():
        raise ValueError(f"name of a backbone: expected a model of torchvision, got {model!r}")
    parts = dict(models.get_model(model, weights="DEFAULT" if pretrained else None).named_children())
    last = layer or next((part for part in ("layer3", "features") if part in parts), "")
    if last not in parts:
        got = repr(layer) if layer else "none"
        raise ValueError(f"torchvision/{model}: expected after a colon one of {', '.join(parts)}, got {got}")
    kept = list(parts)[: list(parts).index(last) + 1]
    return nn.Sequential(*(parts[part] for part in kept)), PIXEL_MEAN, PIXEL_STD


def _timm(timm: Any, model: str, layer: str, pretrained: bool) -> tuple[nn.Module, Colour, Colour]:
    if not timm.is_model(model):
        raise ValueError(f"name of a backbone: expected a model of timm, got {model!r}")
    try:
        level = int(layer or -2)
        net = _Level(timm.create_model(model, pretrained=pretrained, features_only=True, out_indices=(level,)))
    except (ValueError, IndexError, AssertionError):
        n = len(timm.create_model(model, features_only=True).feature_info)
        expected = f"after a colon the number of a feature level, from {-n} to {n - 1}"
        raise ValueError(f"timm/{model}: expected {expected}, got {layer!r}") from None
    trained = timm.get_pretrained_cfg(model)
    return net, trained.mean, trained.std


PACKAGES: dict[str, tuple[str, Callable[[Any, str, str, bool], tuple[nn.Module, Colour, Colour]]]] = {
    "torchvision": ("torchvision.models", _torchvision),
    "timm": ("timm", _timm),
}


def extract_maps(
    backbone: nn.Module,
    images: np.ndarray,
    *,
    batch_size: int = BATCH,
    report: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Feature maps of images, computed once and in batches, for detectors that take maps.

    Args:
        backbone: from images ``[n, C, H, W]`` in [0, 1] to maps, on its own device.
        images: ``[n, C, H, W]``, uint8 of 0 … 255 or floating in [0, 1]; grey ones (C = 1) are given three equal
            colours if the backbone is a published one.
        batch_size: images at a time.
        report: told how many images are done, from 0 on, and of how many.

    Returns:
        float32 ``[n, C', H', W']``.

    Raises:
        ValueError: images are not as said, or the backbone cannot make maps of them.

    Cost:
        One forward pass; memory of a batch's activations and of the maps.

    Example:
        >>> net = SmallConvNet(3, torch.Generator().manual_seed(0))
        >>> extract_maps(net, np.zeros((5, 3, 32, 32), np.uint8)).shape
        (5, 64, 4, 4)
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(f"images: expected shape [n, C, H, W] with n > 0, got {images.shape}")
    if batch_size < 1:
        raise ValueError(f"batch_size: expected at least 1, got {batch_size}")
    report = report or (lambda done, total: None)
    report(0, len(images))
    maps: np.ndarray | None = None
    done = 0
    for part in _batches(backbone, images, batch_size):
        if maps is None:
            maps = np.empty((len(images), *part.shape[1:]), np.float32)
        maps[done : done + len(part)] = part
        done += len(part)
        report(done, len(images))
    assert maps is not None
    return maps


def over_images(places: Tensor, size: tuple[int, int]) -> Tensor:
    """Values of a feature map's places, and bilinearly between them, over the pixels of its images.

    Place i stands at pixel i s, s being the network's stride: where a padded convolution of an odd kernel looks, as
    those of ``SmallConvNet`` and ResNets are. For networks of patches it is half a place too far up and left.

    Args:
        places: ``[n, h, w]``.
        size: height and width of the images.

    Returns:
        ``[n, *size]``.

    Example:
        >>> over_images(torch.tensor([[[0.0, 4.0]]]), (4, 8))[0, 0]
        tensor([0., 1., 2., 3., 4., 4., 4., 4.])
    """
    grid = []
    for n_places, n_pixels in zip(places.shape[1:], size, strict=True):
        exact, left = divmod(n_pixels, n_places)
        stride = exact if left == 0 else 2 ** round(math.log2(n_pixels / n_places))
        at = torch.arange(n_pixels, dtype=places.dtype, device=places.device) / stride
        grid.append(2 * at / (n_places - 1) - 1 if n_places > 1 else torch.zeros_like(at))
    rows, columns = torch.meshgrid(*grid, indexing="ij")
    pixels = torch.stack([columns, rows], -1).expand(len(places), -1, -1, -1)
    return grid_sample(places[:, None], pixels, padding_mode="border", align_corners=True)[:, 0]


@torch.no_grad()
def _batches(backbone: nn.Module, images: np.ndarray, batch_size: int) -> Iterator[np.ndarray]:
    device = next(backbone.parameters()).device
    was_training = backbone.training
    backbone.eval()
    try:
        for i in range(0, len(images), batch_size):
            x = torch.as_tensor(images[i : i + batch_size]).to(device)
            x = x.float() / 255 if x.dtype == torch.uint8 else x.float()
            if isinstance(backbone, _Published) and x.shape[1] == 1:
                x = x.expand(-1, 3, -1, -1)
            yield backbone(x).cpu().numpy()
    finally:
        backbone.train(was_training)
