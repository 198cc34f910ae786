"""roc_auc equals scikit-learn's to the rounding of one division."""

import contract
import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import heterad
from heterad.ops import roc_auc
from heterad.testing import available_backends

BACKENDS = available_backends("roc_auc")


@pytest.fixture(params=BACKENDS)
def backend(request):
    with heterad.ops.backend(request.param):
        yield request.param


def batch(n, dtype=np.float32, seed=0, share=0.3):
    generator = np.random.default_rng(seed)
    y = (generator.random(n) < share).astype(int)
    y[:2] = 0, 1
    return generator.standard_normal(n).astype(dtype), y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [2, 3, 17, 500, 1501, 5003, 70_001])
def test_equals_sklearn(backend, dtype, n):
    for seed, (share, round_to) in enumerate([(0.3, None), (0.02, None), (0.5, 1), (0.7, 0)]):
        scores, y = batch(n, dtype, seed, share)
        scores = scores if round_to is None else scores.round(round_to)
        got = roc_auc(torch.from_numpy(scores), torch.from_numpy(y))
        assert got.dtype == torch.float64
        assert abs(got.item() - roc_auc_score(y, scores)) <= 4e-16


def test_signed_zeros_tie_and_infinities_are_ordered(backend):
    inf = float("inf")
    for many in (1, 3000):
        zeros = torch.tensor([0.0, -0.0]).repeat(many)
        y = torch.tensor([0, 1]).repeat(many)
        assert roc_auc(zeros, y) == 0.5
        assert roc_auc(torch.tensor([-inf, inf]).repeat(many), y) == 1
        assert roc_auc(torch.tensor([inf, -1e30]).repeat(many), y) == 0
        assert roc_auc(torch.tensor([inf, inf]).repeat(many), y) == 0.5


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.float32, torch.bfloat16], ids=str)
def test_labels_of_every_dtype(backend, dtype):
    for n in 777, 7777:
        scores, y = (torch.from_numpy(v) for v in batch(n))
        assert roc_auc(scores, y.to(dtype)) == roc_auc(scores, y)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_scores(backend, dtype):
    scores, y = (torch.from_numpy(v) for v in batch(777))
    assert roc_auc(scores.to(dtype), y) == roc_auc(scores.to(dtype).float(), y)


@pytest.mark.parametrize("n", [33, 4001, 9001])
def test_a_masked_batch_is_its_tasks_alone(backend, n):
    scores, y = (torch.from_numpy(np.stack(v)) for v in zip(*(batch(n, seed=s) for s in range(6)), strict=True))
    mask = torch.rand(6, n, generator=torch.Generator().manual_seed(0)) < 0.7
    mask[:, :2] = True
    y[~mask] = 7  # what a mask hides is not looked at
    scores[~mask] = float("nan")
    together = roc_auc(scores.view(2, 3, n), y.view(2, 3, n), mask=mask.view(2, 3, n)).flatten()
    for b in range(6):
        assert together[b] == roc_auc(scores[b][mask[b]], y[b][mask[b]])
        assert together[b] == roc_auc(scores[b], y[b], mask=mask[b])


def test_what_has_no_auc(backend):
    scores, y = torch.randn(2, 50), torch.zeros(2, 50, dtype=torch.long)
    y[1, 3] = 1
    assert roc_auc(scores, y).isnan().tolist() == [True, False]
    with pytest.raises(ValueError, match=r"y: expected anomalies and normals, got 0 anomalies among 50 rows"):
        roc_auc(scores[0], y[0])
    with pytest.raises(ValueError, match=r"y: expected anomalies and normals, got 50 anomalies among 50 rows"):
        roc_auc(scores[0], y[0] + 1)
    mask = torch.ones(50, dtype=torch.bool)
    mask[3] = False
    with pytest.raises(ValueError, match=r"got 0 anomalies among 49 rows"):
        roc_auc(scores[1], y[1], mask=mask)
    with pytest.raises(ValueError, match=r"y: expected only 0 \(normal\) and 1 \(anomaly\), got -2"):
        roc_auc(scores, y - 2 * (torch.arange(50) == 9))
    scores[1, 7] = float("nan")
    assert roc_auc(scores[1], y[1]).isnan()


def test_what_has_no_auc_among_many(backend):
    scores, y = (torch.from_numpy(v) for v in batch(9_001))
    with pytest.raises(ValueError, match=r"y: expected anomalies and normals, got 0 anomalies among 9001 rows"):
        roc_auc(scores, torch.zeros_like(y))
    with pytest.raises(ValueError, match=r"y: expected only 0 \(normal\) and 1 \(anomaly\), got 5"):
        roc_auc(scores, y.index_fill(0, torch.tensor([8_000]), 5))
    scores[8_000] = float("nan")
    assert roc_auc(scores, y).isnan()


def test_it_is_outside_of_autograd(backend):
    scores = torch.randn(9, requires_grad=True)
    assert not roc_auc(scores, torch.arange(9) % 2).requires_grad


def test_reversing_the_scores(backend):
    scores, y = (torch.from_numpy(v) for v in batch(20_001, np.float64))
    assert abs(roc_auc(scores, y) + roc_auc(-scores, y) - 1) <= 1e-15


def test_the_contract(backend):
    if backend != "reference":
        contract.is_registered("roc_auc")
    contract.takes_any_layout("roc_auc")
    scores, y = torch.randn(4, 30), torch.arange(30).expand(4, 30) % 2
    torch._dynamo.reset()
    assert torch.equal(torch.compile(roc_auc, fullgraph=True, backend="aot_eager")(scores, y), roc_auc(scores, y))


def test_instruction_sets():
    contract.instruction_sets_agree("roc_auc", 4)


@pytest.mark.parametrize("name", BACKENDS[1:])
def test_the_same_bits_for_any_number_of_threads(name):
    before = torch.get_num_threads()
    scores, y = (torch.from_numpy(v) for v in batch(200_003))
    found = set()
    with heterad.ops.backend(name):
        try:
            for threads in (1, 2, 3, 5):
                torch.set_num_threads(threads)
                found.add(roc_auc(scores, y).item())
        finally:
            torch.set_num_threads(before)
    assert len(found) == 1
