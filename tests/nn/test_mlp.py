"""The networks' building block: the split first layer, and where its weights come from."""

from __future__ import annotations

import torch

from heterad.nn import MLP


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_split_first_layer_is_a_layer_on_the_concatenation() -> None:
    net = MLP((5, 8, 8, 3), generator(), context=4).double()
    x, z = torch.rand(2, 7, 5, dtype=torch.float64), torch.rand(2, 4, dtype=torch.float64)
    xz = torch.cat([x, z[:, None].expand(2, 7, 4)], -1)
    y = xz @ torch.cat([net.first.weight, net.context.weight], 1).T + net.first.bias
    for layer in net.rest:
        y = y.clamp(min=0) @ layer.weight.T + layer.bias
    torch.testing.assert_close(net(x, z), y, atol=1e-12, rtol=0)


def test_initial_weights_have_torchs_default_distribution() -> None:
    net = MLP((30, 200, 200), generator(), context=20)
    joint = torch.cat([net.first.weight.flatten(), net.context.weight.flatten(), net.first.bias])
    for weights, fan_in in ((joint, 50), (net.rest[0].weight, 200)):
        bound = fan_in**-0.5
        assert weights.abs().max() <= bound
        assert abs(weights.std() - bound / 3**0.5) < 0.02 * bound


def test_weights_come_from_the_generator_and_not_from_the_global_state() -> None:
    before = torch.get_rng_state()
    first, same, other = (MLP((3, 4, 2), generator(seed)).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["first.weight"], other["first.weight"])
