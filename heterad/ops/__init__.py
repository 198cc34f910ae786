"""Fast differentiable ops for anomaly detection; importing this package imports torch and nothing else.

Every op takes leading batch dimensions, runs on CPU and CUDA tensors, is differentiable in each floating tensor
argument, works under `torch.compile(fullgraph=True)`, and never writes into its arguments.
"""

import torch  # noqa: F401  first: torch's OpenMP runtime must be the one that heterad._C finds

from heterad.ops._backend import backend, info
from heterad.ops.deviation_loss import deviation_loss
from heterad.ops.ridge_solve import ridge_solve
from heterad.ops.robust_ridge import robust_ridge
from heterad.ops.roc_auc import roc_auc
from heterad.ops.smoothed_auc import smoothed_auc
from heterad.ops.soft_threshold import soft_threshold

__all__ = [
    "backend",
    "deviation_loss",
    "info",
    "ridge_solve",
    "robust_ridge",
    "roc_auc",
    "smoothed_auc",
    "soft_threshold",
]
