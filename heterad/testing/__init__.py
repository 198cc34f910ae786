"""The test kit: sample inputs and bad calls of every op, and the rule of accuracy.

It ships with the package, so that an op added elsewhere is held to the same rule.
"""

from heterad.testing.accuracy import assert_accurate, relative_error
from heterad.testing.errors import BadCall, error_inputs
from heterad.testing.samples import Sample, available_backends, sample_inputs

__all__ = [
    "BadCall",
    "Sample",
    "assert_accurate",
    "available_backends",
    "error_inputs",
    "relative_error",
    "sample_inputs",
]
