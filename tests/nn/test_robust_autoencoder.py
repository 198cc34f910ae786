"""The robust autoencoder against the paper's equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heterad.nn import RobustAutoencoder

D, K, J, N = 5, 3, 4, 9


def autoencoder(n_iter: int = 10, **options) -> RobustAutoencoder:
    return RobustAutoencoder(D, K, torch.Generator().manual_seed(0), embed_dim=J, n_iter=n_iter, **options).double()


def task(seed: int = 1, n_tasks: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_tasks, N, D, dtype=torch.float64, generator=g)
    return rows, torch.randn(n_tasks, K, dtype=torch.float64, generator=g)


@pytest.mark.parametrize("n_iter", [1, 2, 10])
def test_solve_is_equations_4_to_6(n_iter: int) -> None:
    net = autoencoder(n_iter, lam_init=0.3, mu_init=0.2)
    x, z = task(n_tasks=1)
    w, a = (t[0].detach().numpy() for t in net.solve(x, z))
    with torch.no_grad():
        h, expected_a = net.h(x, z)[0].numpy(), net.v(x, z)[0].numpy()
    rows = x[0].numpy()
    for _ in range(n_iter):
        c = h.T @ h / N + 0.2 * np.eye(J)
        expected_w = (rows + expected_a).T @ h @ np.linalg.inv(c) / N
        gap = h @ expected_w.T - rows
        expected_a = np.sign(gap) * np.maximum(np.abs(gap) - 0.3 / 2, 0)
    np.testing.assert_allclose(w, expected_w, atol=1e-6)
    np.testing.assert_allclose(a, expected_a, atol=1e-6)
    score = net.score(x, z, torch.from_numpy(w)[None])[0].detach().numpy()
    np.testing.assert_allclose(score, ((rows - h @ w.T) ** 2).sum(1), rtol=1e-12)


def test_attributes_of_the_support_rows_are_the_last_a() -> None:
    net = autoencoder()
    x, z = task()
    w, a = net.solve(x, z)
    torch.testing.assert_close(net.attributes(x, z, w), a, atol=1e-9, rtol=0)


def test_a_masked_batch_gives_what_each_task_gives_alone() -> None:
    net = autoencoder()
    x, z = task()
    mask = torch.arange(N) < torch.tensor([[N], [4]])
    w, a = net.solve(x, z, mask)
    alone, alone_a = net.solve(x[1:, :4], z[1:])
    torch.testing.assert_close(w[1:], alone, atol=1e-9, rtol=0)
    torch.testing.assert_close(a[1:, :4], alone_a, atol=1e-9, rtol=0)
    assert a[1, 4:].count_nonzero() == 0


def test_every_parameter_is_learned_and_lambda_and_mu_stay_positive() -> None:
    net = autoencoder(lam_init=10.0, mu_init=0.1)
    x, z = task()
    w, a = net.solve(x, z)
    (net.score(x, z, w).sum() + a.square().sum()).backward()
    small = autoencoder(lam_init=0.1)
    small.score(x, z, small.solve(x, z)[0]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in small.parameters())
    assert net.lam.item() == pytest.approx(10, rel=1e-6)
    assert net.mu.item() == pytest.approx(0.1, rel=1e-6)
    with torch.no_grad():
        net.log_lam -= 30
    assert 0 < net.lam < 1e-10
