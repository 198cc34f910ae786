"""The task set: who is in which set, padding, and errors that name the task."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from heterad.data.tasks import TaskSet

# The feature of a row is its number, so that a set of rows can be read back.
Y = np.array([1, 0, -1, 0, -1, -1, 0, 1, 0, 0, 0, 0])
GROUPS = np.array(list("aabbaaabbbcc"))


def number_tasks(**options) -> TaskSet:
    return TaskSet(np.arange(12.0)[:, None], Y, GROUPS, **options)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def members(rows: torch.Tensor, mask: torch.Tensor | None) -> list[set[int]]:
    real = torch.ones(rows.shape[:2], dtype=torch.bool) if mask is None else mask
    return [set(r[m, 0].int().tolist()) for r, m in zip(rows, real, strict=True)]


def test_layout_and_counts() -> None:
    tasks = number_tasks()
    assert tasks.names.tolist() == ["a", "b", "c"]
    assert len(tasks) == 3
    assert tasks.n_anomalies.tolist() == [1, 1, 0]
    assert tasks.n_normals.tolist() == [2, 3, 2]
    assert tasks.n_unlabelled.tolist() == [2, 1, 0]
    assert tasks.x[:, 0].int().tolist() == [0, 1, 6, 4, 5, 7, 3, 8, 9, 2, 10, 11]
    assert tasks.x.dtype == torch.float32


def test_an_episode_holds_all_rows_in_their_places() -> None:
    drawn = number_tasks().episodes(torch.tensor([0, 1, 2]), generator())
    anomalies, normals = drawn.query[:, : drawn.n_anomalies], drawn.query[:, drawn.n_anomalies :]
    # Task c has only labelled rows: they serve as its support too.
    assert members(drawn.support, drawn.support_mask) == [{4, 5}, {2}, {10, 11}]
    assert members(anomalies, drawn.anomaly_mask) == [{0}, {7}, set()]
    assert members(normals, drawn.normal_mask) == [{1, 6}, {3, 8, 9}, {10, 11}]


def test_masks_are_none_where_every_row_is_real() -> None:
    drawn = number_tasks().episodes(torch.tensor([0]), generator())
    assert drawn.support_mask is drawn.anomaly_mask is drawn.normal_mask is None
    assert drawn.rows.shape == (1, 5, 1)


def test_a_task_without_anomalies_has_no_columns_for_them() -> None:
    drawn = number_tasks().episodes(torch.tensor([2, 2]), generator())
    assert drawn.n_anomalies == 0


def test_support_and_query_sizes_are_limits() -> None:
    n = 200
    y = np.where(np.arange(n) < 100, np.arange(n) % 10 == 0, -1).astype(int)
    tasks = TaskSet(np.arange(n)[:, None], y, np.zeros(n))
    drawn = tasks.episodes(torch.tensor([0, 0]), generator(), support_size=30, query_size=20)
    assert drawn.support.shape == (2, 30, 1)
    assert drawn.n_anomalies == 2
    assert drawn.query.shape == (2, 20, 1)
    first, second = members(drawn.support, drawn.support_mask)
    assert first != second
    assert min(first | second) >= 100


def test_a_small_query_keeps_a_row_of_each_class() -> None:
    tasks = TaskSet(np.zeros((50, 1)), [1] + 49 * [0], np.zeros(50))
    drawn = tasks.episodes(torch.tensor([0]), generator(), query_size=2)
    assert (drawn.n_anomalies, drawn.query.shape[1]) == (1, 3)


def test_sample_deals_every_task_equally_often() -> None:
    drawn = number_tasks().sample(7, generator())
    counts = torch.bincount(drawn.tasks, minlength=3)
    assert sorted(counts.tolist()) == [2, 2, 3]


def test_the_generator_is_the_only_randomness() -> None:
    tasks = number_tasks()
    before = torch.get_rng_state()
    first, second = (tasks.sample(2, generator(5), support_size=1).rows for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


class ElsewhereTasks(TaskSet):
    """A task set that believes it is not on the CPU, where asking for a size would wait for the device."""

    device = torch.device("cuda")


def test_off_the_cpu_episodes_are_padded_to_the_largest_task_of_all() -> None:
    tasks = ElsewhereTasks(np.arange(12.0)[:, None], Y, GROUPS)
    drawn = tasks.episodes(torch.tensor([2]), generator())
    assert (drawn.n_support, drawn.n_anomalies, drawn.rows.shape[1]) == (2, 1, 6)
    assert members(drawn.support, drawn.support_mask) == [{10, 11}]
    assert members(drawn.query[:, :1], drawn.anomaly_mask) == [set()]
    assert members(drawn.query[:, 1:], drawn.normal_mask) == [{10, 11}]
    limited = tasks.episodes(torch.tensor([0, 1]), generator(), support_size=1)
    assert limited.support.shape == (2, 1, 1)
    assert [len(m) for m in members(limited.support, limited.support_mask)] == [1, 1]


def test_dtype_and_tensor_input() -> None:
    x = torch.arange(12.0)[:, None]
    tasks = TaskSet(x, Y, GROUPS, dtype=torch.float64)
    assert tasks.x.dtype == torch.float64
    assert tasks.device == x.device
    assert x[:, 0].tolist() == list(range(12))


@pytest.mark.parametrize(
    ("x", "y", "groups", "message"),
    [
        (np.zeros(3), [0, 0, 0], [0, 0, 0], r"x: expected rows and features \[n, D\] with n > 0, got shape \(3,\)"),
        (np.zeros((0, 2)), [], [], r"x: expected rows .* got shape \(0, 2\)"),
        (np.zeros((3, 2)), [0, 0], [0, 0, 0], r"y: expected shape \(3,\), got \(2,\)"),
        (np.zeros((3, 2)), [0, 0, 0], [0], r"groups: expected shape \(3,\), got \(1,\)"),
        (np.zeros((3, 2)), [0, 2, 0], [0, 0, 0], r"y: expected 1 \(anomaly\), 0 .* got \[2\]"),
        (np.zeros((3, 2)), [0, 1, -1], ["a", "b", "b"], r"task 'b': expected at least one row labelled normal"),
    ],
)
def test_bad_input(x, y, groups, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TaskSet(x, y, groups)
