"""Modules built of ops: what the methods are made of."""

from heterad.nn.mlp import MLP
from heterad.nn.robust_autoencoder import RobustAutoencoder
from heterad.nn.set_encoder import SetEncoder

__all__ = ["MLP", "RobustAutoencoder", "SetEncoder"]
