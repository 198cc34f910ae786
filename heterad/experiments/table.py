"""What a table of a paper is to the command line: runs to do, how to do one, and how to print them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Options:
    """What is asked of a table; None leaves the choice to it.

    Args:
        splits: how many random splits of each data set, the first ones of the endless row that their numbers seed.
        label_ratios: shares of labelled rows in source tasks.
        datasets: names of data sets.
        methods: names of methods.
        seeds: of the methods, on each split.
        grid: hyper-parameters to choose among: the paper's, in "full", or few of them, "short".
        smoke: a size that runs in seconds on data that come with the library.
        shots: M, numbers of seen anomalies; of tables that have them.
    """

    splits: int = 10
    label_ratios: tuple[float, ...] = (0.1, 0.2, 0.3)
    datasets: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    seeds: tuple[int, ...] = (0,)
    grid: str = "full"
    smoke: bool = False
    shots: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Table:
    """A table or figure that can be reproduced.

    Args:
        name: as given on the command line.
        title: one line.
        keys: what identifies each run under the options, JSON-able; raises ValueError for a name it does not know.
        run: does one run, given its key and the folder of the data, and returns its results, or a row of results for
            each of several cells; a function of a module, so that other processes can run it.
        read: reads a data set, given its name and the folder of the data, only to say at once what is wrong with it.
        report: the table of the rows that are its own, as text; empty if none are.
        draw: draws its pictures of the rows into a folder, and returns the files; None has none.
        options: names of the ``Options`` that its runs depend on.
    """

    name: str
    title: str
    keys: Callable[[Options], list[dict[str, Any]]]
    run: Callable[[Mapping[str, Any], Path | None], Mapping[str, Any] | Sequence[Mapping[str, Any]]]
    read: Callable[[str, Path | None], object]
    report: Callable[[Sequence[Row]], str]
    draw: Callable[[Sequence[Row], Path], list[Path]] | None = None
    options: frozenset[str] = frozenset({"splits", "label_ratios", "datasets", "methods", "seeds", "grid"})


def choose(name: str, asked: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    """The names asked for, or all.

    Raises:
        ValueError: one of them is unknown.

    Example:
        >>> choose("methods", ["b"], ["a", "b"])
        ['b']
    """
    if asked is None:
        return list(known)
    if unknown := [n for n in asked if n not in known]:
        raise ValueError(f"{name}: expected some of {', '.join(known)}; got {', '.join(unknown)}")
    return list(asked)
