"""smoothed_auc: accuracy at every size and scale, the identities of an AUC, and bounded memory."""

import os
import subprocess
import sys

import contract
import pytest
import torch

import heterad
from heterad.ops import smoothed_auc
from heterad.testing import assert_accurate, available_backends, relative_error, sample_inputs

BACKENDS = available_backends("smoothed_auc")
COMPILED = BACKENDS[1:]
FLOAT32 = 1e-6 if COMPILED else 4e-6  # plain torch rounds the difference of the scores, here up to 57, before the exp


@pytest.fixture(params=BACKENDS)
def backend(request):
    with heterad.ops.backend(request.param):
        yield request.param


def brute_force(pos, neg, temperature=1.0):
    """Value and gradients in float64, with slopes that do not cancel; in blocks of rows."""
    pos, neg = pos.detach().double(), neg.detach().double()
    value, grad_pos, grad_neg = 0.0, torch.zeros_like(pos), torch.zeros_like(neg)
    for i in range(0, len(pos), 1000):
        gap = (pos[i : i + 1000, None] - neg) / temperature
        z = torch.exp(-gap.abs())
        slope = z / (1 + z) ** 2
        value += torch.sigmoid(gap).sum()
        grad_pos[i : i + 1000] = slope.sum(1)
        grad_neg -= slope.sum(0)
    pairs = len(pos) * len(neg)
    return value / pairs, grad_pos / pairs / temperature, grad_neg / pairs / temperature


def value_and_gradients(pos, neg, **kwargs):
    leaves = [v.detach().clone().requires_grad_() for v in (pos, neg)]
    value = smoothed_auc(*leaves, **kwargs)
    return value.detach(), *torch.autograd.grad(value.sum(), leaves)


def draw(n, scale=1.0, dtype=torch.float32, seed=0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(n, generator=generator, dtype=torch.float64) * scale + shift).to(dtype)


@pytest.mark.parametrize("dtype", contract.FLOATS, ids=str)
def test_accuracy(backend, dtype):
    for sample in sample_inputs("smoothed_auc", dtype, size="small" if backend == "reference" else "all"):
        assert_accurate("smoothed_auc", sample)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("p", "q"), [(1, 1), (3, 27), (27, 3), (130, 257), (1, 5000), (1301, 1703)])
