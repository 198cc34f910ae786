"""A model's parameters as one vector: they learn as they would alone, and are missed when they are parts no longer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from heterad.train import Loop, Settings, Vector, read_tensors, write_tensors


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def loss(net: nn.Module, generator: torch.Generator) -> torch.Tensor:
    return (net(torch.rand(8, 3, generator=generator)) - 2).square().mean()


def test_values_stay_and_every_parameter_is_a_part() -> None:
    net = model()
    before = [p.detach().clone() for p in net.parameters()]
    vector = Vector(net)
    assert all(torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))
    with torch.no_grad():
        vector.leaf.zero_()
    assert all(p.abs().sum() == 0 for p in net.parameters())


def test_a_step_is_that_of_adam_on_the_parameters() -> None:
    alone, together = model(), model()
    adam = torch.optim.Adam(alone.parameters(), lr=0.1, fused=True)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        adam.zero_grad()
        loss(alone, generator).backward()
        adam.step()
    settings = Settings(max_iter=5, lr=0.1, patience=None)
    Loop(together, lambda g: loss(together, g), torch.Generator().manual_seed(1), settings).run()
    for a, b in zip(alone.parameters(), together.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_gradients_of_both_kinds_add_up_and_absent_ones_are_zero() -> None:
    net = model()
    vector = Vector(net)
    net[0](torch.ones(1, 3)).sum().backward()
    expected = torch.cat(
        [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in net.parameters()]
    )
    vector.leaf.grad = torch.ones_like(vector.leaf)
    vector.gather()
    assert torch.equal(vector.leaf.grad, expected + 1)
    vector.clear()
    vector.gather()
    assert vector.leaf.grad is None


def test_a_frozen_parameter_is_no_part() -> None:
    net = model()
    net[0].weight.requires_grad_(False)
    frozen = net[0].weight.clone()
    Loop(net, lambda g: loss(net, g), torch.Generator().manual_seed(1), Settings(max_iter=3)).run()
    assert torch.equal(net[0].weight, frozen)
    with pytest.raises(ValueError, match="model: expected parameters to train, got none"):
        Vector(net.requires_grad_(False))


def test_moved_parameters_are_told() -> None:
    net = model()
    vector = Vector(net)
    net.double()
    with pytest.raises(RuntimeError, match="got them moved"):
        vector.gather()


def test_views_are_saved_and_copied_like_any(tmp_path) -> None:
    net = model()
    Vector(net)
    write_tensors(tmp_path / "net.safetensors", net.state_dict(), {})
    tensors, _ = read_tensors(tmp_path / "net.safetensors")
    assert all(torch.equal(t, net.state_dict()[name]) for name, t in tensors.items())
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin[0].weight.zero_()
    assert net[0].weight.abs().sum() > 0


def test_a_model_that_asks_for_the_leaf_has_it_while_it_is_trained() -> None:
    net = model()
    net.vector = None
    seen = []

    def draw(generator: torch.Generator) -> torch.Tensor:
        seen.append(net.vector)
        return loss(net, generator)

    loop = Loop(net, draw, torch.Generator().manual_seed(1), Settings(max_iter=2))
    loop.run()
    assert seen[0] is loop.vector.leaf
    assert net.vector is None
