"""Builds an unloaded network of the installed package's classes from a checkpoint's description."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any, Final

from pydantic import JsonValue
from torch import nn

from runaudit.errors import CheckpointError
from runaudit.evaluation.framework import framework
from runaudit.runs.facts import CheckpointFacts, Task

_ACTIVATIONS: Final = {
    kind.__name__: kind
    for kind in (nn.SiLU, nn.ReLU, nn.ReLU6, nn.Hardswish, nn.GELU, nn.Mish, nn.Sigmoid, nn.Identity)
}
_WITH_PARAMETER: Final = {"LeakyReLU": (nn.LeakyReLU, "negative_slope"), "ELU": (nn.ELU, "alpha")}
_HEADS: Final = {"SegmentationModel": "Segment", "PoseModel": "Pose", "OBBModel": "OBB"}
"""class of `ultralytics.nn.tasks` -> its head in `ultralytics.nn.modules.head`; YOLO26's are subclasses"""
_TASKS: Final[dict[str, Task]] = {"SegmentationModel": "segment", "PoseModel": "pose", "OBBModel": "obb"}
_PROTOTYPE_STRIDE: Final = 8
"""stride of the level from which mask prototypes are made, at twice its size: a quarter of the image's"""
_DESCRIBED: Final = re.compile(r"(LeakyReLU|ELU)\(([0-9.e+-]{1,30})\)")


def unsupported(checkpoint: CheckpointFacts, why: str) -> CheckpointError:
    """The error for a network that can't be built here."""
    return CheckpointError(
        f"The network in {checkpoint.source} is not supported: {why}.",
        code="architecture_unsupported",
        place=checkpoint.source,
    )


def image_channels(checkpoint: CheckpointFacts, description: dict[str, JsonValue]) -> int:
    """1 (grey) or 3 (RGB). Raises CheckpointError `architecture_unsupported` for any other input."""
    channels = description.get("channels", 3)
    if not isinstance(channels, int) or channels not in (1, 3):
        raise unsupported(checkpoint, f"its input has {channels} channels; 1 and 3 can be validated")
    return channels


def detection_model(
    checkpoint: CheckpointFacts, description: dict[str, JsonValue], model_class: str = "DetectionModel"
) -> Any:
    """A network that finds objects, with its initial weights.

    `description` has passed `checked_model_yaml`; `model_class` is a class of `ultralytics.nn.tasks`. Raises
    CheckpointError `architecture_unsupported`.
    """
    channels = image_channels(checkpoint, description)
    try:
        module = getattr(framework().nn.tasks, model_class)(cfg=deepcopy(description), ch=channels, verbose=False)
    # The installed package parses the description; whatever it can't build, it can't build.
    except Exception as error:
        raise unsupported(checkpoint, f"the installed ultralytics can't build it ({error!s:.300})") from error
    head, layers = module.model[-1], framework().nn.modules.head
    if not isinstance(head, layers.Detect):
        raise unsupported(checkpoint, "its last layer is not a detection head")
    wanted = getattr(layers, _HEADS[model_class]) if model_class in _HEADS else None
    others = tuple(getattr(layers, name) for name in _HEADS.values())
    if not isinstance(head, wanted) if wanted is not None else isinstance(head, others):
        raise unsupported(checkpoint, f"its head {type(head).__name__} is not that of a {model_class}")
    if model_class == "SegmentationModel" and float(module.stride[0]) != _PROTOTYPE_STRIDE:
        # The framework compares masks at a quarter of the image's size, and fails where prototypes have another.
        raise unsupported(checkpoint, "its mask prototypes are not a quarter of the image's size")
    return module


def task_of(model_class: str) -> Task:
    """What a class of `ultralytics.nn.tasks` is for."""
    return _TASKS.get(model_class, "detect")


def restore_activations(checkpoint: CheckpointFacts, module: nn.Module, *, leave_out: str = "") -> None:
    """Give each layer of `module` the activation that it has in the checkpoint.

    Tensors fit whatever the activation is, and versions differ in it: the first convolution of SPPF in a YOLOv8 network
    has a SiLU in the installed version, and none in files of ultralytics 8.4.7. Layers below `leave_out` are skipped.
    Raises CheckpointError `architecture_unsupported` for an activation that is none of torch.nn, or in a layer that
    the installed version doesn't have.
    """
    for path, text in checkpoint.activations.items():
        if leave_out and path.startswith(leave_out):
            continue
        parent_path, _, name = path.rpartition(".")
        try:
            parent = module.get_submodule(parent_path)
            present = getattr(parent, name)
        except AttributeError as error:
            raise unsupported(checkpoint, f"the installed ultralytics has no activation at {path:.100}") from error
        if _description(present) != text:
            setattr(parent, name, _activation(checkpoint, text))


def _description(activation: nn.Module) -> str:
    """In the words of `runs.activations`."""
    name = type(activation).__name__
    if name in _WITH_PARAMETER:
        return f"{name}({float(getattr(activation, _WITH_PARAMETER[name][1]))!r})"
    return name


def _activation(checkpoint: CheckpointFacts, text: str) -> nn.Module:
    if text in _ACTIVATIONS:
        return _ACTIVATIONS[text]()
    described = _DESCRIBED.fullmatch(text)
    if described is None:
        raise unsupported(checkpoint, f"it has activations of the class {text:.100}")
    return _WITH_PARAMETER[described[1]][0](float(described[2]))
