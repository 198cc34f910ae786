"""The task encoder: order, padding and size of the set do not matter."""

from __future__ import annotations

import torch

from heterad.nn import SetEncoder

ENCODER = SetEncoder(5, 3, torch.Generator().manual_seed(0)).double()
X = torch.rand(2, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_order_and_repetition_do_not_matter() -> None:
    z = ENCODER(X)
    assert z.shape == (2, 3)
    torch.testing.assert_close(ENCODER(X[:, torch.tensor([3, 1, 6, 0, 2, 5, 4])]), z)
    torch.testing.assert_close(ENCODER(X.repeat(1, 3, 1)), z)


def test_rows_that_are_not_real_do_not_matter() -> None:
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    spoilt = torch.where(mask[..., None], X, torch.nan)
    z = ENCODER(spoilt, mask)
    torch.testing.assert_close(z[0], ENCODER(X[0]))
    torch.testing.assert_close(z[1], ENCODER(X[1, :4]))


def test_a_set_without_rows_is_finite() -> None:
    assert ENCODER(X, torch.zeros(2, 7, dtype=torch.bool)).isfinite().all()


def test_padding_does_not_spoil_gradients() -> None:
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    x = X.clone().requires_grad_()
    ENCODER(x, mask).sum().backward()
    assert x.grad[1, 4:].count_nonzero() == 0
    assert x.grad[1, :4].count_nonzero() > 0
