"""The sequence model psi that foretells how the base models of AHL will score."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from heterad.nn.mlp import linear


class Importance(nn.Module):
    """From the scores of T models over the last K epochs to their scores in the next.

    A bidirectional LSTM of two layers, whose state starts at zero, and a linear layer on its last output.

    Args:
        n_models: T.
        generator: source of the initial weights.
        hidden: width of each direction.

    Source:
        Zhu et al. (CVPR 2024), section 3.4; width there: 6.

    Example:
        >>> psi = Importance(7, torch.Generator().manual_seed(0))
        >>> psi(torch.ones(20, 5, 7)).shape
        torch.Size([20, 7])
    """

    def __init__(self, n_models: int, generator: torch.Generator, *, hidden: int = 6) -> None:
        super().__init__()
        lstm = nn.LSTM(n_models, hidden, num_layers=2, bidirectional=True, batch_first=True, device="meta")
        self.lstm = lstm.to_empty(device="cpu")  # nothing drawn yet, from the global generator or another
        bound = hidden**-0.5
        with torch.no_grad():
            for parameter in self.lstm.parameters():
                parameter.uniform_(-bound, bound, generator=generator)
        self.out = linear(2 * hidden, n_models, generator)

    def forward(self, sequences: Tensor) -> Tensor:
        """``[n, T]`` of sequences ``[n, K, T]``."""
        states, _ = self.lstm(sequences)
        return self.out(states[:, -1])
