"""How well each base model of AHL should generalise, and how much it therefore counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from heterad.data.partition import Distribution
from heterad.nn.importance import Importance

FIRST_STEPS, STEPS = 200, 20  # of Adam at the first look with a past, and at each later one
LR = 2e-3


class Generalisation:
    """Learns without labels to foretell the base models' scores, and weighs the models by the error it foresees.

        L_seq = sum_j MSE(psi(S_j), s_j)                                    (5)
        r_i = 1/|D'| sum_{j in D'} c_j (s^_ji - y_j)²                         (6)
        w_i = exp(-r_i / temperature) / sum_k exp(-r_k / temperature)         (7)

    D' are all rows but the normals that model i was trained on; c_j is 1 for virtually unseen anomalies and 0.5 for
    seen anomalies and unseen normals. Scores are in [0, 1], so that one beyond the margin is not an error.

    Args:
        distributions: the T distributions, whose rows number the labels.
        y: labels ``[n]``.
        generator: source of psi's initial weights.
        window: K, epochs that psi looks back; None keeps the weights alike and estimates nothing.
        temperature: of Eq. (7), > 0.

    Source:
        Zhu et al. (CVPR 2024), Eqs. (5) to (7).
    """

    def __init__(
        self,
        distributions: Sequence[Distribution],
        y: np.ndarray,
        generator: torch.Generator,
        window: int | None,
        temperature: float,
    ) -> None:
        self.window, self.temperature = window, temperature
        self._y = torch.as_tensor(y, dtype=torch.float32, device=generator.device)[:, None]
        importance = np.full((len(y), len(distributions)), 0.5)
        for i, d in enumerate(distributions):
            importance[np.setdiff1d(d.query_anomaly, d.support_anomaly), i] = 1
            importance[d.support_normal, i] = 0
        self._c = torch.as_tensor(importance, dtype=torch.float32, device=generator.device)
        self._seen: list[Tensor] = []
        self._steps = FIRST_STEPS
        if window is not None:
            on_cpu = torch.Generator().manual_seed(
                int(torch.randint(2**31, (), generator=generator, device=generator.device))
            )
            self._psi = Importance(len(distributions), on_cpu).to(generator.device)
            self._optimizer = torch.optim.Adam(self._psi.parameters(), lr=LR)

    def look(self, scores: Tensor) -> tuple[Tensor, list[float] | None]:
        """Take in the base models' scores ``[n, T]`` of one more epoch.

        Returns:
            The weights ``[T]`` of the next epoch, summing to 1, and the errors r_i; None, and equal weights, until
            ``window`` epochs and one have been seen.

        Cost:
            20 passes of a small LSTM over n sequences of K x T numbers; 200 the first time, since after 20 what is
            foretold has nothing to do with what comes.
        """
        alike = torch.full_like(scores[0], 1 / scores.shape[1])
        if self.window is None:
            return alike, None
        self._seen = [*self._seen[-self.window :], scores.float()]
        if len(self._seen) <= self.window:
            return alike, None
        past = torch.stack(self._seen, 1)
        steps, self._steps = self._steps, STEPS
        for _ in range(steps):
            loss = (self._psi(past[:, :-1]) - past[:, -1]).square().sum(0).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        with torch.no_grad():
            r = self.errors(self._psi(past[:, 1:]))
        return torch.softmax(-r / self.temperature, 0).to(scores), r.tolist()

    def errors(self, foretold: Tensor) -> Tensor:
        """Eq. (6): r_i ``[T]`` of the scores foretold ``[n, T]``."""
        return (self._c * (foretold - self._y).square()).sum(0) / (self._c > 0).sum(0).clamp(min=1)
