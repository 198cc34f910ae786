"""AHL on files: a folder of images laid out as MVTec AD, or CSV and Parquet files of vectors."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from heterad.data.columns import Columns
from heterad.data.images import GOOD, is_image, read_image_folder
from heterad.data.row_files import RowFiles, counted, holds_tables
from heterad.data.tables import read_table, write_table
from heterad.data.whole_file import spare
from heterad.detectors import model_file
from heterad.detectors.ahl import AHLDetector
from heterad.detectors.devnet import DevNetDetector
from heterad.detectors.dra import DRADetector
from heterad.detectors.image_features import SMALL
from heterad.detectors.inputs import take
from heterad.detectors.score_files import name_columns
from heterad.detectors.scored import ScoredDetector
from heterad.detectors.thresholds import check_either
from heterad.nn.backbone import BATCH
from heterad.train import Report, read_tensors

Source = str | os.PathLike[str]

DETECTORS = (AHLDetector, DRADetector, DevNetDetector)
AT_ONCE = 8 * BATCH  # images scored between two reports


class Fitted(NamedTuple):
    """A detector, how many normals and seen anomalies it learned from, and normals that set its threshold alone."""

    detector: AHLDetector
    n_normal: int
    n_seen: int
    n_kept: int


class Scorable(NamedTuple):
    """What a detector takes, ``x [n, ...]``; what names each row, "file" or "row", and the ``names [n]``; the truth
    ``y [n]`` (1 anomaly, 0 normal, -1 unknown) or None; and the files read."""

    x: Any
    named: str
    names: np.ndarray
    y: np.ndarray | None
    files: list[Path]


class _Given(NamedTuple):
    """What there is to learn from: ``x [n, ...]``, ``y [n]``, the files read, where normals are looked for, and of
    files of rows their columns."""

    x: Any
    y: np.ndarray
    files: list[Path]
    name: str
    columns: Columns | None


def fit_ahl(
    data: Source | Sequence[Source],
    *,
    label: str | None = None,
    ignore: Sequence[str] = (),
    one_hot: Sequence[str] = (),
    missing: str = "error",
    base: str = "dra",
    backbone: str = SMALL,
    seen: Sequence[str] = (),
    shots: int | None = None,
    size: int | None = None,
    skip_unreadable: bool = False,
    epochs: int | None = None,
    validation_fraction: float = 0.2,
    seed: int = 0,
    device: str | None = None,
    out: Source | None = None,
    report: Report | None = None,
) -> Fitted:
    """Fit ``AHLDetector`` to the images of a folder or to the rows of files.

    Args:
        data: a folder that holds ``train/good``; or CSV or Parquet files, folders or globs of them.
        label: of files, the column with 1 (seen anomaly), 0 (normal), -1 or nothing (unlabelled, taken as normal).
        ignore: of files, columns that are no features.
        one_hot: of files, columns of categories; each category becomes a feature that is 1 or 0.
        missing: of files, "error" refuses rows without some number, "median" puts the column's median there.
        base: "dra" or "devnet".
        backbone: of images; see ``AHLDetector``.
        seen: of images, folders of ``test`` that hold seen anomalies to learn from, beside those of ``train``.
        shots: how many of the seen anomalies to learn from, drawn at random; None takes all.
        size: height and width that images are resized to.
        skip_unreadable: leave out images that cannot be decoded instead of raising.
        epochs: of the training; None is what suits the base model.
        validation_fraction: share of the normals that are not learned from but set the threshold.
        seed: of everything random.
        device: where to compute.
        out: where the detector will be saved, refused if it is a file that is read.
        report: told what is done, how much of it, and of how much; see ``AHLDetector.fit``.

    Returns:
        The detector and what it learned from.

    Raises:
        OSError: a file cannot be read.
        ValueError: the data are not as said, with the file named; see ``read_image_folder`` and ``read_table``. An
            option of the other kind of data is given.

    Cost:
        That of ``AHLDetector.fit``; memory of all images, or rows, and of their feature maps.

    Example:
        See ``tests/detectors/test_ahl_files.py``, which makes such a folder.
    """
    paths: list[Source] = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    images = len(paths) == 1 and _holds_images(Path(paths[0]))
    refused = (
        {"label": label, "ignore": ignore, "one_hot": one_hot, "missing": missing != "error"}
        if images
        else {"seen": seen, "size": size, "skip_unreadable": skip_unreadable, "backbone": backbone != SMALL}
    )
    if wrong := [name for name, value in refused.items() if value]:
        raise ValueError(f"{wrong[0]}: has no meaning for {'a folder of images' if images else 'files of rows'}")
    if images:
        given = _read_images(Path(paths[0]), seen, size, skip_unreadable)
    else:
        given = _read_rows(paths, label, ignore, one_hot, missing)
    x, y = given.x, given.y
    if out is not None:
        spare(out, given.files)
    if (n_normal := int((y != 1).sum())) < 2:
        raise ValueError(f"{given.name}: expected at least two normals to learn from, got {n_normal}")
    if shots is not None:
        if shots < 1:
            raise ValueError(f"shots: expected at least 1, got {shots}")
        if shots > (n_seen := int((y == 1).sum())):
            warnings.warn(f"shots: {n_seen} seen anomalies are all there are, fewer than {shots}", stacklevel=2)
        left_out = np.random.default_rng(seed).permutation(np.flatnonzero(y == 1))[shots:]
        kept = np.setdiff1d(np.arange(len(y)), left_out)
        x, y = take(x, kept), y[kept]
    detector = AHLDetector(
        base,
        epochs=epochs,
        backbone=backbone if images else None,
        validation_fraction=validation_fraction,
        device=device,
        random_state=seed,
    )
    detector.fit(x, y, report=report, columns=given.columns)
    n_judged = len(detector.support_scores_)
    n_kept = n_judged if n_judged < n_normal else 0
    return Fitted(detector, n_normal - n_kept, int((y == 1).sum()), n_kept)


def is_ahl(model: Source) -> bool:
    """Whether a file is a model of ``AHLDetector`` or one of its bases; what is damaged is not.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        return read_tensors(model)[1].get("kind") in {cls.__name__ for cls in DETECTORS}
    except ValueError:
        return False


