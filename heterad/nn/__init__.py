"""Modules built of ops: what the methods are made of."""

from heterad.nn.backbone import SmallConvNet, extract_maps, load_backbone
from heterad.nn.devnet import DevNet
from heterad.nn.dra import DRA
from heterad.nn.importance import Importance
from heterad.nn.mlp import MLP
from heterad.nn.robust_autoencoder import RobustAutoencoder
from heterad.nn.scorer import Scorer, as_scorer
from heterad.nn.set_encoder import SetEncoder, SetTransformer

__all__ = [
    "DRA",
    "MLP",
    "DevNet",
    "Importance",
    "RobustAutoencoder",
    "Scorer",
    "SetEncoder",
    "SetTransformer",
    "SmallConvNet",
    "as_scorer",
    "extract_maps",
    "load_backbone",
]
