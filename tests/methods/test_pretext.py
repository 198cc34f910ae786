"""Backbones: shapes, batches, what is refused, and networks of other packages where they are installed."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from heterad.methods.pretext import fit_backbone
from heterad.nn.backbone import SmallConvNet, extract_maps, load_backbone


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 7) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, 24, 16), dtype=np.uint8)


def test_batches_do_not_change_a_map_and_progress_is_told() -> None:
    net = SmallConvNet(3, generator())
    told = []
    maps = extract_maps(net, images(), batch_size=3, report=lambda *at: told.append(at))
    assert told == [(3, 7), (6, 7), (7, 7)]
    assert maps.shape == (7, 64, 3, 2)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(extract_maps(net, images()), maps, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(extract_maps(net, images().astype(np.float32) / 255), maps, rtol=1e-5, atol=1e-6)
    assert net.training


def test_a_trained_backbone_tells_pseudo_anomalies_from_normals() -> None:
    g = generator(1)
    x = torch.linspace(0, 1, 32).expand(20, 1, 32, 32) * torch.rand(20, 1, 1, 1, generator=g)
    loop = fit_backbone(SmallConvNet(1, g, widths=(8, 16)), x, g, steps=200, batch_size=16, lr=3e-3)
    assert loop.history["loss"][-1] < 0.8 * loop.history["loss"][0]
    assert not loop.model.backbone.training


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Conv2d(3, 4, 3, stride=2)
        self.layer2 = nn.Conv2d(4, 5, 3, stride=2)
        self.fc = nn.Linear(5, 2)


@pytest.fixture
def torchvision(monkeypatch):
    """The three names of torchvision that are used."""
    models = types.ModuleType("torchvision.models")
    asked = []

    def get_model(name, weights):
        asked.append((name, weights))
        if weights is not None:
            raise OSError("no connection")
        return Tiny()

    models.get_model, models.list_models = get_model, lambda: ["tiny"]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return asked


def test_a_published_network_is_cut_at_the_layer(torchvision) -> None:
    before = torch.get_rng_state()
    net = load_backbone("torchvision/tiny", pretrained=False, layer="layer2")
    assert torch.equal(before, torch.get_rng_state())
    assert extract_maps(net, images()).shape == (7, 5, 5, 3)
    assert extract_maps(net, images()[:, :1]).shape == (7, 5, 5, 3)
    assert not any(p.requires_grad for p in net.parameters())


def test_weights_that_cannot_be_fetched(torchvision) -> None:
    with pytest.raises(OSError, match=r"torchvision/tiny: its pretrained weights cannot be fetched \(no connection\)"):
        load_backbone("torchvision/tiny")
    assert torchvision == [("tiny", "DEFAULT")]


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("resnet18", "layer3", "name: expected 'torchvision/<model>' or 'timm/<model>', got 'resnet18'"),
        ("torchvision/vgg", "layer3", "name: expected a model of torchvision, got 'vgg'"),
        ("torchvision/tiny", "layer9", "layer: expected one of layer1, layer2, fc, got 'layer9'"),
    ],
)
def test_unknown_names(torchvision, name: str, layer: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_backbone(name, pretrained=False, layer=layer)


def test_without_the_package_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"needs timm; install it with: pip install 'heterad\[vision\]'"):
        load_backbone("timm/resnet18", layer="2")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: extract_maps(net, np.ones((3, 4, 4))), r"images: expected shape \[n, C, H, W\]"),
        (lambda net: extract_maps(net, images(), batch_size=0), "batch_size: expected at least 1"),
        (lambda net: fit_backbone(net, torch.ones(1, 3, 8, 8), generator()), "with n >= 2"),
        (lambda net: fit_backbone(net, torch.ones(3, 3, 8, 8), generator(), batch_size=3), "at least 4, one image"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(SmallConvNet(3, generator()))
