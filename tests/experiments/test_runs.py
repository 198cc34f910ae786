"""Files of runs: one writer at a time, nothing half written, killed runs that go on, several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import torch

from heterad.experiments.runs import complete, read_rows, write_rows


def double(key):
    return [{"part": part, "value": 2 * key["seed"] + part} for part in range(2)]


KEYS = [{"seed": seed} for seed in range(3)]
ROWS = [{"seed": s, "part": p, "value": 2 * s + p} for s in range(3) for p in range(2)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_of_several_rows_by_one_or_more_processes(jobs: int, tmp_path) -> None:
    file = tmp_path / "new" / "runs.jsonl"
    assert complete(file, KEYS, double, jobs=jobs) == ROWS
    assert sorted(map(json.dumps, read_rows(file))) == sorted(map(json.dumps, ROWS))
    assert complete(file, KEYS[1:], None, jobs=jobs) == ROWS[2:]
    assert [path.name for path in file.parent.iterdir()] == ["runs.jsonl"]


def fails_in_the_middle(key):
    return [{"part": 1 / (key["seed"] - 1)}]


@pytest.mark.parametrize("jobs", [1, 2])
def test_runs_that_fail_are_told_of_when_all_others_are_done(jobs: int, tmp_path, caplog) -> None:
    file = tmp_path / "runs.jsonl"
    with pytest.raises(
        ValueError,
        match=r'^1 of 3 runs failed, first {"seed": 1}: division by zero; the others are kept in \S+/runs.jsonl$',
    ) as caught:
        complete(file, KEYS, fails_in_the_middle, jobs=jobs)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert '{"seed": 1} failed: division by zero' in caplog.text
    assert sorted(row["part"] for row in read_rows(file)) == [-1, 1]
    told: list[tuple[int, int]] = []
    complete(file, KEYS, double, report=lambda *at: told.append(at))
    assert told == [(2, 3), (3, 3)]


def test_a_file_that_cannot_be_read_ends_all_runs(tmp_path) -> None:
    def run(key):
        if key["seed"] == 1:
            raise FileNotFoundError("digits.npz")
        return double(key)

    with pytest.raises(FileNotFoundError, match="digits"):
        complete(tmp_path / "runs.jsonl", KEYS, run)
    assert read_rows(tmp_path / "runs.jsonl") == ROWS[:2]


def test_all_runs_fail(tmp_path) -> None:
    with pytest.raises(ValueError, match=r'^1 of 1 runs failed, first {"seed": 1}: division by zero$'):
        complete(tmp_path / "runs.jsonl", KEYS[1:2], fails_in_the_middle)


def test_what_runs_need_is_checked_before_the_first(tmp_path) -> None:
    file = tmp_path / "runs.jsonl"
    complete(file, KEYS[:1], double)

    def check(keys):
        assert keys == KEYS[1:]
        raise FileNotFoundError("digits.npz")

    with pytest.raises(FileNotFoundError, match="digits"):
        complete(file, KEYS, double, check=check)
    assert read_rows(file) == ROWS[:2]


def dies_second(file: Path, key):
    if key["seed"] == 1:
        wait_for(file)
        os._exit(1)
    return {"threads": torch.get_num_threads()}


def test_processes_have_one_thread_and_one_that_dies_is_told_of(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    file = tmp_path / "runs.jsonl"
    with pytest.raises(OSError, match=r"runs.jsonl: one of 2 processes died, .*; finished runs are kept in the file"):
        complete(file, KEYS[:2], partial(dies_second, file), jobs=2)
    assert read_rows(file) == [{"seed": 0, "threads": 1}]


def test_a_file_that_is_no_text(tmp_path) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_bytes(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"runs.jsonl: expected lines of JSON, got a file that is no text"):
        read_rows(file)


def test_a_run_whose_last_rows_are_cut_off_is_done_again(tmp_path) -> None:
    file = tmp_path / "runs.jsonl"
    complete(file, KEYS, double)
    file.write_text(file.read_text()[:-4])
    with pytest.raises(ValueError, match=rf"runs.jsonl, line {len(ROWS)}: expected JSON, got a line that is cut short"):
        read_rows(file)
    assert complete(file, KEYS, double) == ROWS
    assert read_rows(file) == ROWS


def test_so_is_an_only_run_of_several_rows(tmp_path) -> None:
    file, key = tmp_path / "runs.jsonl", {"seed": 1}
    rows = complete(file, [key], lambda _: [{"auc": auc} for auc in (0.1, 0.2, 0.3)])
    file.write_text(file.read_text()[:-4])
    assert complete(file, [key], lambda _: rows) == rows
    assert read_rows(file) == rows


def test_a_last_line_needs_no_end(tmp_path) -> None:
    file = tmp_path / "runs.jsonl"
    rows = complete(file, KEYS, double)
    file.write_text(file.read_text()[:-1])
    assert read_rows(file) == rows
    assert complete(file, KEYS, lambda key: 1 / 0) == rows


def test_a_link_stays_one_and_shares_the_lock(tmp_path) -> None:
    (tmp_path / "real").mkdir()
    file, link = tmp_path / "real" / "runs.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(file)

    def run(key: Mapping) -> dict:
        with pytest.raises(OSError, match="another run is writing to it"):
            complete(file, KEYS, double)
        return double(key)

    rows = complete(link, KEYS, run)
    assert link.is_symlink()
    assert read_rows(file) == read_rows(link) == rows


def test_what_is_dropped_with_a_cut_line_is_told(tmp_path, caplog) -> None:
    file = tmp_path / "runs.jsonl"
    complete(file, [{"seed": 1}, {"seed": 2}], double)
    with file.open("a") as lines:
        lines.write('{"seed": 3, "au')
    complete(file, [{"seed": 3}], double)
    assert 'last line cut short; what may be of the same run is dropped: {"seed": 2}' in caplog.text
    assert [row["seed"] for row in read_rows(file)] == [1, 1, 3, 3]


def test_rows_in_the_file_are_looked_at_before_any_run(tmp_path) -> None:
    file = tmp_path / "runs.jsonl"
    write_rows(file, [{"seed": 1, "auc": 7}])

    def accept(rows: Sequence[Mapping]) -> None:
        raise ValueError(f"auc: {rows[0]['auc']}")

    with pytest.raises(ValueError, match="auc: 7"):
        complete(file, [{"seed": 2}], lambda key: 1 / 0, accept=accept)


def test_a_second_run_is_refused_and_a_killed_one_leaves_no_half_rows(tmp_path) -> None:
    file = tmp_path / "runs.jsonl"
    code = (
        "import sys, time\n"
        "from heterad.experiments.runs import complete\n"
        "def run(key):\n"
        "    time.sleep(60 * key['seed'])\n"
        "    return [{'part': 0}, {'part': 1}]\n"
        "complete(sys.argv[1], [{'seed': 0}, {'seed': 1}], run)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(file)]) as first:
        try:
            wait_for(file)
            with pytest.raises(OSError, match=r"runs.jsonl: another run is writing to it; wait for it"):
                complete(file, KEYS, double)
        finally:
            first.kill()
    assert len(read_rows(file)) == 2
    rows = complete(file, [{"seed": 0}, {"seed": 1}], double)
    assert [row["part"] for row in rows] == [0, 1, 0, 1]
    assert "value" not in rows[0]


@pytest.fixture
def slow(tmp_path) -> Path:
    """A program whose first run takes no time, and the others minutes."""
    (tmp_path / "slow.py").write_text(
        "import signal, sys, time\n"
        "from heterad.experiments.runs import complete\n"
        "def run(key):\n"
        "    time.sleep(60 * key['seed'])\n"
        "    return {'value': 1}\n"
        "if __name__ == '__main__':\n"
        "    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background\n"
        "    try:\n"
        "        complete(sys.argv[1], [{'seed': seed} for seed in range(3)], run, jobs=2)\n"
        "    except KeyboardInterrupt:\n"
        "        print('interrupted')\n"
    )
    return tmp_path / "slow.py"


def test_the_processes_of_a_killed_run_end(slow: Path, tmp_path) -> None:
    file = tmp_path / "runs.jsonl"
    first = subprocess.Popen([sys.executable, slow, file], stdout=subprocess.PIPE)
    try:
        wait_for(file)
    finally:
        first.kill()
    first.communicate(timeout=30)  # returns when the last process that has this pipe has ended


@pytest.mark.parametrize("whom", [os.kill, os.killpg])
def test_an_interrupt_ends_all_processes_at_once(whom, slow: Path, tmp_path) -> None:
    file = tmp_path / "runs.jsonl"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, slow, file], **pipes, start_new_session=True)
    try:
        wait_for(file)
        whom(process.pid, signal.SIGINT)
        told, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (told, complaints) == ("interrupted\n", "")
    assert read_rows(file) == [{"seed": 0, "value": 1}]


def wait_for(file: Path) -> None:
    for _ in range(600):
        if file.exists():
            return
        time.sleep(0.1)
    raise TimeoutError(file)
