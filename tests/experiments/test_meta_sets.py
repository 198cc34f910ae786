"""Data sets and their splits: the counts of section 4.1, settings of appendix F, and files that will not do."""

from __future__ import annotations

import numpy as np
import pytest

from heterad.data import split_values
from heterad.experiments.meta_sets import DataSet, Setting, draw_split, load_set


def toy(n_domains: int = 6, n_classes: int = 4, n_rows: int = 20, **options) -> DataSet:
    n = n_domains * n_classes * n_rows
    domains = np.repeat(np.arange(n_domains), n // n_domains)
    x = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    return DataSet("toy", x, np.tile(np.repeat(np.arange(n_classes), n_rows), n_domains), domains, (4, 1, 1), **options)


def test_a_split_is_section_4_1() -> None:
    data = toy()
    drawn = draw_split(data, 0, 0.2)
    assert len(np.unique(drawn.source.groups)) == 16
    assert len(np.unique(drawn.validation.groups)) == len(drawn.targets[0.1]) == 4
    rows = [drawn.source.rows, drawn.validation.rows, *(np.r_[t.support, t.test] for t in drawn.targets[0.5])]
    domains = [set(data.domains[r]) for r in rows]
    assert domains[0].isdisjoint(domains[1])
    assert set.union(*domains[2:]).isdisjoint(domains[0] | domains[1])
    for share, targets in drawn.targets.items():
        assert {len(t.support) for t in targets} == {10}
        assert {int(t.support_y.sum()) for t in targets} == {round(10 * share)}


def test_one_split_has_the_same_targets_whatever_the_labels() -> None:
    one, other = draw_split(toy(), 3, 0.1), draw_split(toy(), 3, 0.3, Setting(n_source=2))
    assert all(np.array_equal(a.support, b.support) for a, b in zip(one.targets[0.3], other.targets[0.3], strict=True))
    assert not np.array_equal(one.targets[0.3][0].support, draw_split(toy(), 4, 0.1).targets[0.3][0].support)


def test_settings() -> None:
    assert len(np.unique(draw_split(toy(), 0, 0.2, Setting(n_source=5)).source.groups)) == 5
    split = draw_split(toy(), 0, 0.5, Setting(with_anomalies=0.25))
    drawn, validation = split.source, split.validation
    assert len(np.unique(drawn.groups)) == 16
    assert len(np.unique(drawn.groups[drawn.y == 1])) == 4
    assert set(validation.groups[validation.y == 1]) == set(validation.groups)
    few = draw_split(toy(n_rows=100), 0, 0.3, Setting(labelled_anomalies=0.01)).source
    assert (few.y == 1).sum() == 16


def test_a_domain_as_a_task_and_standard_rows() -> None:
    data = toy(n_classes=2, n_rows=30, binary=True, standardise=True)
    data.x[:, 0] *= 1e6
    drawn = draw_split(data, 0, 0.2)
    assert len(np.unique(drawn.source.groups)) == 4
    np.testing.assert_allclose(drawn.x[drawn.source.rows].std(0), 1, rtol=0.05)
    assert len(drawn.targets[0.1]) == 1


def test_a_class_that_is_too_small_is_named() -> None:
    data = toy()
    keep = np.ones(len(data.x), bool)
    keep[1:20] = False
    small = data._replace(x=data.x[keep], classes=data.classes[keep], domains=data.domains[keep])
    in_source = next(
        split for split in range(20) if 0 in split_values(data.domains, (4,), np.random.default_rng([split, 0]))[0]
    )
    with pytest.raises(ValueError, match=r"data set toy: task '0/0': expected .* normals"):
        draw_split(small, in_source, 0.2)
    with pytest.raises(
        ValueError, match=r"toy: expected 6 domains \(4 for source, 1 for validation and 1 for .*\), got 2"
    ):
        draw_split(toy(n_domains=2), 0, 0.2)
    with pytest.raises(ValueError, match=r"toy: expected 6 classes \(.*\), got 4"):
        draw_split(toy()._replace(domains=None), 0, 0.2)


def test_files_that_will_not_do(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"isolet.npz: no such file; leave out --data to fetch it, or take"):
        load_set("isolet", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"mnist_r.npz: no such file; take the six rotations from .*ghif/mtae"):
        load_set("mnist_r", tmp_path)
    (tmp_path / "iot.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(OSError, match=r"iot.npz: expected an .npz file"):
        load_set("iot", tmp_path)
    np.savez(tmp_path / "mnist_r.npz", X=np.ones((2, 2)), y=np.arange(2))
    with pytest.raises(OSError, match=r"mnist_r.npz: expected arrays X, y, domain, got none called domain"):
        load_set("mnist_r", tmp_path)
    rows = {"X": np.ones((4, 2)), "y": np.arange(4), "domain": np.arange(4)}
    np.savez(tmp_path / "omniglot.npz", **rows)
    with pytest.raises(OSError, match=r"omniglot.npz: X: expected pixels from 0 to 255, got values from 1 to 1"):
        load_set("omniglot", tmp_path)
    np.savez(tmp_path / "iot.npz", **rows)
    with pytest.raises(OSError, match=r"iot.npz: y: expected 0 \(benign\) and 1 \(malicious\), got \[0, 1, 2, 3\]"):
        load_set("iot", tmp_path)
    with pytest.raises(ValueError, match=r"dataset: expected one of omniglot, .* or digits, got 'mnist'"):
        load_set("mnist", tmp_path)


def test_a_damaged_file(tmp_path, monkeypatch) -> None:
    np.savez(tmp_path / "isolet.npz", X=np.random.default_rng(0).random((99, 9)), y=np.arange(99), domain=np.arange(99))
    data = bytearray((tmp_path / "isolet.npz").read_bytes())
    data[len(data) // 3] ^= 1
    (tmp_path / "isolet.npz").write_bytes(data)
    with pytest.raises(OSError, match=r"isolet.npz: expected an .npz file of plain arrays, .*\)$"):
        load_set("isolet", tmp_path)
    monkeypatch.setattr("heterad.experiments.meta_sets.fetched", lambda name: tmp_path / f"{name}.npz")
    with pytest.raises(OSError, match=r"isolet.npz: expected an .npz file .*; delete it to have it fetched anew$"):
        load_set("isolet", None)
