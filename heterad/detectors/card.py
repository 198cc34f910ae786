"""What a model file holds, in words."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from heterad.data.row_files import counted, shortened
from heterad.detectors.inputs import LABELS
from heterad.detectors.model_file import check_version
from heterad.train import read_tensors

if TYPE_CHECKING:
    from heterad.detectors.robust_meta import RobustMetaDetector


def model_card(path: str | os.PathLike[str]) -> str:
    """Describe a model file as a page of Markdown, without loading the model.

    Args:
        path: a file that a detector's ``save`` wrote, of any class.

    Returns:
        What the model is, what it learned from and how well, what it expects of rows, and its options.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is damaged, foreign, or of a newer version of this library.

    Example:
        >>> import numpy as np, pathlib, tempfile
        >>> from heterad import RobustMetaDetector
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.safetensors"
        >>> RobustMetaDetector(max_iter=2).fit(np.eye(8)).save(path)
        >>> print(model_card(path).splitlines()[0])
        # RobustMetaDetector
    """
    try:
        tensors, record = read_tensors(path)
    except ValueError as error:
        raise ValueError(f"expected a model that heterad saved: {error}") from None
    check_version(path, record)
    n_numbers = sum(t.numel() for name, t in tensors.items() if name.startswith("model."))
    sections = [
        f"# {record['kind']}",
        f"Written by heterad {record['library_version']}, format version {record['format_version']}; "
        f"{n_numbers} learned numbers, {os.path.getsize(path)} bytes.",
        _learned(record),
        _rows(record),
        _decisions(record, tensors),
        "## Options\n\n" + "\n".join(f"* {name}: {value}" for name, value in sorted(record["configuration"].items())),
    ]
    return "\n\n".join(section for section in sections if section)


def validation(value: float, n_tasks: int) -> str:
    """What a validation value means: a mean AUC, or, below 0, minus a loss; see ``meta_fit``."""
    of = counted(n_tasks, "validation task")
    return f"Mean AUC on {of}: {value:.3f}" if value >= 0 else f"Loss on {of} without labelled anomalies: {-value:.3f}"


def remarks(detector: RobustMetaDetector, y: np.ndarray | None, groups: np.ndarray | None) -> list[str]:
    """What labels and tasks, as ``fit`` takes them, mean for training, where that is less than one may expect."""
    n_tasks = 1 if groups is None else len(np.unique(groups))
    found = []
    if y is None or (y < 0).all():
        share = f"{detector.contamination:.0%} of each task that reconstruct worst"
        found.append(f"no row is labelled, so all rows are learned as normal but for the {share}")
    elif not (y == 1).any():
        found.append("no row is labelled anomalous, so training learns what is normal, not to tell anomalies from it")
    if n_tasks == 1:
        found.append(
            "all rows are one task, so nothing is learned of how tasks differ and adapting to others may do badly; no "
            "task can be held out to tell how good the model is, and there will be no p-values; name the column of "
            "tasks if there are several"
        )
    elif not int(detector.validation_fraction * n_tasks):
        of = counted(n_tasks, "task")
        found.append(
            f"{of} are too few to hold one out, so nothing tells how good the model is or when to stop, and "
            "there will be no p-values"
        )
    return found


def _learned(record: dict[str, Any]) -> str:
    training = record.get("training") or record
    history = training.get("history_") or training.get("history") or {}
    lines = ["## Training\n"]
    if record.get("learned_from"):
        counts = record["learned_from"]
        names = [name for name in ("rows", "tasks", *LABELS) if name in counts]
        lines.append("* Learned from: " + ", ".join(f"{counts[name]} {name}" for name in names))
    epochs = f", {counted(len(history['step']), 'epoch')}" if "history" in record else ""
    lines.append(f"* Steps: {training.get('n_iter_', training.get('n_iter'))}{epochs}")
    if history.get("seconds"):
        lines.append(f"* Seconds: {history['seconds'][-1]:.1f}")
    if training.get("best_validation_") is not None:
        about = validation(training["best_validation_"], len(training["validation_groups_"]))
        lines.append(f"* Kept: step {training['best_iter_']}. {about}")
    return "\n".join(lines)


def _rows(record: dict[str, Any]) -> str:
    columns, names = record.get("columns"), record.get("feature_names")
    if len(shape := record.get("input_shape", [])) > 1:
        return f"## Rows\n\n* Images or maps, channels x height x width: {' x '.join(map(str, shape))}"
    lines = ["## Rows\n", f"* Features: {record['n_features']}" + (f": {shortened(map(str, names))}" if names else "")]
    if columns:
        lines.append(f"* Column of tasks: {columns['task'] or 'none'}")
        for name, values in columns["categories"].items():
            lines.append(f"* One-hot: {name}, of {shortened(values)}")
        lines.append(f"* Missing numbers: {'refused' if columns['fill'] is None else 'become the median in training'}")
    return "\n".join(lines)


def _decisions(record: dict[str, Any], tensors: dict[str, Any]) -> str:
    meta = record["kind"] == "RobustMetaDetector"
    lines = ["## Decisions\n", f"* Threshold{', without adapting to a task' * meta}: {record['threshold']:.6g}"]
    if "calibration.tasks" in tensors:
        of = tensors["calibration.tasks"]
        n_tasks = len(of.unique())
        lines.append(
            f"* p-values: from {counted(len(of), 'normal row')} of {counted(n_tasks, 'held-out task')}; for normal "
            f"rows of new tasks P(p <= a) <= a + (1 - a) / {n_tasks + 1}"
        )
    elif meta:
        lines.append("* p-values: none, for want of normal rows in held-out tasks")
    return "\n".join(lines)
