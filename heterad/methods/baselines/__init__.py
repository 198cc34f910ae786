"""The methods that robust meta-learning is compared with, behind its interface.

A class's ``meta_learned`` says whether it learns from source tasks, by ``meta_fit``, or is trained on each target's
support set alone, by ``adapt``; its ``GRID`` holds the settings among which the paper chooses (section E).
"""

from heterad.methods.baselines.autoencoder import AE, RobustAE
from heterad.methods.baselines.dagm import DAGM
from heterad.methods.baselines.maml import MAML
from heterad.methods.baselines.neural_process import NP, TNP
from heterad.methods.baselines.prototypes import MetaCleaner, Proto, RobustProto
from heterad.methods.baselines.shallow import IsolationForest, OneClassSVM
from heterad.methods.meta import MetaLearner

BASELINES: dict[str, type[MetaLearner]] = {
    "osvm": OneClassSVM,
    "if": IsolationForest,
    "ae": AE,
    "rae": RobustAE,
    "dagm": DAGM,
    "np": NP,
    "tnp": TNP,
    "maml": MAML,
    "proto": Proto,
    "rproto": RobustProto,
    "mc": MetaCleaner,
}

__all__ = [
    "AE",
    "BASELINES",
    "DAGM",
    "MAML",
    "NP",
    "TNP",
    "IsolationForest",
    "MetaCleaner",
    "OneClassSVM",
    "Proto",
    "RobustAE",
    "RobustProto",
]
