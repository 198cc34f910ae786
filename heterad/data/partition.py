"""From one training set to many: the heterogeneous anomaly distributions that AHL learns from."""

from __future__ import annotations

import logging
from itertools import permutations
from typing import NamedTuple

import numpy as np

logger = logging.getLogger(__name__)

LEAST = 2  # normals that a cluster needs to stand alone
REACH = 3.0  # standard deviations at which a feature is cut, lest one row of rare values be a cluster of its own


class Distribution(NamedTuple):
    """One simulated anomaly distribution D_i as row numbers of the caller's arrays.

    ``clusters`` names the clusters of the support and of the query normals; None marks the holistic set.
    """

    support_normal: np.ndarray
    support_anomaly: np.ndarray
    query_normal: np.ndarray
    query_anomaly: np.ndarray
    clusters: tuple[int, int] | None


def cluster_normals(
    features: np.ndarray, n_clusters: int, rng: np.random.Generator, *, least: int = LEAST
) -> np.ndarray:
    """Divide normals into clusters by K-means on standardised features, cut at three standard deviations.

    A cluster of fewer than ``least`` rows is merged into the one whose centre is nearest, and a note is logged; so
    fewer than ``n_clusters`` may result, and one at the least.

    Args:
        features: ``[n, F]``, finite; a feature without spread counts as zero.
        n_clusters: clusters to look for, >= 1.
        rng: source of randomness.
        least: rows that a cluster must have.

    Returns:
        The cluster of each row ``[n]``, int64, numbered from 0 without gaps.

    Raises:
        ValueError: ``features`` is not a matrix with rows, or ``n_clusters`` is below 1.

    Cost:
        O(n F n_clusters) an iteration of K-means, ten starts; memory is a copy of the features.

    Source:
        Zhu et al. (CVPR 2024), appendix B.1.

    Example:
        >>> cluster_normals(np.repeat([[0.0], [9.0]], 4, axis=0), 2, np.random.default_rng(0)).tolist()
        [0, 0, 0, 0, 1, 1, 1, 1]
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features: expected rows and features [n, F] with n > 0, got shape {features.shape}")
    if n_clusters < 1:
        raise ValueError(f"n_clusters: expected at least 1, got {n_clusters}")
    z = _standardised(features.astype(np.float64))
    n_clusters = min(n_clusters, len(np.unique(z, axis=0)))
    with threadpool_limits(1):  # K-means on several threads sums in random order
        found = KMeans(n_clusters, n_init=10, random_state=int(rng.integers(2**31))).fit(z)
    cluster, centres = found.labels_.astype(np.int64), found.cluster_centers_
    while True:
        names, size = np.unique(cluster, return_counts=True)
        if len(names) == 1 or size.min() >= least:
            return _in_order_of_appearance(cluster)
        small = names[size.argmin()]
        others = names[names != small]
        nearest = others[np.square(centres[others] - centres[small]).sum(1).argmin()]
        logger.info("a cluster of %d normals is merged into its nearest neighbour", size.min())
        cluster[cluster == small] = nearest


def random_clusters(n: int, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Divide ``n`` rows at random into clusters of equal size (±1): the ablation of ``cluster_normals``.

    Returns:
        The cluster of each row ``[n]``, int64.

    Example:
        >>> np.bincount(random_clusters(7, 3, np.random.default_rng(0))).tolist()
        [3, 2, 2]
    """
    return rng.permutation(n) % min(n_clusters, max(1, n // LEAST))


def anomaly_distributions(
    normal: np.ndarray, anomaly: np.ndarray, cluster: np.ndarray, rng: np.random.Generator
) -> list[Distribution]:
    """Simulate one anomaly distribution for each ordered pair of clusters, and a holistic one.

    A clustered set trains (support) on the normals of one cluster and is judged (query) on those of another; the
    holistic one deals all normals at random into two halves. In each set a random half of the anomalies is
    *virtually seen*, in support and query alike, and the rest *virtually unseen*, in the query only. One anomaly
    alone stands in both (the rule of M = 1), which a note in the log says.

    Args:
        normal: row numbers of the normals ``[n]``, n >= 2.
        anomaly: row numbers of the seen anomalies ``[M]``, M >= 0.
        cluster: the cluster of each normal ``[n]``.
        rng: source of randomness.

    Returns:
        C (C - 1) clustered sets in the order of their clusters, then the holistic one: T = 7 for C = 3.

    Raises:
        ValueError: there are fewer than two normals, or not one cluster for each.

    Cost:
        O(T (n + M)) time and memory.

    Source:
        Zhu et al. (CVPR 2024), section 3.2 and appendix B.1.

    Example:
        >>> sets = anomaly_distributions(np.arange(6), np.arange(6, 10), np.arange(6) % 3, np.random.default_rng(0))
        >>> len(sets), sets[0].clusters, sets[0].support_normal.tolist(), sets[0].query_normal.tolist()
        (7, (0, 1), [0, 3], [1, 4])
    """
    if len(normal) < 2:
        raise ValueError(f"normal: expected at least two normals, one for support and one for query, got {len(normal)}")
    if cluster.shape != normal.shape:
        raise ValueError(f"cluster: expected shape {normal.shape} to match normal, got {cluster.shape}")
    if len(anomaly) == 1:
        logger.info("one anomaly cannot be halved: it stands in support and query (the rule of M = 1)")
    members = [normal[cluster == c] for c in np.unique(cluster)]
    dealt = rng.permutation(normal)
    half = len(dealt) // 2
    pairs: list[tuple[np.ndarray, np.ndarray, tuple[int, int] | None]]
    pairs = [(members[a], members[b], (a, b)) for a, b in permutations(range(len(members)), 2)]
    pairs.append((np.sort(dealt[:half]), np.sort(dealt[half:]), None))
    sets = []
    for support, query, clusters in pairs:
        seen = rng.permutation(anomaly)[: (len(anomaly) + 1) // 2]
        sets.append(Distribution(support, np.sort(seen), query, anomaly, clusters))
    return sets


def _standardised(x: np.ndarray) -> np.ndarray:
    spread, size = x.std(0), np.abs(x).max(0)
    z = np.zeros_like(x)
    np.divide(x - x.mean(0), spread, out=z, where=spread > 1e-9 * size)  # below is the rounding of equal values
    return z.clip(-REACH, REACH)


def _in_order_of_appearance(cluster: np.ndarray) -> np.ndarray:
    _, first, number = np.unique(cluster, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]
