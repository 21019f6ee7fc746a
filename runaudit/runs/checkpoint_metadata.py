"""What a checkpoint says of itself beside its tensors: framework, version, arguments, names, metrics.

Keys by version: yolo.md A4.
"""

from __future__ import annotations

from typing import Any, get_args

from runaudit.errors import CheckpointError
from runaudit.runs.facts import Column, Framework, Task
from runaudit.runs.pickle_calls import array_of_one
from runaudit.runs.pickle_values import Stub, TensorRef
from runaudit.runs.plain_values import dictionary, number, plain, text, whole
from runaudit.runs.tensors import TensorReader

_TASKS: dict[str, Task] = {"Segmentation": "segment", "Pose": "pose", "OBB": "obb", "Classification": "classify"}
"""by the model's class in ultralytics and YOLOv5; any other is a detector"""
_YOLOV9_CLASSES = frozenset(
    {
        *("models.yolo.DDetect", "models.yolo.DualDetect", "models.yolo.DualDDetect"),
        *("models.yolo.TripleDetect", "models.yolo.TripleDDetect", "models.yolo.DSegment", "models.yolo.DualDSegment"),
        *("models.common.RepNCSPELAN4", "models.common.CBLinear", "models.common.ADown", "models.common.SPPELAN"),
    }
)
_OTHER_FAMILIES = frozenset({"models.yolo.IDetect", "models.yolo.IAuxDetect", "models.yolo.IKeypoint"})
"""YOLOv7 lays its modules out as YOLOv5 does, and is neither of ours"""
_NAMES = 20_000


def metadata(
    checkpoint: dict[Any, Any], model: Any, globals_: tuple[str, ...], tensors: TensorReader
) -> dict[str, Any]:
    """The fields of CheckpointFacts that come from the checkpoint's dict and the model's attributes.

    What is missing or of another type is left at its default: metadata never refuses a checkpoint.
    """
    module = model if isinstance(model, Stub) else Stub("")
    arguments = dictionary(checkpoint.get("train_args")) or dictionary(checkpoint.get("opt"))
    return {
        "framework": _framework(module.path, globals_),
        "version": text(checkpoint.get("version")),
        "date": text(checkpoint.get("date")),
        "model_class": module.path or None,
        "model_yaml": dictionary(module.attribute("yaml")) or None,
        "names": _names(module.attribute("names")),
        "stride": _numbers(module.attribute("stride"), tensors),
        "task": _task(module, arguments),
        "epoch": whole(checkpoint.get("epoch")),
        "best_fitness": _one_number(checkpoint.get("best_fitness"), tensors),
        "optimizer_present": checkpoint.get("optimizer") is not None,
        "updates": whole(checkpoint.get("updates")),
        "train_args": arguments,
        "train_metrics": _metrics(checkpoint.get("train_metrics")),
        "train_results": _results(checkpoint.get("train_results")),
    }


def _framework(model_class: str, globals_: tuple[str, ...]) -> Framework | None:
    if model_class.startswith("ultralytics."):
        return "ultralytics"
    if not model_class.startswith("models.yolo.") or _OTHER_FAMILIES & set(globals_):
        return None
    return "yolov9" if _YOLOV9_CLASSES & set(globals_) else "yolov5"


def _task(module: Stub, arguments: dict[str, Any]) -> Task | None:
    for told in (module.attribute("task"), arguments.get("task")):
        if told in get_args(Task):
            return told
    if not module.path:
        return None
    name = module.path.rsplit(".", 1)[-1]
    return next((task for start, task in _TASKS.items() if name.startswith(start)), "detect")


def _names(value: Any) -> dict[int, str]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    names: dict[int, str] = {}
    for key, name in entries:
        shown = text(name) if isinstance(name, str) else None
        if type(key) is int and shown is not None and len(names) < _NAMES:
            names[key] = shown
    return names


def _numbers(value: Any, tensors: TensorReader) -> tuple[float, ...]:
    """A list or a one-dimensional tensor of at most 16 numbers."""
    if isinstance(value, TensorRef):
        try:
            array = tensors.tensor(value)
        except CheckpointError:
            return ()
        if array.array.ndim > 1 or array.array.size > 16 or array.element.name == "bfloat16":
            return ()
        return tuple(float(item) for item in array.array.reshape(-1))
    if isinstance(value, (list, tuple)) and len(value) <= 16:
        found = [number(item) for item in value]
        return tuple(item for item in found if item is not None)
    return ()


def _one_number(value: Any, tensors: TensorReader) -> float | None:
    """A number, or an array or tensor of one."""
    direct = number(array_of_one(value) if isinstance(value, Stub) else value)
    if direct is not None:
        return direct
    found = _numbers(value, tensors)
    return found[0] if len(found) == 1 else None


def _metrics(value: Any) -> dict[str, float]:
    found = dictionary(value)
    return {
        key: float(item) for key, item in found.items() if number(item) is not None and isinstance(item, (int, float))
    }


def _results(value: Any) -> dict[str, Column]:
    """results.csv as the trainer stored it: a dict of columns."""
    found = plain(value)
    if not isinstance(found, dict):
        return {}
    return {
        key.strip(): tuple(number(cell) for cell in column) for key, column in found.items() if isinstance(column, list)
    }