def test_every_scale(dtype, p, q):
    for scale in (1e-3, 1.0, 12.0, 300.0, 1e6):
        pos, neg = draw(p, scale, dtype, 1, shift=scale / 2), draw(q, scale, dtype, 2)
        if p == 1:
            neg[0] = pos[0]  # so that a slope is left at every scale
        expected = brute_force(pos, neg)
        for got, want in zip(value_and_gradients(pos, neg), expected, strict=True):
            tiny = want.norm() < 1e-37  # below the numbers of float32 that keep all their digits
            assert relative_error(got, want) <= (1e-6 if dtype == torch.float32 else 1e-12) or tiny, (scale, got, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("n", [20, 1500])
def test_ties_saturation_and_outliers(dtype, n):
    pos, neg = draw(n, dtype=dtype, seed=3), draw(n + 7, dtype=dtype, seed=4)
    far_pos, far_neg = pos.clone(), neg.clone()
    far_pos[:2], far_neg[3:5] = torch.tensor([1e30, -1e30]), torch.tensor([-1e30, 1e30])
    cases = {
        "ties": (pos.round(), neg.round(), 0.3),
        "all equal": (torch.ones_like(pos), torch.ones_like(neg), 1.0),
        "saturated": (pos + 50, neg, 1.0),
        "saturated the wrong way": (pos, neg + 15, 0.7),
        "outliers": (far_pos, far_neg, 1.0),
        "offset": (pos + 1e4, neg + 1e4, 0.05),
    }
    for name, (p, q, temperature) in cases.items():
        got = value_and_gradients(p, q, temperature=temperature)
        for g, want in zip(got, brute_force(p, q, temperature), strict=True):
            assert relative_error(g, want) <= (FLOAT32 if dtype == torch.float32 else 1e-11), name
        assert (got[1].double().sum() + got[2].double().sum()).abs() <= 1e-6 * got[1].double().abs().sum()


@pytest.mark.parametrize("n", [5, 2000])
def test_infinities(backend, n):
    inf = float("inf")
    pos, neg = draw(n, seed=5), draw(n, seed=6)
    pos[0], pos[1], neg[2] = inf, -inf, -inf
    neg_mask = torch.ones(n, dtype=torch.bool)
    neg_mask[2] = False
    pos[1] = 0.3
    value, grad_pos, grad_neg = value_and_gradients(pos, neg)
    assert relative_error(value, torch.sigmoid(pos.double()[:, None] - neg.double()).mean()) <= 1e-6
    assert grad_pos[0] == 0
    assert grad_neg[2] == 0
    assert grad_pos[1:].min() > 0
    neg[2] = inf
    assert smoothed_auc(pos, neg).isnan()
    assert smoothed_auc(pos, neg, neg_mask=neg_mask) > 0


@pytest.mark.parametrize("n", [5, 2000])
def test_nan_is_passed_on_unless_masked(backend, n):
    pos, neg = torch.stack([draw(n, seed=7)] * 2), torch.stack([draw(n, seed=8)] * 2)
    clean = value_and_gradients(pos[1], neg[1])
    neg[0, 3] = float("nan")
    value, grad_pos, grad_neg = value_and_gradients(pos, neg)
    assert value[0].isnan()
    assert grad_pos[0].isnan().any()
    assert grad_neg[0].isnan().any()
    assert contract.equal([value[1], grad_pos[1], grad_neg[1]], list(clean))
    mask = ~neg.isnan()
    value, grad_pos, grad_neg = value_and_gradients(pos, neg, neg_mask=mask)
    assert not value.isnan().any()
    assert not grad_pos.isnan().any()
    assert grad_neg[0, 3] == 0


def test_a_task_without_pairs_is_chance(backend):
    mask = torch.tensor([[True] * 4, [False] * 4])
    value, grad_pos, grad_neg = value_and_gradients(torch.ones(2, 4), torch.zeros(2, 3), pos_mask=mask)
    assert value[1] == 0.5
    assert (grad_pos[1] == 0).all()
    assert (grad_neg[1] == 0).all()


@pytest.mark.parametrize("name", COMPILED)
def test_a_masked_batch_is_its_tasks_alone(name):
    generator = torch.Generator().manual_seed(0)
    with heterad.ops.backend(name):
        for p, q in ((9, 21), (600, 900)):
            pos, neg = torch.randn(5, p, generator=generator), torch.randn(5, q, generator=generator)
            masks = [torch.rand(5, n, generator=generator) < 0.6 for n in (p, q)]
            together = value_and_gradients(pos, neg, pos_mask=masks[0], neg_mask=masks[1])
            for b in range(5):
                alone = value_and_gradients(pos[b], neg[b], pos_mask=masks[0][b], neg_mask=masks[1][b])
                assert contract.equal([v[b] for v in together], list(alone))
                bare = value_and_gradients(pos[b][masks[0][b]], neg[b][masks[1][b]])
                assert relative_error(together[0][b], bare[0]) <= 1e-6
                assert relative_error(together[1][b][masks[0][b]], bare[1]) <= 1e-6


@pytest.mark.parametrize("n", [40, 3000])
def test_the_identities_of_an_auc(backend, n):
    pos, neg = draw(n, 3.0, torch.float64, 9, shift=1), draw(n + 1, 3.0, torch.float64, 10)
    assert abs(smoothed_auc(pos, neg) + smoothed_auc(neg, pos) - 1) <= 1e-12
    scores, y = torch.cat([pos, neg]), torch.cat([torch.ones(n), torch.zeros(n + 1)])
    assert abs(smoothed_auc(pos, neg, temperature=1e-6) - heterad.ops.roc_auc(scores, y)) <= 1e-6
    value, grad_pos, grad_neg = value_and_gradients(pos, neg)
    assert abs(grad_pos.sum() + grad_neg.sum()) <= 1e-12
    assert 0 <= value <= 1


def test_gradcheck(backend):
    for p, q, scale in ((4, 7, 2.0), (5, 6, 2000.0)):
        pos, neg = (draw(n, scale, torch.float64, n).requires_grad_() for n in (p, q))
        assert torch.autograd.gradcheck(lambda a, b, t=scale: smoothed_auc(a, b, temperature=t), (pos, neg))


def test_differentiating_twice_is_refused_clearly():
    pos, neg = draw(4).requires_grad_(), draw(5).requires_grad_()
    for name in COMPILED:
        with heterad.ops.backend(name):
            (first,) = torch.autograd.grad(smoothed_auc(pos, neg), pos, create_graph=True)
            with pytest.raises(RuntimeError, match="smoothed_auc cannot be differentiated twice"):
                torch.autograd.grad(first.sum(), neg)


def test_the_contract(backend):
    if backend != "reference":
        contract.is_registered("smoothed_auc")
    contract.compiles("smoothed_auc", exact=backend != "reference")
    contract.takes_any_layout("smoothed_auc", exact=backend != "reference")


def test_instruction_sets():
    contract.instruction_sets_agree("smoothed_auc", 64)


@pytest.mark.parametrize("name", COMPILED)
def test_the_same_bits_for_any_number_of_threads(name):
    before = torch.get_num_threads()
    with heterad.ops.backend(name):
        for scale in (1.0, 1e5):
            pos, neg = draw(30_011, scale, seed=11), draw(20_021, scale, seed=12)
            try:
                runs = []
                for threads in (1, 2, 3, 2, 1):
                    torch.set_num_threads(threads)
                    runs.append(list(value_and_gradients(pos, neg)))
            finally:
                torch.set_num_threads(before)
            assert all(contract.equal(runs[0], other) for other in runs[1:])


@pytest.mark.parametrize("name", COMPILED)
def test_more_pairs_than_32_bits_count(name):
    with heterad.ops.backend(name):
        pos, neg = torch.full((70_001,), 0.5), torch.zeros(70_003)
        value, grad_pos, grad_neg = value_and_gradients(pos, neg)
    s = torch.sigmoid(torch.tensor(0.5, dtype=torch.float64))
    assert abs(value.double() - s) <= 1e-6
    assert (grad_pos.double() * 70_001 - s * (1 - s)).abs().max() <= 1e-6
    assert (grad_neg.double() * 70_003 + s * (1 - s)).abs().max() <= 1e-6


MEMORY = """
import resource, torch, heterad
n, scale = 1_000_000, {scale}
torch.manual_seed(0)
pos, neg = (torch.randn(n).mul_(scale).requires_grad_() for _ in range(2))
small = [torch.randn(3000).mul_(scale).requires_grad_() for _ in range(2)]
heterad.ops.smoothed_auc(*small).backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
heterad.ops.smoothed_auc(pos, neg).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (2 * n))
"""


@pytest.mark.parametrize("scale", [1.0, 1e6])
@pytest.mark.parametrize("name", COMPILED)
def test_memory_per_score_is_bounded(name, scale):
    env = {**os.environ, "HETERAD_BACKEND": name, "OMP_NUM_THREADS": "2"}
    out = subprocess.run([sys.executable, "-c", MEMORY.format(scale=scale)], env=env, capture_output=True, check=True)
    assert float(out.stdout) <= 64
