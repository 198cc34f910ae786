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
    assert told == [(0, 7), (3, 7), (6, 7), (7, 7)]
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
        self.layer3 = nn.Conv2d(5, 6, 1)
        self.fc = nn.Linear(3, 2)
        self.end = nn.Flatten()


class Plain(nn.Module):
    def __init__(self, part: str) -> None:
        super().__init__()
        self.add_module(part, nn.Conv2d(3, 4, 3))
        self.head = nn.Linear(4, 2)


class Levels(nn.Module):
    """Two feature levels, of which one is asked for, as timm gives them."""

    def __init__(self, level: int, output_fmt: str) -> None:
        super().__init__()
        self.level = nn.Conv2d(3, (4, 5)[level], 3)
        self.feature_info = [4, 5]
        self.output_fmt = output_fmt

    def forward(self, x):
        found = self.level(x)
        return [found.permute(0, 2, 3, 1) if self.output_fmt == "NHWC" else found]


@pytest.fixture
def torchvision(monkeypatch):
    """The two names of torchvision that are used."""
    models = types.ModuleType("torchvision.models")
    known = {"tiny": Tiny, "vgg": lambda: Plain("features"), "vit": lambda: Plain("encoder")}
    asked = []

    def get_model(name, weights):
        asked.append((name, weights))
        if weights is not None:
            raise OSError("no connection")
        return known[name]()

    models.get_model, models.list_models = get_model, lambda: list(known)
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return asked


@pytest.fixture
def timm(monkeypatch):
    """The three names of timm that are used."""
    module = types.ModuleType("timm")
    asked = []

    def create_model(name, *, pretrained=False, features_only, out_indices=(0, 1)):
        asked.append((name, pretrained, out_indices))
        if pretrained:
            raise RuntimeError("no weights exist")
        return Levels(out_indices[0], "NHWC" if name == "swin" else "NCHW")

    module.create_model, module.is_model = create_model, lambda name: name.partition(".")[0] in ("tiny", "swin")
    module.get_pretrained_cfg = lambda name: types.SimpleNamespace(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    monkeypatch.setitem(sys.modules, "timm", module)
    return asked


@pytest.mark.parametrize(
    ("name", "shape"),
    [("tiny:layer2", (5, 5, 3)), ("tiny", (6, 5, 3)), ("vgg", (4, 22, 14)), ("vit:encoder", (4, 22, 14))],
)
def test_a_network_of_torchvision_is_cut_at_the_layer(torchvision, name: str, shape: tuple[int, ...]) -> None:
    before = torch.get_rng_state()
    net = load_backbone(f"torchvision/{name}", pretrained=False)
    assert torch.equal(before, torch.get_rng_state())
    assert extract_maps(net, images()).shape == (7, *shape)
    assert extract_maps(net, images()[:, :1]).shape == (7, *shape)
    assert not any(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    ("name", "asked", "channels"),
    [("tiny", -2, 4), ("tiny.a1_in1k:1", 1, 5), ("tiny:-1", -1, 5), ("swin:0", 0, 4)],
)
def test_a_network_of_timm_is_cut_at_the_level(timm, name: str, asked: int, channels: int) -> None:
    net = load_backbone(f"timm/{name}", pretrained=False)
    maps = extract_maps(net, images())
    assert maps.shape == (7, channels, 22, 14)
    conv = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    np.testing.assert_allclose(maps, conv(torch.as_tensor(images()) / 127.5 - 1), rtol=1e-4, atol=1e-5)
    assert timm == [(name.partition(":")[0], False, (asked,))]


def test_weights_that_cannot_be_fetched(torchvision, timm) -> None:
    told = r"torchvision/tiny: its pretrained weights cannot be fetched \(no connection\); .*'small' .*pretrained=False"
    with pytest.raises(OSError, match=told):
        load_backbone("torchvision/tiny")
    assert torchvision == [("tiny", "DEFAULT")]
    with pytest.raises(ValueError, match=r"timm/tiny: timm cannot build it \(no weights exist\)"):
        load_backbone("timm/tiny")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18", "expected 'torchvision/<model>' or 'timm/<model>', got 'resnet18'"),
        ("torchvision/alex", "expected a model of torchvision, got 'alex'"),
        ("torchvision/tiny:layer9", "torchvision/tiny: expected after a colon one of layer1, .*, end, got 'layer9'"),
        ("torchvision/vit", "torchvision/vit: expected after a colon one of encoder, head, got none"),
        ("timm/alex", "expected a model of timm, got 'alex'"),
        ("timm/tiny:2", "timm/tiny: expected after a colon the number of a feature level, from -2 to 1, got '2'"),
        ("timm/tiny:layer3", "timm/tiny: expected after a colon the number of .*, got 'layer3'"),
    ],
)
def test_unknown_names(torchvision, timm, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_backbone(name, pretrained=False)


@pytest.mark.parametrize(
    ("layer", "width", "message"),
    [
        ("fc", 32, r"torchvision/tiny:fc: cannot make maps of images of 24 x 32 \(mat1 and mat2 shapes"),
        ("end", 16, r"torchvision/tiny:end: expected maps \[n, C, H, W\], got \(7, 60\); name an earlier layer"),
    ],
)
def test_a_layer_without_maps_and_images_that_do_not_fit(torchvision, layer, width, message) -> None:
    net = load_backbone(f"torchvision/tiny:{layer}", pretrained=False)
    with pytest.raises(ValueError, match=message):
        extract_maps(net, np.zeros((7, 3, 24, width), np.uint8))


def test_without_the_package_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ImportError, match=r"needs timm; install it with: pip install 'heterad\[vision\]'"):
        load_backbone("timm/resnet18")


def test_a_torchvision_of_another_torch_is_told_of_in_a_line(monkeypatch, tmp_path) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    told = (
        f"timm/resnet18 needs timm, which cannot be .*nms does not exist.*torchvision .* for torch {torch.__version__}"
    )
    with pytest.raises(ImportError, match=told.replace("+", r"\+")):
        load_backbone("timm/resnet18")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("torchvision/resnet18", (256, 4, 4)),
        ("torchvision/resnet18:layer2", (128, 8, 8)),
        ("torchvision/mobilenet_v3_small", (576, 2, 2)),
        ("timm/resnet18", (256, 4, 4)),
        ("timm/resnet18.a1_in1k:2", (128, 8, 8)),
        ("timm/mobilenetv3_small_050:-1", (288, 2, 2)),
    ],
)
def test_the_packages_themselves(name: str, shape: tuple[int, ...]) -> None:
    package = name.partition("/")[0]
    try:
        pytest.importorskip(package, reason=f"{package} is not installed")
    except (RuntimeError, AttributeError) as error:
        pytest.skip(f"{package} is of another torch ({error})")
    x = np.zeros((1, 3, 64, 64), np.uint8)
    assert extract_maps(load_backbone(name, pretrained=False), x).shape == (1, *shape)


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
