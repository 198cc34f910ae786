"""From the columns of files to features: which they are, in what order, and what text and gaps become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from heterad.data.row_files import EXPECTED, RowFiles, Rows, shortened

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CATEGORIES = 1000


@dataclass(frozen=True)
class Columns:
    """What the columns of files are to a model. It is stored with the model, so that new files are read alike.

    Args:
        features: the columns that are features, in the model's order.
        task: the column that names each row's task; None for one task.
        categories: column of text -> its categories, each of which becomes a feature that is 1 or 0. A category
            that is not among them, or a gap, is 0 in all of them.
        fill: what stands in for a missing number, by column; None refuses gaps.

    Example:
        >>> columns = Columns(("volt", "kind"), categories={"kind": ("a", "b")})
        >>> columns.names
        ['volt', 'kind=a', 'kind=b']
    """

    features: tuple[str, ...]
    task: str | None = None
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    fill: Mapping[str, float] | None = None

    @property
    def names(self) -> list[str]:
        """The names of the features, one for each category of a column of text."""
        split = [[f"{c}={v}" for v in self.categories[c]] if c in self.categories else [c] for c in self.features]
        return [name for part in split for name in part]

    @property
    def kinds(self) -> dict[str, str]:
        """What to read, as ``RowFiles.batches`` takes it."""
        return {c: "text" if c in self.categories else "number" for c in self.features}

    def matrix(self, rows: Rows, select: np.ndarray | None = None) -> np.ndarray:
        """The features of rows, or of those with the numbers ``select``: float64 ``[n, D]``, all finite.

        Raises:
            ValueError: a value is missing where gaps are refused, or not finite (named with its place).
        """
        import pyarrow as pa

        batch = rows.batch if select is None else rows.batch.take(pa.array(select))
        x = np.zeros((batch.num_rows, len(self.names)))
        j = 0
        for name in self.features:
            column = batch.column(name)
            if name in self.categories:
                values = pa.array(self.categories[name], pa.string())
                code = pa.compute.index_in(column, values).fill_null(-1).to_numpy(zero_copy_only=False)
                known = np.flatnonzero(code >= 0)
                x[known, j + code[known]] = 1
                if self.fill is None:
                    x[_is_empty(column), j] = np.nan
                j += len(values)
            else:
                x[:, j] = column.to_numpy(zero_copy_only=False)
                j += 1
        if not np.isfinite(x).all():
            self._mend(x, rows, select)
        return x

    def tasks(self, rows: Rows) -> pa.StringArray:
        """The task of each row. Raises ValueError where nothing stands."""
        if self.task is None:
            raise ValueError("task: expected a column, got none")
        column = rows.batch.column(self.task)
        nameless = _is_empty(column)
        if nameless.any():
            raise rows.error(int(nameless.argmax()), self.task, "the name of a task", "nothing")
        return column

    def record(self) -> dict[str, Any]:
        """As JSON; ``Columns.of`` takes it back."""
        return {
            "features": list(self.features),
            "task": self.task,
            "categories": {name: list(values) for name, values in self.categories.items()},
            "fill": None if self.fill is None else dict(self.fill),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Columns:
        """What ``record`` gave."""
        categories = {name: tuple(values) for name, values in record["categories"].items()}
        return cls(tuple(record["features"]), record["task"], categories, record["fill"])

    def _mend(self, x: np.ndarray, rows: Rows, select: np.ndarray | None) -> None:
        """Fill the gaps of ``x``, or raise for the first value that cannot be used."""
        if self.fill is not None:
            fill = np.array([self.fill.get(name, np.nan) for name in self.names])
            gaps = np.isnan(x)
            x[gaps] = np.broadcast_to(fill, x.shape)[gaps]
        bad = ~np.isfinite(x) if self.fill is None else np.isinf(x)
        if bad.any():
            i, j = np.unravel_index(int(bad.argmax()), x.shape)
            owner = [c for c in self.features for _ in self.categories.get(c, (c,))][j]
            row = int(i if select is None else select[i])
            value = rows.batch.column(owner)[row].as_py()
            expected = "a category" if owner in self.categories else EXPECTED["number"]
            raise rows.error(row, owner, expected, "nothing" if value in (None, "") else repr(str(value)))


def find_columns(
    files: RowFiles,
    *,
    task: str | None = None,
    label: str | None = None,
    ignore: Sequence[str] = (),
    one_hot: Sequence[str] = (),
    features: Sequence[str] | None = None,
    missing: str = "error",
) -> Columns:
    """Decide which columns of files to learn from are features, and find the categories of those of text.

    Args:
        files: the files.
        task: the column that names each row's task.
        label: the column of labels.
        ignore: columns that are no features.
        one_hot: features that are categories.
        features: the features, in the order wanted; None takes all columns of the first file that are not named
            above.
        missing: "error" refuses missing numbers; "median" leaves them NaN, for ``with_medians``.

    Raises:
        ValueError: a column is unknown, named twice or without a name, none is left, or one has too many categories.

    Cost:
        A pass over the columns of text, if there are any.
    """
    if missing not in ("error", "median"):
        raise ValueError(f"missing: expected 'error' or 'median', got {missing!r}")
    named = [*(c for c in (task, label) if c is not None), *ignore]
    files.require([*named, *one_hot, *(features or ())])
    if task is not None and task == label:
        raise ValueError(f"{files.name}: expected different columns for task and label, got {task!r} for both")
    for column in one_hot:
        if column in named:
            raise ValueError(
                f"{files.name}: expected a feature to be one-hot, got {column!r}, which is named otherwise"
            )
    if task is not None and features is not None and task in features:
        raise ValueError(f"{files.name}: expected a column that is no feature of the model for the task, got {task!r}")
    chosen = [c for c in files.columns if c not in named] if features is None else list(features)
    if not chosen:
        raise ValueError(
            f"{files.name}: no column is left for the features; the columns are {shortened(files.columns)}"
        )
    if "" in chosen:
        raise ValueError(
            f"{files.name}: expected a name for every feature, got none for column {files.columns.index('') + 1}; name "
            "it or ignore it, as '' (row numbers, which pandas writes without index=False, are no feature)"
        )
    fill = None if missing == "error" else {c: float("nan") for c in chosen if c not in one_hot}
    columns = Columns(tuple(chosen), task, _categories(files, [c for c in chosen if c in one_hot]), fill)
    twice = [name for name, n in Counter(columns.names).items() if n > 1]
    if twice:
        raise ValueError(
            f"{files.name}: expected features that differ, got {shortened(twice)} as category and as column"
        )
    return columns


def with_medians(columns: Columns, x: np.ndarray) -> Columns:
    """The columns with the median of each feature of ``x [n, D]``, NaN passed over, for what is missing; fills ``x``.

    Raises:
        ValueError: a column holds no number at all (named).
    """
    if columns.fill is None:
        return columns
    fill = {}
    for j, name in enumerate(columns.names):
        if name in columns.fill:
            gaps = np.isnan(x[:, j])
            if gaps.all():
                raise ValueError(f"column {name!r}: expected a number in some row for the median, got none")
            fill[name] = float(np.median(x[~gaps, j]))
            x[gaps, j] = fill[name]
    return Columns(columns.features, columns.task, columns.categories, fill)


def _is_empty(text: pa.StringArray) -> np.ndarray:
    from pyarrow import compute

    return compute.fill_null(compute.equal(text, ""), True).to_numpy(zero_copy_only=False)


def _categories(files: RowFiles, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {name: set() for name in names}
    for rows in files.batches(dict.fromkeys(names, "text")) if names else ():
        for name in names:
            found[name].update(v for v in rows.batch.column(name).unique().to_pylist() if v is not None and v != "")
            if len(found[name]) > MOST_CATEGORIES:
                raise ValueError(
                    f"{rows.file}: expected at most {MOST_CATEGORIES} categories in column {name!r}, got more"
                )
    return {name: tuple(sorted(values)) for name, values in found.items()}
