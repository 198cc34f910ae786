"""Standard errors, and the paired test that all tables share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def standard_error(values: Sequence[float] | np.ndarray) -> float:
    """Of the mean of independent values; 0 of a single one.

    Example:
        >>> standard_error([1.0, 3.0])
        1.0
    """
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def with_error(values: Sequence[float] | np.ndarray, digits: int, *, signed: bool = False) -> str:
    """The mean of independent values as text, with its standard error where there are two or more.

    Example:
        >>> with_error([1.0, 3.0], 1), with_error([2.0], 1, signed=True)
        ('2.0 ± 1.0', '+2.0')
    """
    mean = f"{np.mean(values):{'+' if signed else ''}.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {standard_error(values):.{digits}f}"


def paired_p(differences: np.ndarray) -> float:
    """Two-sided p-value of Student's paired test, given two or more differences ``[n]``; 1 where all are zero.

    Example:
        >>> paired_p(np.zeros(3)), round(paired_p(np.array([1.0, 2.0, 3.0])), 3)
        (1.0, 0.074)
    """
    from scipy.stats import ttest_1samp

    return 1.0 if not differences.any() else float(ttest_1samp(differences, 0).pvalue)