def score_ahl(
    model: Source,
    data: Source | Sequence[Source],
    out: Source,
    *,
    contamination: float | None = None,
    threshold: float | None = None,
    skip_unreadable: bool = False,
    device: str | None = None,
    report: Report | None = None,
) -> tuple[int, int]:
    """Score the images of a folder or the rows of files by a model of ``AHLDetector`` or one of its bases.

    Args:
        model: the file.
        data: as of ``fit_ahl``; images are resized to the size learned from, and all, of ``train`` and ``test``, of
            the folder itself or of folders in it, are scored.
        out: file to write: file or row, score (higher is more anomalous) and label (1 anomaly, 0 normal).
        contamination: share of the normals that set the threshold to be above it; None is the model's own.
        threshold: the score above which a row is labelled anomalous, instead.
        skip_unreadable: leave out images that cannot be decoded instead of raising.
        device: where to compute.
        report: told how many of the images are scored ("scoring"), from 0 on, and of how many.

    Returns:
        How many were scored, and how many of them are anomalous.

    Raises:
        OSError, ValueError: as ``fit_ahl``, and ``AHLDetector.load``; ``out`` is a file that is read.
    """
    check_either(contamination, threshold)
    detector = read_model(model, device)
    if contamination is not None or threshold is not None:
        detector.set_threshold(contamination=contamination, value=threshold)
    found = read_scorable(detector, data, skip_unreadable=skip_unreadable)
    spare(out, found.files)
    scores = score_rows(detector, found.x, report)
    labels = (scores > detector.threshold_).astype(int)
    write_table(out, {found.named: found.names, "score": scores, "label": labels})
    return len(scores), int(labels.sum())


def read_model(model: Source, device: str | None = None) -> ScoredDetector:
    """The detector of a file, ``AHLDetector`` or one of its bases.

    Raises:
        OSError, ValueError: as ``AHLDetector.load``.
    """
    return model_file.read(DETECTORS, model, device)


