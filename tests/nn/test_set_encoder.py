"""The task encoder: order, padding and size of the set do not matter."""

from __future__ import annotations

import pytest
import torch

from heterad.nn import SetEncoder, SetTransformer

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


def test_a_sum_is_the_mean_times_the_number_of_rows() -> None:
    summed = SetEncoder(5, 3, torch.Generator().manual_seed(0), pool="sum").double()
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    torch.testing.assert_close(summed(X), summed.g(7 * summed.f(X).mean(-2)))
    torch.testing.assert_close(summed(X, mask)[1], summed(X[1, :4]))
    with pytest.raises(ValueError, match="pool: expected 'mean' or 'sum', got 'max'"):
        SetEncoder(5, 3, torch.Generator(), pool="max")


def test_a_set_transformer_knows_no_order_and_no_padding() -> None:
    encoder = SetTransformer(5, 3, torch.Generator().manual_seed(0)).double()
    z = encoder(X)
    torch.testing.assert_close(encoder(X[:, torch.tensor([3, 1, 6, 0, 2, 5, 4])]), z)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    spoilt = torch.where(mask[..., None], X, torch.nan)
    torch.testing.assert_close(encoder(spoilt, mask), torch.stack([z[0], encoder(X[1, :4])]))
    assert encoder(X, torch.zeros(2, 7, dtype=torch.bool)).isfinite().all()
    encoder(X, mask).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())
    with pytest.raises(ValueError, match="hidden: expected a multiple of n_heads=4, got 30"):
        SetTransformer(5, 3, torch.Generator(), hidden=30)
