"""From images to feature maps: a small convolutional network to train here, or a published one by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

PIXEL_MEAN, PIXEL_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which published weights expect


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

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN)[:, None, None])
        self.register_buffer("std", torch.tensor(PIXEL_STD)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        found = self.body((x - self.mean) / self.std)
        return found[-1] if isinstance(found, list) else found


def load_backbone(name: str, *, pretrained: bool = True, layer: str = "layer3") -> nn.Module:
    """A published network up to one of its layers.

    Args:
        name: "torchvision/<model>", e.g. "torchvision/resnet18", or "timm/<model>".
        pretrained: with published weights, which are fetched and cached by the package named.
        layer: the last layer to keep: for torchvision the name of one of the model's parts, for timm the number of
            a feature level.

    Returns:
        A network from colour images ``[n, 3, H, W]`` in [0, 1] to maps ``[n, C, H', W']``, in evaluation mode.

    Raises:
        ImportError: the package is not installed (extra ``vision``).
        ValueError: the name or the layer is unknown.
        OSError: the weights cannot be fetched.

    Cost:
        Fetching the weights once (45 MB for resnet18).
    """
    package, _, model = name.partition("/")
    builders: dict[str, Callable[[str, bool, str], nn.Module]] = {"torchvision": _torchvision, "timm": _timm}
    if package not in builders or not model:
        raise ValueError(f"name: expected 'torchvision/<model>' or 'timm/<model>', got {name!r}")
    try:
        with torch.random.fork_rng(devices=[]):
            body = builders[package](model, pretrained, layer)
    except ImportError as error:
        hint = f"{name} needs {package}; install it with: pip install 'heterad[vision]'"
        raise ImportError(f"{hint} ({error})") from None
    except OSError as error:
        hint = "fetch them where there is a connection and copy the cache, or pass pretrained=False"
        raise OSError(f"{name}: its pretrained weights cannot be fetched ({error}); {hint}") from None
    return _Published(body).eval().requires_grad_(False)


def _torchvision(model: str, pretrained: bool, layer: str) -> nn.Module:
    from torchvision.models import get_model, list_models

    if model not in list_models():
        raise ValueError(f"name: expected a model of torchvision, got {model!r}")
    parts = dict(get_model(model, weights="DEFAULT" if pretrained else None).named_children())
    if layer not in parts:
        raise ValueError(f"layer: expected one of {', '.join(parts)}, got {layer!r}")
    kept = list(parts)[: list(parts).index(layer) + 1]
    return nn.Sequential(*(parts[part] for part in kept))


def _timm(model: str, pretrained: bool, layer: str) -> nn.Module:
    import timm

    if model not in timm.list_models():
        raise ValueError(f"name: expected a model of timm, got {model!r}")
    if not layer.isdigit():
        raise ValueError(f"layer: expected the number of a feature level for timm, got {layer!r}")
    return timm.create_model(model, pretrained=pretrained, features_only=True, out_indices=(int(layer),))


def extract_maps(
    backbone: nn.Module,
    images: np.ndarray,
    *,
    batch_size: int = 32,
    report: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Feature maps of images, computed once and in batches, for detectors that take maps.

    Args:
        backbone: from images ``[n, C, H, W]`` in [0, 1] to maps, on its own device.
        images: ``[n, C, H, W]``, uint8 of 0 … 255 or floating in [0, 1]; grey ones (C = 1) are given three equal
            colours if the backbone is a published one.
        batch_size: images at a time.
        report: told how many images are done, and of how many.

    Returns:
        float32 ``[n, C', H', W']``.

    Raises:
        ValueError: images are not as said.

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
    maps: np.ndarray | None = None
    done = 0
    for part in _batches(backbone, images, batch_size):
        if maps is None:
            maps = np.empty((len(images), *part.shape[1:]), np.float32)
        maps[done : done + len(part)] = part
        done += len(part)
        if report is not None:
            report(done, len(images))
    assert maps is not None
    return maps


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
