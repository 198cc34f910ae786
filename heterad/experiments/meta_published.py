"""Figures of Kumagai et al. (2023), tables 1 to 8: mean test AUC in per cent, and seconds."""

from __future__ import annotations

Figures = dict[str, dict[str, float]]

NAMES = {"omniglot": "Omniglot", "mnist_r": "Mnist-r", "isolet": "Isolet", "iot": "IoT", "digits": "Digits"}
LABELS = {
    "ours": "Ours",
    "ours-best": "Ours, best preset",
    "osvm": "OSVM",
    "if": "IF",
    "ae": "AE",
    "rae": "RAE",
    "dagm": "DAGM",
    "np": "NP",
    "tnp": "TNP",
    "maml": "MAML",
    "proto": "Proto",
    "rproto": "RProto",
    "mc": "MC",
}
_ORDER = ("ours", "osvm", "if", "ae", "rae", "dagm", "np", "tnp", "maml", "proto", "rproto", "mc")
_SETS = ("omniglot", "mnist_r", "isolet", "iot")


def _columns(names: tuple[str, ...], *lines: tuple[float, ...]) -> Figures:
    return {name: dict(zip(names, line, strict=True)) for name, line in zip(_SETS, lines, strict=True)}


TABLE1 = _columns(
    _ORDER,
    (86.23, 66.63, 60.17, 68.39, 68.39, 63.36, 50.07, 50.18, 53.26, 75.83, 80.07, 75.22),
    (85.19, 77.10, 73.57, 80.99, 80.99, 76.47, 58.69, 61.62, 72.37, 71.71, 75.57, 70.88),
    (95.69, 87.93, 92.54, 91.61, 91.63, 61.11, 75.03, 78.31, 90.03, 90.54, 93.97, 90.50),
    (95.94, 84.16, 32.09, 84.09, 87.38, 69.87, 70.53, 93.42, 88.79, 58.53, 53.85, 80.09),
)
TABLE2 = _columns(
    ("", "w/o A", "w/o Initial", "w/o Iter", "w/o hTask", "w/o ATask", "w/o Task"),
    (86.23, 82.36, 83.73, 84.16, 86.13, 85.77, 86.02),
    (85.19, 80.97, 81.56, 82.57, 81.73, 85.26, 81.19),
    (95.69, 92.83, 94.03, 93.84, 95.61, 95.61, 95.34),
    (95.94, 95.32, 95.32, 80.11, 95.22, 93.68, 96.28),
)
TABLE3 = {
    "train_seconds": dict(zip(("ours", *_ORDER[6:]), (222.4, 49.0, 49.4, 348.7, 42.9, 47.0, 61.2), strict=True)),
    "test_seconds": dict(zip(("ours", *_ORDER[6:]), (0.059, 0.029, 0.028, 0.116, 0.023, 0.022, 0.027), strict=True)),
}
_STARTS = ("", "w/o Initial", "w/o Initial, I=20", "w/o Initial, I=30", "w/o Initial, I=50")
TABLE4 = {
    "auc": dict(zip(_STARTS, (85.19, 81.56, 81.96, 81.90, 81.78), strict=True)),
    "seconds": dict(zip(_STARTS, (222.4, 190.7, 317.9, 467.9, 808.9), strict=True)),
}
TABLE5 = _columns(
    ("ours", "np", "maml", "proto", "rproto", "mc"),
    (86.23, 49.80, 52.00, 80.46, 85.19, 80.02),
    (85.19, 50.29, 71.48, 67.61, 73.85, 69.32),
    (95.69, 50.20, 89.95, 88.49, 94.00, 91.73),
    (95.94, 90.78, 92.09, 77.44, 81.35, 84.06),
)
TABLE6 = _columns(
    _ORDER,
    (86.23, 66.63, 60.17, 68.39, 68.39, 63.36, 50.07, 50.18, 53.26, 75.83, 80.07, 75.22),
    (82.77, 77.10, 73.57, 80.99, 80.99, 76.47, 52.92, 58.03, 66.45, 68.75, 72.08, 68.41),
    (95.58, 87.93, 92.54, 91.61, 91.63, 61.11, 72.03, 78.37, 89.28, 89.25, 93.47, 89.63),
    (93.59, 84.16, 32.09, 84.09, 87.38, 69.87, 60.46, 90.65, 84.04, 59.35, 51.55, 85.97),
)
TABLE7 = {
    "omniglot": {"T=10": 72.30, "T=30": 72.06, "T=100": 77.74, "T=250": 83.13, "T=500": 85.29, "": 86.23, "rae": 68.39}
}
TABLE8 = _columns(
    tuple(name for name in _ORDER if name != "maml"),
    (72.66, 66.63, 60.17, 68.39, 68.39, 63.36, 50.06, 50.19, 67.74, 69.91, 68.37),
    (81.04, 77.10, 73.57, 80.99, 80.99, 76.47, 51.11, 52.16, 60.31, 61.80, 62.54),
    (92.22, 87.93, 92.54, 91.61, 91.63, 61.11, 50.22, 64.73, 77.33, 82.53, 77.56),
    (91.38, 84.16, 32.09, 84.09, 87.38, 69.87, 90.86, 88.88, 77.74, 86.94, 87.82),
)
