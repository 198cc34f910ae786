"""A fitted detector as one safetensors file: tensors, and a JSON record in the header."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from heterad.data.columns import Columns
from heterad.detectors.calibration import Calibration
from heterad.detectors.inputs import Scaling
from heterad.detectors.parameters import check_device, check_parameters
from heterad.methods.robust_meta import Adapted
from heterad.train import read_tensors, write_tensors
from heterad.train.files import pack_tensors, unpack_tensors

FORMAT_VERSION = 2  # 2 added the calibration, the columns of files and the training's summary
SUMMARY = ("history_", "n_iter_", "best_iter_", "best_validation_")


class StoredMixin:
    """A detector that pickles as the bytes of its model file.

    It says what was fitted by ``_contents``, which gives tensors and a JSON-able record, and takes it up again by
    ``_restore``. Its options are pickled as they are.
    """

    def _contents(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        raise NotImplementedError

    def _restore(self, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()  # type: ignore[misc]
        if not hasattr(self, "threshold_"):
            return state
        kept = {name: value for name, value in state.items() if not name.endswith("_")}
        return kept | {"_fitted": pack(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        data = state.pop("_fitted", None)
        super().__setstate__(state)  # type: ignore[misc]
        if data is not None:
            tensors, record = unpack_tensors(data, "state")
            check_version("state", record)
            _fill(self, tensors, record)


def write(detector: Any, path: str | os.PathLike[str]) -> None:
    """Write a fitted detector: its tensors, its options and threshold, and what else its class records."""
    tensors, extra = detector._contents()
    write_tensors(path, tensors, _record(detector) | extra)


def pack(detector: Any) -> bytes:
    """The bytes that ``write`` writes."""
    tensors, extra = detector._contents()
    return pack_tensors(tensors, _record(detector) | extra)


def read(
    cls: type | tuple[type, ...],
    path: str | os.PathLike[str],
    device: str | torch.device | None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Read a detector of class ``cls``, or of one of several; ``options`` replace those of the file."""
    known = {c.__name__: c for c in (cls if isinstance(cls, tuple) else (cls,))}
    try:
        tensors, record = read_tensors(path)
    except ValueError as error:
        raise ValueError(f"expected a model that heterad saved: {error}") from None
    if (kind := record.get("kind")) not in known:
        raise ValueError(f"{path}: expected a {' or '.join(known)}, got a {kind}")
    check_version(path, record)
    check_device(device)
    for name, value in (options or {}).items():
        saved = record["configuration"].get(name)
        if isinstance(saved, dict) and callable(value) and saved.get("factory") != _factory_name(value):
            about = f"{name}: {path} was saved with the factory {saved.get('factory')!r}, got {_factory_name(value)!r}"
            warnings.warn(f"{about}; scores are the saved ones only if it does the same", stacklevel=3)
    try:
        detector = known[kind](**record["configuration"] | {"device": device} | dict(options or {}))
        _fill(detector, tensors, record)
    except (KeyError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: its contents do not fit its configuration ({error})") from None
    return detector


def check_version(path: object, record: Mapping[str, Any]) -> None:
    """Raise ValueError if a file's record is of a version that this library cannot know."""
    version = record.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ValueError(
            f"{path}: format version {version} is newer than this library's {FORMAT_VERSION}; "
            f"it was written by heterad {record.get('library_version')}"
        )


def _record(detector: Any) -> dict[str, Any]:
    import heterad

    names = getattr(detector, "feature_names_in_", None)
    return {
        "kind": type(detector).__name__,
        "format_version": FORMAT_VERSION,
        "library_version": heterad.__version__,
        "configuration": _portable(detector.get_params()),
        "n_features": int(detector.n_features_in_),
        "feature_names": None if names is None else names.tolist(),
        "threshold": detector.threshold_,
    }


def contents(detector: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a ``RobustMetaDetector``, and what else makes it."""
    task, calibration = detector.task_, detector.calibration_
    tensors = {f"model.{name}": t.float() for name, t in detector.model_.state_dict().items()}
    tensors |= {f"scaling.{name}": torch.from_numpy(a) for name, a in detector.scaling_._asdict().items()}
    tensors["task.support_scores"] = torch.from_numpy(detector.support_scores_)
    tensors |= {"task.z": task.adapted_.z, "task.w": task.adapted_.w}
    if calibration is not None:
        tensors["calibration.scores"] = torch.from_numpy(calibration.scores)
        tensors["calibration.tasks"] = torch.from_numpy(calibration.tasks)
    training = {name: getattr(detector, name) for name in SUMMARY}
    training["validation_groups_"] = detector.validation_groups_.tolist()
    columns = None if detector.columns_ is None else detector.columns_.record()
    return tensors, {
        "task_threshold": task.threshold_,
        "training": training,
        "learned_from": detector.learned_from_,
        "columns": columns,
    }


def _fill(detector: Any, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    detector.n_features_in_ = record["n_features"]
    if record["feature_names"] is not None:
        detector.feature_names_in_ = np.array(record["feature_names"], dtype=object)
    detector._restore(tensors, record)
    detector.threshold_ = record["threshold"]


def restore(detector: Any, tensors: dict[str, Tensor], record: dict[str, Any]) -> None:
    """Make a ``RobustMetaDetector`` of what ``contents`` gave."""
    check_parameters(detector)
    training = record["training"]
    for name in SUMMARY:
        setattr(detector, name, training[name])
    detector.validation_groups_ = np.asarray(training["validation_groups_"])
    detector.learned_from_ = record.get("learned_from")
    detector.columns_ = None if record.get("columns") is None else Columns.of(record["columns"])
    detector.calibration_ = None
    if "calibration.scores" in tensors:
        detector.calibration_ = Calibration(*(tensors[f"calibration.{name}"].numpy() for name in ("scores", "tasks")))
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
    return {name: {"factory": _factory_name(value)} if callable(value) else value for name, value in plain.items()}


def _factory_name(factory: Any) -> str:
    return getattr(factory, "__qualname__", type(factory).__name__)
