"""Every op as a citizen of its process: threads, forks, deterministic mode, global state."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import heterad
from heterad.ops._library import room
from heterad.testing import Sample, available_backends, sample_inputs

OPS = ("deviation_loss", "ridge_solve", "robust_ridge", "roc_auc", "smoothed_auc", "soft_threshold")
CASES = [pytest.param(op, name, id=f"{op}-{name}") for op in OPS for name in available_backends(op)]


def results(op: str, sample: Sample) -> list[torch.Tensor]:
    """Outputs and the gradient of every leaf."""
    outputs = getattr(heterad.ops, op)(*sample.args, **sample.kwargs)
    outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
    leaves = sample.leaves()
    grads = torch.autograd.grad(sum(o.sum() for o in outputs), leaves, allow_unused=True) if leaves else ()
    return [o.detach() for o in outputs] + [g for g in grads if g is not None]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize(("op", "name"), CASES)
def test_many_threads_at_once_share_nothing(op, name):
    samples = sample_inputs(op, size="small")
    with heterad.ops.backend(name):
        alone = [results(op, s) for s in samples]
        with ThreadPoolExecutor(8) as pool:
            for _ in range(3):
                together = list(pool.map(lambda s: results(op, s), samples))
                assert all(same(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("op", OPS)
def test_the_same_bits_for_any_number_of_threads(op):
    """Of the compiled back ends; plain torch promises nothing about threads."""
    before = torch.get_num_threads()
    for name in available_backends(op)[1:]:
        per_count = []
        try:
            for threads in (1, 2, 5):
                torch.set_num_threads(threads)
                with heterad.ops.backend(name):
                    per_count.append([results(op, s) for s in sample_inputs(op)])
        finally:
            torch.set_num_threads(before)
        for other in per_count[1:]:
            assert all(same(a, b) for a, b in zip(per_count[0], other, strict=True))


def _child(queue, op: str, sample: Sample) -> None:
    queue.put([r.tolist() for r in results(op, sample)])


@pytest.mark.parametrize("op", OPS)
def test_a_forked_child_computes_the_same(op):
    sample = sample_inputs(op)[-1]
    expected = [r.tolist() for r in results(op, sample)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue, op, sample))
    child.start()
    try:
        assert queue.get(timeout=60) == expected
    finally:
        child.join(10)
        child.kill()


@pytest.mark.parametrize(("op", "name"), CASES)
def test_nothing_uninitialised_is_read(op, name):
    """In deterministic mode torch fills new memory with NaN: what is not written shows."""
    samples = sample_inputs(op, size="small")
    with heterad.ops.backend(name):
        usual = [results(op, s) for s in samples]
        torch.use_deterministic_algorithms(True)
        try:
            filled = [results(op, s) for s in samples]
        finally:
            torch.use_deterministic_algorithms(False)
    assert all(same(a, b) for a, b in zip(usual, filled, strict=True))


@pytest.mark.parametrize("op", OPS)
def test_the_global_generator_is_left_alone(op):
    before = torch.get_rng_state()
    results(op, sample_inputs(op)[0])
    assert torch.equal(before, torch.get_rng_state())


def advice(address: int) -> list[str]:
    """The kernel's flags of the mapping that holds an address."""
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first = line.split()[0]
        if "-" in first:
            begin, end = (int(part, 16) for part in first.split("-"))
            inside = begin <= address < end
        elif inside and first == "VmFlags:":
            return line.split()[1:]
    raise AssertionError("the address is not mapped")


@pytest.mark.skipif(
    "cpp" not in available_backends("ridge_solve") or not Path("/sys/kernel/mm/transparent_hugepage").exists(),
    reason="needs the compiled ops and a Linux with transparent huge pages",
)
@pytest.mark.parametrize("zero", [False, True])
def test_large_results_ask_for_huge_pages(zero, monkeypatch):
    torch.full((1 << 15, 64), 7.0)  # what is freed here is what is given out next
    large = room((1 << 15, 64), torch.float32, zero=zero)
    assert "hg" in advice(large.data_ptr() + large.nbytes // 2)
    monkeypatch.delattr("heterad._C.huge_pages")
    small = room((64, 64), torch.float32, zero=zero)
    assert not zero or not (large.any() or small.any())
