"""heterad: anomaly detection when anomalies are heterogeneous and labels are few.

`heterad.ops` holds the fast differentiable ops and imports nothing but torch; the detectors live in
`heterad.detectors` and are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from heterad import ops

if TYPE_CHECKING:
    from heterad.detectors import RobustMetaDetector

__version__ = "0.1.0"
__all__ = ["RobustMetaDetector", "__version__", "ops"]


def __getattr__(name: str) -> Any:
    if name == "RobustMetaDetector":
        return import_module("heterad.detectors").RobustMetaDetector
    raise AttributeError(f"module 'heterad' has no attribute {name!r}")
