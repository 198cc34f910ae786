"""The papers' methods as training steps, and what they share."""

from heterad.methods.meta import MetaLearner, Sampling, meta_fit
from heterad.methods.robust_meta import RobustMeta

__all__ = ["MetaLearner", "RobustMeta", "Sampling", "meta_fit"]
