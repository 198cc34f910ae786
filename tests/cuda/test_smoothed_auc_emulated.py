"""The CUDA kernels of smoothed_auc run as they are written, thread by thread, on a small emulation of CUDA."""

import ctypes

import pytest
import torch
from emulation import address, emulated

from heterad.ops import reference
from heterad.testing import relative_error

METHODS = {"pairs": "(1 << 26)", "cells": "0"}  # the most pairs that brute force serves


@pytest.fixture(scope="module", params=METHODS)
def library(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("emulated")
    return emulated("smoothed_auc", folder, f"-DHETERAD_MOST_PAIRS={METHODS[request.param]}")


def run(library, pos, neg, temperature=1.0, pos_mask=None, neg_mask=None):
    value = torch.empty(pos.shape[:-1], dtype=pos.dtype)
    grads = [torch.full_like(pos, 7), torch.full_like(neg, 7)]
    function = library.smoothed_auc_f64 if pos.dtype == torch.float64 else library.smoothed_auc_f32
    sizes = [ctypes.c_int64(n) for n in (value.numel(), pos.shape[-1], neg.shape[-1])]
    inputs, outputs = (pos, neg, pos_mask, neg_mask), (value, *grads)
    error = function(*map(address, inputs), *sizes, ctypes.c_double(temperature), *map(address, outputs))
    assert error is None, error
    return value, *grads


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    ("batch", "p", "q", "scale", "masked"),
    [
        ((), 1, 1, 1.0, False),
        ((3,), 5, 33, 2.0, True),
        ((), 129, 1100, 0.01, False),
        ((), 70, 90, 30.0, True),
        ((), 1, 2500, 0.01, True),
    ],
)
def test_value_and_gradients(library, dtype, batch, p, q, scale, masked):
    draw = torch.Generator().manual_seed(p + q)
    pos, neg = (torch.randn(*batch, n, generator=draw, dtype=torch.float64).mul(scale).to(dtype) for n in (p, q))
    masks = [torch.rand(*batch, n, generator=draw) < 0.7 for n in (p, q)] if masked else [None, None]
    leaves = [v.double().requires_grad_() for v in (pos, neg)]
    expected = reference.smoothed_auc(*leaves, 0.7, *masks)
    expected = expected, *torch.autograd.grad(expected.sum(), leaves)
    for got, want in zip(run(library, pos, neg, 0.7, *masks), expected, strict=True):
        assert relative_error(got, want) <= (1e-6 if dtype == torch.float32 else 1e-12)


def test_far_cells_keep_their_relative_accuracy(library):
    pos, neg = torch.tensor([0.0, 3.0, 41.0], dtype=torch.float64), torch.tensor([60.0, 33.5], dtype=torch.float64)
    gap = (pos[:, None] - neg).abs()
    slope = torch.exp(-gap) / (1 + torch.exp(-gap)) ** 2 / 6
    value, grad_pos, grad_neg = run(library, pos, neg)
    assert relative_error(value, torch.sigmoid(pos[:, None] - neg).mean()) <= 1e-12
    assert ((grad_pos - slope.sum(1)).abs() <= 1e-12 * slope.sum(1)).all()
    assert ((grad_neg + slope.sum(0)).abs() <= 1e-12 * slope.sum(0)).all()


def test_infinities_nan_and_empty_tasks(library):
    inf, nan = float("inf"), float("nan")
    pos = torch.tensor([[inf, 1.0, 2.0]] * 5)
    neg = torch.tensor([[0.0, -inf], [0.0, inf], [0.0, nan], [0.0, nan], [0.0, 0.0]])
    neg_mask = torch.tensor([[True, True], [True, True], [True, True], [True, False], [False, False]])
    value, grad_pos, grad_neg = run(library, pos, neg, 1.0, None, neg_mask)
    s = torch.sigmoid(torch.tensor([1.0, 2.0]))
    expected = torch.tensor([(4 + s.sum()) / 6, nan, nan, (1 + s.sum()) / 3, 0.5])
    assert torch.allclose(value, expected, equal_nan=True)
    assert grad_pos[1:3].isnan().all()
    assert grad_neg[1:3].isnan().all()
    assert (grad_pos[[0, 3], 0] == 0).all()
    assert (grad_pos[[0, 3], 1:] > 0).all()
    assert grad_neg[3, 1] == 0
    assert (grad_pos[4] == 0).all()
    assert (grad_neg[4] == 0).all()


def test_no_task(library):
    """CUDA refuses an empty grid, and so does the emulation."""
    value, grad_pos, grad_neg = run(library, torch.ones(0, 3), torch.ones(0, 5))
    assert value.shape == (0,)
    assert grad_pos.shape == (0, 3)
    assert grad_neg.shape == (0, 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("temperature", [1e-40, 1e46, 1e300])
def test_any_temperature(library, dtype, temperature):
    value, *grads = run(library, torch.tensor([3.0, 1.0], dtype=dtype), torch.tensor([2.0], dtype=dtype), temperature)
    assert abs(value.item() - 0.5) < 1e-9
    assert all((g.abs() < 1e-40).all() for g in grads)
