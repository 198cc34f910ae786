"""A fitted detector as one safetensors file: tensors, and a JSON record in the header."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heterad.detectors.inputs import Scaling
from heterad.detectors.parameters import check_device, check_parameters
from heterad.methods.robust_meta import Adapted
from heterad.train import read_tensors, write_tensors

FORMAT_VERSION = 1
SUMMARY = ("history_", "n_iter_", "best_iter_", "best_validation_")


def write(detector: Any, path: str | os.PathLike[str], tensors: Mapping[str, Tensor], extra: Mapping[str, Any]) -> None:
    """Write a detector of any class: its tensors, its options and threshold, and what else its class records."""
    import heterad

    names = getattr(detector, "feature_names_in_", None)
    record = {
        "kind": type(detector).__name__,
        "format_version": FORMAT_VERSION,
        "library_version": heterad.__version__,
        "configuration": _portable(detector.get_params()),
        "n_features": int(detector.n_features_in_),
        "feature_names": None if names is None else names.tolist(),
        "threshold": detector.threshold_,
    }
    write_tensors(path, tensors, record | dict(extra))


def read(
    cls: type,
    path: str | os.PathLike[str],
    device: str | torch.device | None,
    restore: Callable[[Any, dict[str, Tensor], dict[str, Any]], None],
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Read a detector of class ``cls``: ``restore(detector, tensors, record)`` takes up what its class wrote.

    ``options`` replace those of the file.
    """
    tensors, record = read_tensors(path)
    if record.get("kind") != cls.__name__:
        raise ValueError(f"{path}: expected a {cls.__name__}, got a {record.get('kind')}")
    version = record.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ValueError(
            f"{path}: format version {version} is newer than this library's {FORMAT_VERSION}; "
            f"it was written by heterad {record.get('library_version')}"
        )
    try:
        detector = cls(**record["configuration"] | {"device": device} | dict(options or {}))
        detector.n_features_in_ = record["n_features"]
        if record["feature_names"] is not None:
            detector.feature_names_in_ = np.array(record["feature_names"], dtype=object)
        restore(detector, tensors, record)
        detector.threshold_ = record["threshold"]
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: its contents do not fit its configuration ({error})") from None
    return detector


def save(detector: Any, path: str | os.PathLike[str]) -> None:
    """Write ``detector``; see ``RobustMetaDetector.save``."""
    task = detector.task_
    tensors = {f"model.{name}": t.float() for name, t in detector.model_.state_dict().items()}
    tensors |= {f"scaling.{name}": torch.from_numpy(a) for name, a in detector.scaling_._asdict().items()}
    tensors["task.support_scores"] = torch.from_numpy(detector.support_scores_)
    tensors |= {"task.z": task.adapted_.z, "task.w": task.adapted_.w}
    training = {name: getattr(detector, name) for name in SUMMARY}
    training["validation_groups_"] = detector.validation_groups_.tolist()
    write(detector, path, tensors, {"task_threshold": task.threshold_, "training": training})


def load(cls: type, path: str | os.PathLike[str], device: str | torch.device | None) -> Any:
    """Read a detector of class ``cls``; see ``RobustMetaDetector.load``."""
    return read(cls, path, device, _restore)


def _restore(detector: Any, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    check_parameters(detector)
    training = record["training"]
    for name in SUMMARY:
        setattr(detector, name, training[name])
    detector.validation_groups_ = np.asarray(training["validation_groups_"])
    model = detector._new_model()
    model.load_state_dict({k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")})
    where = check_device(detector.device)
    detector.model_ = model.to(where).double().requires_grad_(False)
    detector.scaling_ = Scaling(*(tensors[f"scaling.{name}"].numpy() for name in Scaling._fields))
    task = detector._new_task()
    task.model_, task.scaling_ = detector.model_, detector.scaling_
    task.adapted_ = Adapted(tensors["task.z"].to(where), tensors["task.w"].to(where))
    task.support_scores_ = tensors["task.support_scores"].numpy()
    task.threshold_ = record["task_threshold"]
    detector._take_task(task)


def _portable(parameters: dict[str, Any]) -> dict[str, Any]:
    """Options as JSON values. The device belongs to the machine, a RandomState has no number to store, and of a
    factory only the name is kept."""
    plain = {
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in parameters.items()
        if name != "device"
    }
    if isinstance(plain["random_state"], np.random.RandomState):
        plain["random_state"] = None
    return {
        name: {"factory": getattr(value, "__qualname__", type(value).__name__)} if callable(value) else value
        for name, value in plain.items()
    }
