"""A detector for each device from one that learned across devices, beside one isolation forest a device.

    python examples/devices.py            # half a minute
    python examples/devices.py --smoke    # a few seconds, to see that it runs

Every device has a normal of its own: ten sensors that follow two hidden loads in its own way. A new device comes
with unlabelled readings alone, a fifth of them faulty: two sensors have drifted.
"""

from __future__ import annotations

import argparse

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from heterad import RobustMetaDetector

SENSORS = ["volt", "amp", "heat", "spin", "flow", "hum", "tilt", "load", "wear", "dust"]
D = len(SENSORS)


def readings(rng: np.random.Generator, n: int, faulty: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Readings of one device, which are faulty, and what the fault added to each sensor."""
    centre, wiring = rng.normal(size=D), rng.normal(size=(2, D))
    fault = rng.random(n) < faulty
    drift = np.zeros((n, D))
    for row in np.flatnonzero(fault):
        drift[row, rng.choice(D, 2, replace=False)] = rng.choice([-2, 2], 2)
    return centre + rng.normal(size=(n, 2)) @ wiring + 0.1 * rng.normal(size=(n, D)) + drift, fault, drift


def main(n_devices: int, max_iter: int) -> dict[str, float]:
    rng = np.random.default_rng(0)
    x, y, device = [], [], []
    for number in range(n_devices):
        rows, fault, _ = readings(rng, 80, 0.2)
        x.append(rows)
        y.append(np.where(np.arange(80) < 30, fault, -1))  # 30 readings a device were looked at by someone
        device.append(np.full(80, number))
    detector = RobustMetaDetector(max_iter=max_iter)
    detector.fit(np.concatenate(x), np.concatenate(y), np.concatenate(device))

    auc: dict[str, list[float]] = {"heterad": [], "isolation forest": []}
    blamed = []
    for _ in range(10):
        rows, fault, drift = readings(rng, 60, 0.2)
        own = detector.adapt(rows)  # no labels; the faulty readings are among these rows
        auc["heterad"].append(roc_auc_score(fault, own.decision_function(rows)))
        forest = IsolationForest(random_state=0).fit(rows)
        auc["isolation forest"].append(roc_auc_score(fault, -forest.score_samples(rows)))
        worst = np.abs(own.explain(rows[fault])).argmax(1)
        blamed.append((drift[fault][np.arange(fault.sum()), worst] != 0).mean())
    for name, values in auc.items():
        print(f"{name:18} AUC on ten new devices {np.mean(values):.3f}")
    print(f"The attribute named first is a drifted sensor in {np.mean(blamed):.0%} of the faulty readings.")
    row = int(own.decision_function(rows).argmax())
    attributes = {name: round(float(a), 1) for name, a in zip(SENSORS, own.explain(rows[[row]])[0], strict=True)}
    print(f"Reading {row} scores highest; to be normal it would need: {attributes}")
    return {name: float(np.mean(values)) for name, values in auc.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args().smoke
    main(n_devices=10 if smoke else 60, max_iter=10 if smoke else 500)