def read_scorable(
    detector: ScoredDetector,
    data: Source | Sequence[Source],
    *,
    label: str | None = None,
    skip_unreadable: bool = False,
    only_test: bool = False,
) -> Scorable:
    """Read what a detector can score.

    Args:
        detector: fitted; whether to images or to vectors, it knows.
        data, skip_unreadable: as of ``score_ahl``.
        label: of files, the column with the truth; 1 anomaly, 0 normal, -1 or nothing unknown.
        only_test: of a folder of images that has ``test``, leave out the others.

    Returns:
        The rows. Of images the truth is known from their folders, where one of them is ``good`` and another is not.

    Raises:
        OSError, ValueError: as ``fit_ahl``.
    """
    paths: list[Source] = [data] if isinstance(data, (str, os.PathLike)) else list(data)
    if detector.backbone is not None:
        if label is not None:
            raise ValueError("label: has no meaning for a folder of images")
        if len(paths) != 1:
            raise ValueError(f"data: expected one folder of images, as the model learned from, got {len(paths)} paths")
        colours, height, width = detector.input_shape_
        root = Path(paths[0])
        if only_test and (root / "test").is_dir():
            root /= "test"
        found = read_image_folder(
            root, size=(height, width), skip_unreadable=skip_unreadable, normals=False, colours=colours
        )
        y = found.y if len(set(found.y.tolist())) == 2 else None
        return Scorable(found.x, "file", np.array([str(file) for file in found.files]), y, found.files)
    if len(detector.input_shape_) == 3:
        raise ValueError("data: the model learned from feature maps, which no files hold; score them in Python")
    if skip_unreadable:
        raise ValueError("skip_unreadable: has no meaning for files of rows")
    files = _row_files(paths)
    table = read_table(files, label=label, columns=detector.columns_ or name_columns(detector, files))
    x = table.x if hasattr(detector, "feature_names_in_") else table.matrix
    return Scorable(x, "row", np.arange(table.x.num_rows), table.y, [Path(file) for file in files.files])


def score_rows(detector: ScoredDetector, x, report: Report | None = None) -> np.ndarray:
    """Score rows; of images, ``report`` is told how many are done ("scoring"), from 0 on, and of how many."""
    if detector.backbone is None or report is None:
        return detector.decision_function(x)
    report("scoring", 0, len(x))
    parts = []
    for i in range(0, len(x), AT_ONCE):
        parts.append(detector.decision_function(x[i : i + AT_ONCE]))
        report("scoring", min(i + AT_ONCE, len(x)), len(x))
    return np.concatenate(parts)


def _holds_images(path: Path) -> bool:
    return path.is_dir() and ((path / "train" / GOOD).is_dir() or not holds_tables(path))


def _row_files(paths: Sequence[Source]) -> RowFiles:
    if images := [path for path in paths if is_image(Path(path))]:
        expected = f"CSV or Parquet files, or one folder of images (train/{GOOD}, test/<class>)"
        raise ValueError(f"{images[0]}: expected {expected}, got an image")
    return RowFiles(paths)


def _read_images(root: Path, seen: Sequence[str], size: int | None, skip_unreadable: bool) -> _Given:
    """Images of ``train``, and those of the seen classes of ``test``."""
    found = read_image_folder(root, size=size, skip_unreadable=skip_unreadable)
    known = sorted(set(found.defect[~found.train]) - {GOOD})
    if unknown := sorted(set(seen) - set(known)):
        raise ValueError(f"seen: expected some of {', '.join(known)}, the folders of test, got {', '.join(unknown)}")
    chosen = found.train | np.isin(found.defect, list(seen))
    return _Given(found.x[chosen], found.y[chosen], found.files, str(root / "train" / GOOD), None)


def _read_rows(
    paths: Sequence[Source], label: str | None, ignore: Sequence[str], one_hot: Sequence[str], missing: str
) -> _Given:
    """The rows of files; what is not labelled is taken as normal."""
    files = _row_files(paths)
    table = read_table(files, label=label, ignore=ignore, one_hot=one_hot, missing=missing)
    y = np.zeros(table.x.num_rows, int) if table.y is None else table.y
    if unlabelled := int((y == -1).sum()):
        rows = counted(unlabelled, "row")
        warnings.warn(f"label: {rows} of {len(y):,} without a label are taken as normal", stacklevel=3)
    return _Given(table.x, y, [Path(file) for file in files.files], files.name, table.columns)
