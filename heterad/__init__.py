"""heterad: anomaly detection when anomalies are heterogeneous and labels are few.

`heterad.ops` holds the fast differentiable ops and imports nothing but torch; the detectors live in
`heterad.detectors`. Both are loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heterad import ops
    from heterad.detectors import AHLDetector, DevNetDetector, DRADetector, RobustMetaDetector

__version__ = "0.1.0"
__all__ = ["AHLDetector", "DRADetector", "DevNetDetector", "RobustMetaDetector", "__version__", "ops"]


def __getattr__(name: str) -> Any:
    if name == "ops":
        return import_module("heterad.ops")
    if name.endswith("Detector") and name in __all__:
        return getattr(import_module("heterad.detectors"), name)
    raise AttributeError(f"module 'heterad' has no attribute {name!r}")
