"""AHL on images: a few scratches are known, stains have never been seen, both are to be found and shown.

    python examples/images.py            # a minute
    python examples/images.py --smoke    # a few seconds, to see that it runs

The images are made up (woven textures of 48 x 48 pixels); ``heterad.data.read_image_folder`` reads your own, a folder
laid out as MVTec AD. A small network trained on the normals turns images into feature maps, and the detectors take
the maps. Pictures go to the folder --out, if it is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from heterad import AHLDetector, DRADetector
from heterad.experiments.ahl_plots import heat_maps
from heterad.methods import fit_backbone
from heterad.nn import SmallConvNet, extract_maps

SIDE = 48


def cloth(rng: np.random.Generator, n: int, defect: str | None = None) -> np.ndarray:
    """``n`` images uint8 [n, 3, 48, 48]: a weave, slightly turned, with a defect or without."""
    row, column = np.mgrid[:SIDE, :SIDE]
    images = np.empty((n, 3, SIDE, SIDE))
    for image in images:
        turn = rng.normal(0, 0.05)
        u, v = row + turn * column + rng.uniform(0, 6), column - turn * row + rng.uniform(0, 6)
        image[:] = 128 + 40 * np.sin(u) * np.sin(v) + rng.normal(0, 10, (3, SIDE, SIDE))
        y, x = rng.uniform(12, SIDE - 12, 2)
        if defect == "scratch":
            slope = rng.uniform(-1, 1)
            near = (np.abs(row - y - slope * (column - x)) < 1.2) & (np.abs(column - x) < 10)
            image[:, near] += 70
        if defect == "stain":
            blot = np.exp(-((row - y) ** 2 + (column - x) ** 2) / 40)
            image -= blot * np.array([10, 50, 60])[:, None, None]
    return images.clip(0, 255).astype(np.uint8)


def main(n_normal: int, steps: int, epochs: int, out: Path | None) -> dict[str, float]:
    rng = np.random.default_rng(0)
    train = np.concatenate([cloth(rng, n_normal), cloth(rng, 8, "scratch")])
    y = np.repeat([0, 1], [n_normal, 8])
    test = np.concatenate([cloth(rng, 40), cloth(rng, 20, "scratch"), cloth(rng, 20, "stain")])
    kind = np.repeat(["normal", "scratch", "stain"], [40, 20, 20])

    generator = torch.Generator().manual_seed(0)
    net = SmallConvNet(3, generator)
    fit_backbone(net, torch.as_tensor(train[y == 0]) / 255, generator, steps=steps)
    maps, test_maps = extract_maps(net, train), extract_maps(net, test)

    found = {}
    for name, detector in {
        "AHL": AHLDetector("dra", epochs=epochs, random_state=0),
        "DRA": DRADetector(epochs=epochs, random_state=0),
    }.items():
        scores = detector.fit(maps, y).decision_function(test_maps)
        for defect in ("scratch", "stain"):
            of = np.isin(kind, ("normal", defect))
            found[f"{name}, {defect}"] = roc_auc_score(kind[of] == defect, scores[of])
        print(f"{name}: AUC of scratches (seen) {found[f'{name}, scratch']:.3f}, stains {found[f'{name}, stain']:.3f}")
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            shown = [int(np.flatnonzero(kind == k)[1]) for k in ("normal", "scratch", "stain")]
            heat = detector.explain(test_maps[shown])["heat_map"]
            heat_maps(out / f"{name.lower()}.png", heat, kind[shown], scores[shown], test[shown])
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    small = options.smoke
    main(n_normal=24 if small else 60, steps=5 if small else 300, epochs=1 if small else 10, out=options.out)
