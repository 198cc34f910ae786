"""Several processes train as one does: the same gradients, the same weights, and an end when one of them is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import distributed_worker
import pytest
import torch

from heterad.train import Processes, join, read_tensors

WORKER = Path(__file__).with_name("distributed_worker.py")


def start(act: str, folder: Path, size: int) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    common = os.environ | {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    command = [sys.executable, str(WORKER), act, str(folder)]
    return [
        subprocess.Popen(
            command, env=common | {"RANK": str(r), "LOCAL_RANK": str(r)}, stderr=subprocess.PIPE, text=True
        )
        for r in range(size)
    ]


def finish(act: str, folder: Path, size: int) -> list[dict[str, torch.Tensor]]:
    """What each process ended with."""
    for process in start(act, folder, size):
        _, complaint = process.communicate(timeout=300)
        assert process.returncode == 0, complaint
    return [read_tensors(folder / f"{act}-{rank}-{size}")[0] for rank in range(size)]


@pytest.mark.parametrize(("size", "n"), [(1, 5), (2, 5), (3, 8), (4, 4)])
def test_shares_are_all_there_is_once(size: int, n: int) -> None:
    things = list(range(n))
    shares = [things[Processes(rank, size).share(n)] for rank in range(size)]
    assert [thing for share in shares for thing in share] == things
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_more_processes_than_tasks_are_refused() -> None:
    with pytest.raises(ValueError, match="processes: expected at most one for each of the 2 to share, got 3"):
        Processes(0, 3).share(2)


def test_alone_without_torchrun(monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join() as processes:
        assert (processes.rank, processes.size, processes.first) == (0, 1, True)
        assert processes.agree(0.5) == 0.5


def test_a_gpu_for_each_process(monkeypatch) -> None:
    for name, value in {"WORLD_SIZE": "9999", "RANK": "9998", "LOCAL_RANK": "9998"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="device: expected a GPU for each process, got"), join("cuda"):
        pass


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[dict[str, torch.Tensor], ...]:
    """What one process ends with, and each of two that share five tasks a step, three and two."""
    folder = tmp_path_factory.mktemp("trained")
    distributed_worker.main("train", folder)
    return read_tensors(folder / "train-0-1")[0], *finish("train", folder, 2)


def test_two_processes_have_the_gradients_of_one(trained) -> None:
    one, first, second = trained
    gradients = [name for name in one if name.startswith("grad.")]
    assert len(gradients) == sum(not name.startswith("grad.") for name in one)
    scale = max(one[name].abs().max() for name in gradients)
    for name in gradients:
        assert torch.equal(first[name], second[name]), name
        assert (first[name] - one[name]).abs().max() <= 1e-6 * scale.clamp(max=1), name


def test_two_processes_end_with_the_same_weights(trained) -> None:
    one, first, second = trained
    for name, expected in one.items():
        assert torch.equal(first[name], second[name]), name
        if not name.startswith("grad."):
            torch.testing.assert_close(first[name], expected, rtol=1e-3, atol=1e-4)


def test_killed_and_resumed_it_ends_with_the_same_bits(trained, tmp_path: Path) -> None:
    killed = start("killed", tmp_path, 2)
    deadline = time.monotonic() + 300
    while len(list(tmp_path.glob("reached-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in killed:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert read_tensors(tmp_path / "checkpoint")[1]["loop"]["step"] == 19
    resumed = finish("resume", tmp_path, 2)
    for rank in (0, 1):
        assert all(torch.equal(t, trained[1][name]) for name, t in resumed[rank].items() if "grad." not in name)


@pytest.mark.parametrize("act", ["die", "sleep"])
def test_a_lost_process_ends_the_run_with_a_message(act: str, tmp_path: Path) -> None:
    first, second = start(act, tmp_path, 2)
    _, complaint = first.communicate(timeout=300)
    if act == "sleep":
        assert second.poll() is None
    second.kill()
    second.communicate()
    assert first.returncode == 1
    assert "ConnectionError: process 0 of 2 lost another, which died or did not answer in time" in complaint
    assert list(tmp_path.iterdir()) == []
