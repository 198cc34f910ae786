"""The AUC as a loss in a plain torch training loop: a classifier of digits that has seen very few positives.

    python examples/auc_loss.py            # half a minute
    python examples/auc_loss.py --smoke    # a few seconds, to see that it runs

Beside it stand cross-entropy and, if it is installed, LibAUC's loss of the same pairs with its logistic surrogate.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from heterad.ops import roc_auc, smoothed_auc

DIGIT = 8
POSITIVES = 15
NEGATIVES = 900


def draw(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Train on few eights among many other digits, with a tenth of the pixels' ink as noise; test on the rest."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    x = digits.data / 16 + rng.normal(0, 0.1, digits.data.shape)
    y = digits.target == DIGIT
    train = np.concatenate(
        [rng.permutation(np.flatnonzero(y))[:POSITIVES], rng.permutation(np.flatnonzero(~y))[:NEGATIVES]]
    )
    test = np.setdiff1d(np.arange(len(y)), train)
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
    return x[train], y[train], x[test], y[test]


def cross_entropy(scores: Tensor, y: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(scores, y.float())


def one_minus_auc(scores: Tensor, y: Tensor) -> Tensor:
    return 1 - smoothed_auc(scores[y], scores[~y])  # all pairs of the batch, in one pass


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1), nn.Flatten(0))


def adam(net: nn.Module, x: Tensor, y: Tensor, loss: Callable[[Tensor, Tensor], Tensor], steps: int) -> None:
    optimizer = torch.optim.Adam(net.parameters(), 3e-3, weight_decay=1e-4)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()


def libauc(scores: Tensor, y: Tensor) -> Tensor:
    from libauc.losses import PairwiseAUCLoss

    return PairwiseAUCLoss(surr_loss="logistic")(scores, y.float())


def main(n_seeds: int, steps: int) -> dict[str, float]:
    losses = {"cross-entropy": cross_entropy, "1 - smoothed AUC": one_minus_auc, "LibAUC, pairwise": libauc}
    found: dict[str, float] = {}
    for name, loss in losses.items():
        auc = []
        try:
            for seed in range(n_seeds):
                x, y, x_test, y_test = draw(seed)
                net = network(seed)
                adam(net, x, y, loss, steps)
                with torch.no_grad():
                    auc.append(float(roc_auc(net(x_test), y_test)))
        except ImportError as error:
            print(f"{name:18} not installed ({error.name})")
            continue
        found[name] = float(np.mean(auc))
        print(f"{name:18} test AUC {np.mean(auc):.4f} ± {np.std(auc) / len(auc) ** 0.5:.4f} ({n_seeds} seeds)")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    main(n_seeds=1 if smoke else 10, steps=20 if smoke else 300)
