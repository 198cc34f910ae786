"""``heterad score``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from heterad.data.tables import read_table, write_table
from heterad.detectors import RobustMetaDetector

File = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CSV")]


def score(
    data: File,
    task: str | None = None,
    model: Path = Path("model.safetensors"),
    out: Path = Path("scores.csv"),
    contamination: float | None = None,
) -> None:
    """Adapt a detector to each task of an unlabelled CSV file and score its rows.

    Args:
        data: CSV file with a header line and the features that the detector was fitted to; others are passed over.
        task: Column that names each row's task; without it all rows are one task.
        model: File that heterad fit wrote.
        out: CSV file to write: task, score (higher is more anomalous) and label (1 anomaly, 0 normal) of each row.
        contamination: Share of rows of each task to label anomalous; the detector's own is the default.
    """
    detector = RobustMetaDetector.load(model)
    names = getattr(detector, "feature_names_in_", None)
    table = read_table(data, task=task, features=None if names is None else names.tolist())
    groups = np.zeros(table.x.num_rows, dtype=int) if table.groups is None else table.groups
    scores, labels = np.empty(len(groups)), np.empty(len(groups), dtype=int)
    tasks, number = np.unique(groups, return_inverse=True)
    for t, name in enumerate(tasks):
        rows = np.flatnonzero(number == t)
        x = table.x.take(rows)
        try:
            adapted = detector.adapt(x)
        except ValueError as error:
            raise ValueError(f"{data}, task {name}: {error}") from None
        if contamination is not None:
            adapted.set_threshold(contamination=contamination)
        scores[rows], labels[rows] = adapted.decision_function(x), adapted.predict(x)
    write_table(out, ({} if task is None else {"task": groups}) | {"score": scores, "label": labels})
    print(f"Scored {len(groups)} rows of {len(tasks)} tasks, {labels.sum()} of them anomalous. Wrote {out}.")
