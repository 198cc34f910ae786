"""deviation_loss: accuracy, every dtype of labels, both derivatives, the kinks."""

import contract
import pytest
import torch

import heterad
from heterad.ops import deviation_loss
from heterad.testing import assert_accurate, available_backends, sample_inputs

BACKENDS = available_backends("deviation_loss")
LABELS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, *contract.FLOATS)


@pytest.fixture(params=BACKENDS)
def backend(request):
    with heterad.ops.backend(request.param):
        yield request.param


def batch(n, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(n, generator=generator, dtype=torch.float64).mul(4).to(dtype)
    return scores.requires_grad_(), (torch.rand(n, generator=generator) < 0.4).long()


@pytest.mark.parametrize("dtype", contract.FLOATS, ids=str)
def test_accuracy(backend, dtype):
    for sample in sample_inputs("deviation_loss", dtype):
        assert_accurate("deviation_loss", sample)


def test_the_formula(backend):
    scores = torch.tensor([-1.0, 2.0, 3.0, 13.0, 4.0], requires_grad=True)
    y = torch.tensor([0, 0, 1, 1, 1])
    loss = deviation_loss(scores, y, margin=5.0, prior=(1.0, 2.0), reduction="none")
    assert loss.tolist() == [1.0, 0.5, 4.0, 0.0, 3.5]
    loss.sum().backward()
    assert scores.grad.tolist() == [-0.5, 0.5, -0.5, 0.0, -0.5]


@pytest.mark.parametrize("dtype", LABELS, ids=str)
def test_labels_of_every_dtype_are_the_same_labels(backend, dtype):
    scores, y = batch(1001)
    expected = deviation_loss(scores, y)
    labels = y.to(dtype)
    if dtype.is_floating_point:
        labels = torch.where(y == 0, -0.0, 1.0).to(dtype)
    got = deviation_loss(scores, labels)
    assert torch.equal(got, expected)
    assert torch.equal(*(torch.autograd.grad(v, scores)[0] for v in (got, expected)))


@pytest.mark.parametrize("dtype", LABELS[1:], ids=str)
def test_a_label_that_is_no_label_is_named(backend, dtype):
    scores, y = batch(100_000)
    y = y.to(dtype)
    y[70_001] = 3
    with pytest.raises(ValueError, match=r"y: expected only 0 \(normal\) and 1 \(anomaly\), got 3"):
        deviation_loss(scores, y)


def test_complex_labels_are_refused():
    with pytest.raises(TypeError, match=r"y: expected a boolean, integer or floating tensor, got torch.complex64"):
        deviation_loss(torch.ones(2), torch.ones(2, dtype=torch.complex64))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_both_derivatives(backend, reduction):
    scores, y = batch(23, torch.float64, seed=3)
    mu, sigma = 0.1, 1.3
    dev = (scores.detach() - mu) / sigma
    assert torch.stack([dev.abs(), (5 - dev).abs()]).min() > 1e-3  # away from the kinks

    def loss(s):
        return deviation_loss(s, y, prior=(mu, sigma), reduction=reduction)

    assert torch.autograd.gradcheck(loss, scores)
    assert torch.autograd.gradgradcheck(loss, scores)


def test_the_gradient_of_a_gradient_penalty(backend):
    """What AHL's importance learning does: a loss weighted by a learned number, differentiated after a step."""
    scores, y = batch(50, torch.float64)
    weight = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(weight * deviation_loss(scores, y), scores, create_graph=True)
    (slope,) = torch.autograd.grad(grad.pow(2).sum(), weight)
    (plain,) = torch.autograd.grad(deviation_loss(scores, y), scores)
    assert torch.allclose(slope, 2 * 2 * plain.pow(2).sum())


def test_at_the_kinks_the_gradient_is_zero(backend):
    scores = torch.tensor([0.0, 5.0], requires_grad=True)
    deviation_loss(scores, torch.tensor([0, 1]), prior=(0.0, 1.0), reduction="sum").backward()
    assert scores.grad.tolist() == [0.0, 0.0]


def test_nan_infinity_and_extremes(backend):
    scores = torch.tensor([float("nan"), 1.0], requires_grad=True)
    for labels in ([0, 0], [1, 0]):
        assert deviation_loss(scores, torch.tensor(labels)).isnan()
        loss = deviation_loss(scores, torch.tensor(labels), reduction="none")
        assert loss.isnan().tolist() == [True, False]
    far = torch.tensor([float("inf"), -float("inf"), 1e30, -1e30])
    prior = (0.0, 1.0)
    assert deviation_loss(far, torch.zeros(4), prior=prior, reduction="none").tolist() == far.abs().tolist()
    assert deviation_loss(far, torch.ones(4), prior=prior, reduction="none").tolist() == [0.0, torch.inf, 0.0, far[2]]
    assert deviation_loss(far[:0], torch.ones(0), reduction="sum") == 0


def test_the_default_prior_is_fixed():
    scores, y = batch(100)
    state = torch.get_rng_state()
    assert deviation_loss(scores, y) == deviation_loss(scores, y)
    assert torch.equal(state, torch.get_rng_state())


def test_the_contract(backend):
    if backend != "reference":
        contract.is_registered("deviation_loss")
    contract.compiles("deviation_loss", exact=backend != "reference")
    contract.takes_any_layout("deviation_loss", exact=backend != "reference")


def test_instruction_sets():
    contract.instruction_sets_agree("deviation_loss", 32)


@pytest.mark.parametrize("name", BACKENDS[1:])
def test_the_same_bits_for_any_number_of_threads(name):
    before = torch.get_num_threads()
    scores, y = batch(300_001)
    runs = []
    with heterad.ops.backend(name):
        try:
            for threads in (1, 2, 3, 2, 1):
                torch.set_num_threads(threads)
                loss = deviation_loss(scores, y)
                runs.append([loss.detach(), *torch.autograd.grad(loss, scores)])
        finally:
            torch.set_num_threads(before)
    assert all(contract.equal(runs[0], other) for other in runs[1:])
