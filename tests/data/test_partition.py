"""Simulated anomaly distributions: who is in which set, and that nothing leaks from query to support."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from heterad.data.partition import anomaly_distributions, cluster_normals, random_clusters

BLOBS = np.repeat(np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]), [20, 30, 25], axis=0)
BLOBS = BLOBS + np.random.default_rng(0).normal(size=BLOBS.shape)
TRUE = np.repeat([0, 1, 2], [20, 30, 25])


def simulate(n_anomalies: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    cluster = cluster_normals(BLOBS, 3, rng)
    normal = np.arange(100, 175)
    return normal, cluster, anomaly_distributions(normal, np.arange(n_anomalies), cluster, rng)


def test_the_clusters_are_found() -> None:
    np.testing.assert_array_equal(cluster_normals(BLOBS, 3, np.random.default_rng(0)), TRUE)


@pytest.mark.filterwarnings("error")
def test_rare_values_and_rounding_make_no_clusters_of_their_own() -> None:
    rare, constant = np.zeros((75, 24)), np.full((75, 2), 0.1, np.float32)
    rare[[3, 40], :12] = rare[[30, 70], 12:] = 1
    x = np.hstack([np.repeat(BLOBS, 10, axis=1), rare, constant])
    np.testing.assert_array_equal(cluster_normals(x, 3, np.random.default_rng(0)), TRUE)


@pytest.mark.parametrize("seed", range(5))
def test_normals_of_support_and_query_never_meet(seed: int) -> None:
    normal, cluster, sets = simulate(10, seed)
    assert [s.clusters for s in sets] == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), None]
    for s in sets[:-1]:
        assert s.clusters is not None
        assert {*cluster[s.support_normal - 100]} == {s.clusters[0]}
        assert {*cluster[s.query_normal - 100]} == {s.clusters[1]}
        assert not set(s.support_normal) & set(s.query_normal)
    holistic = sets[-1]
    assert not set(holistic.support_normal) & set(holistic.query_normal)
    assert sorted([*holistic.support_normal, *holistic.query_normal]) == normal.tolist()


def test_virtual_unseen_anomalies_never_reach_support() -> None:
    _, _, sets = simulate(10)
    for s in sets:
        assert len(s.support_anomaly) == 5
        assert set(s.support_anomaly) < set(s.query_anomaly) == set(range(10))
    assert len({tuple(s.support_anomaly) for s in sets}) > 1


def test_one_anomaly_stands_in_both_and_the_log_says_so(caplog) -> None:
    with caplog.at_level(logging.INFO, "heterad"):
        _, _, sets = simulate(1)
    assert all(s.support_anomaly.tolist() == s.query_anomaly.tolist() == [0] for s in sets)
    assert "the rule of M = 1" in caplog.text


def test_without_anomalies_there_are_only_normals() -> None:
    _, _, sets = simulate(0)
    assert all(len(s.support_anomaly) == len(s.query_anomaly) == 0 for s in sets)


def test_a_small_cluster_is_merged_into_the_nearest_and_the_log_says_so(caplog) -> None:
    x = np.array([0.0, 0.1, 0.2, 0.3, 5.0, 9.0, 9.1, 9.2, 9.3])[:, None]
    with caplog.at_level(logging.INFO, "heterad"):
        cluster = cluster_normals(x, 3, np.random.default_rng(0))
    assert cluster.tolist() == [0] * 4 + [1] * 5
    assert "a cluster of 1 normals is merged" in caplog.text


def test_equal_rows_make_one_cluster_and_the_holistic_set_alone() -> None:
    cluster = cluster_normals(np.ones((6, 3)), 3, np.random.default_rng(0))
    assert cluster.tolist() == [0] * 6
    assert len(anomaly_distributions(np.arange(6), np.arange(0), cluster, np.random.default_rng(0))) == 1


def test_one_seed_gives_one_partition() -> None:
    first, second = simulate(10, 3), simulate(10, 3)
    for a, b in zip(first[2], second[2], strict=True):
        assert [x.tolist() for x in a[:4]] == [x.tolist() for x in b[:4]]


def test_random_clusters_are_even_and_large_enough() -> None:
    assert sorted(np.bincount(random_clusters(11, 3, np.random.default_rng(0)))) == [3, 4, 4]
    assert np.bincount(random_clusters(5, 3, np.random.default_rng(0))).min() >= 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: cluster_normals(np.ones(3), 3, r), r"features: expected rows and features .* shape \(3,\)"),
        (lambda r: cluster_normals(np.ones((0, 2)), 3, r), r"got shape \(0, 2\)"),
        (lambda r: cluster_normals(np.ones((3, 2)), 0, r), "n_clusters: expected at least 1, got 0"),
        (lambda r: anomaly_distributions(np.arange(1), np.arange(2), np.zeros(1), r), "at least two normals, .*got 1"),
        (lambda r: anomaly_distributions(np.arange(3), np.arange(2), np.zeros(2), r), r"cluster: expected shape \(3,"),
    ],
)
def test_bad_input(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(np.random.default_rng(0))
