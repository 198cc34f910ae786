"""The paper's protocol: who is drawn, how many, and that nobody is drawn twice."""

from __future__ import annotations

import numpy as np
import pytest

from heterad.data.protocol import Pool, one_class_tasks, source_rows, split_values, target_rows

TASK = Pool("t", np.arange(100), np.arange(100, 1000))


def test_split_values_is_a_partition() -> None:
    parts = split_values(np.repeat(np.arange(10), 3), (6, 2, 2), np.random.default_rng(0))
    assert [len(p) for p in parts] == [6, 2, 2]
    assert sorted(np.concatenate(parts)) == list(range(10))


def test_split_values_refuses_too_many() -> None:
    with pytest.raises(ValueError, match="sizes: expected at most 3 values"):
        split_values(np.arange(3), (2, 2), np.random.default_rng(0))


def test_one_class_tasks_of_domains_and_classes() -> None:
    classes, domains = np.array([0, 1, 2, 0, 1]), np.array([7, 7, 7, 8, 8])
    tasks = one_class_tasks(classes, domains)
    assert [t.name for t in tasks] == ["7/0", "7/1", "7/2", "8/0", "8/1"]
    assert tasks[1].normal.tolist() == [1]
    assert tasks[1].anomaly.tolist() == [0, 2]
    assert [t.name for t in one_class_tasks(classes, domains, keep=np.array([8]))] == ["8/0", "8/1"]


def test_without_domains_only_kept_classes_are_anomalies() -> None:
    tasks = one_class_tasks(np.array([0, 1, 2, 3]), keep=np.array([1, 3]))
    assert [(t.name, t.normal.tolist(), t.anomaly.tolist()) for t in tasks] == [("1", [1], [3]), ("3", [3], [1])]


def test_a_domain_of_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more in domain 'b'"):
        one_class_tasks(np.array([0, 1, 1]), np.array(["a", "a", "b"]))


@pytest.mark.parametrize("label_ratio", [0.1, 0.2, 0.3])
@pytest.mark.parametrize("contamination", [0.0, 0.1, 0.5])
def test_source_rows_counts(label_ratio: float, contamination: float) -> None:
    drawn = source_rows([TASK], label_ratio, np.random.default_rng(0), contaminations=[contamination])
    assert len(np.unique(drawn.rows)) == len(drawn.rows) == len(drawn.y) == len(drawn.groups)
    anomalous = drawn.rows >= 100
    labelled = drawn.y >= 0
    np.testing.assert_array_equal(anomalous[labelled], drawn.y[labelled] == 1)
    assert labelled.sum() == round(label_ratio * 100)
    assert (drawn.y == 1).sum() == max(1, round(label_ratio * 10))
    assert (~anomalous).sum() == 100
    assert anomalous[~labelled].mean() == pytest.approx(contamination, abs=0.005)


def test_source_rows_differ_by_task_and_use_all_contaminations() -> None:
    drawn = source_rows([TASK._replace(name=str(i)) for i in range(60)], 0.2, np.random.default_rng(0))
    shares = {
        round(float((drawn.rows[(drawn.groups == g) & (drawn.y == -1)] >= 100).mean()), 1)
        for g in np.unique(drawn.groups)
    }
    assert shares == {0.1, 0.2, 0.3, 0.4, 0.5}


def test_the_smallest_task_has_one_labelled_row_of_each_kind() -> None:
    tiny = Pool("tiny", np.arange(2), np.array([2]))
    drawn = source_rows([tiny], 0.1, np.random.default_rng(0))
    assert sorted(drawn.y) == [-1, 0, 1]


@pytest.mark.parametrize("contamination", [0.0, 0.1, 0.4])
def test_target_rows_counts(contamination: float) -> None:
    drawn = target_rows(TASK, contamination, np.random.default_rng(0))
    assert len(drawn.support) == 50
    assert drawn.support_y.sum() == round(contamination * 50)
    np.testing.assert_array_equal(drawn.support >= 100, drawn.support_y == 1)
    np.testing.assert_array_equal(drawn.test >= 100, drawn.test_y == 1)
    assert sorted(np.concatenate([drawn.support, drawn.test])) == list(range(1000))


def test_contaminations_of_one_seed_are_nested() -> None:
    low, high = (target_rows(TASK, c, np.random.default_rng(3)) for c in (0.1, 0.5))
    assert set(low.support[low.support_y == 1]) < set(high.support[high.support_y == 1])
    assert set(high.support[high.support_y == 0]) < set(low.support[low.support_y == 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: source_rows([TASK], 0.0, r), "label_ratio: expected a share in"),
        (lambda r: source_rows([TASK], 0.2, r, labelled_anomalies=2), "labelled_anomalies: expected a share"),
        (lambda r: source_rows([TASK], 0.2, r, contaminations=[1.0]), r"contaminations: expected a share in \[0, 1\)"),
        (lambda r: source_rows([TASK._replace(anomaly=np.arange(0))], 0.2, r), "task 't': expected 2 anomalies"),
        (lambda r: source_rows([TASK._replace(normal=np.arange(1))], 1.0, r), "more than 1 normals"),
        (lambda r: target_rows(TASK, 1.0, r), "contamination: expected a share"),
        (lambda r: target_rows(TASK, 0.1, r, support_share=0), "support_share: expected a share"),
        (lambda r: target_rows(TASK, 0.0, r, support_share=1), "task 't': expected more than 0 anomalies and more"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))
