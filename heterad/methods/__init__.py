"""The papers' methods as training steps, and what they share."""

from heterad.methods.ahl import AHL, AHLRecipe
from heterad.methods.meta import MetaLearner, Sampling, meta_fit
from heterad.methods.pretext import fit_backbone
from heterad.methods.robust_meta import RobustMeta
from heterad.methods.supervised import Recipe, fit_scorer

__all__ = [
    "AHL",
    "AHLRecipe",
    "MetaLearner",
    "Recipe",
    "RobustMeta",
    "Sampling",
    "fit_backbone",
    "fit_scorer",
    "meta_fit",
]
