"""Rebuilds a network from a checked description and plain tensors, with the installed package's classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from runaudit.evaluation.anchor_network import ANCHOR_MODEL_CLASSES, anchor_network
from runaudit.evaluation.construction import detection_model, restore_activations, task_of, unsupported
from runaudit.evaluation.loading import load_strictly, read_tensors, readied
from runaudit.evaluation.protocol import ULTRALYTICS, ULTRALYTICS_ROTATED, YOLOV5, Protocol
from runaudit.runs.facts import CheckpointFacts, Task
from runaudit.runs.model_yaml import checked_model_yaml

MODEL_CLASSES: Final = {
    "ultralytics.nn.tasks.DetectionModel": "DetectionModel",
    # Pickled by the YOLOv10 fork and early 8.2; its network is a DetectionModel with another head.
    "ultralytics.nn.tasks.YOLOv10DetectionModel": "DetectionModel",
    "ultralytics.nn.tasks.SegmentationModel": "SegmentationModel",
    "ultralytics.nn.tasks.PoseModel": "PoseModel",
    "ultralytics.nn.tasks.OBBModel": "OBBModel",
}
"""model class as a checkpoint names it -> class of the installed `ultralytics.nn.tasks`. Beside these, only YOLOv5's
ANCHOR_MODEL_CLASSES are built."""

LEAST_STRIDE: Final = 32
"""What the framework pads to where all strides are smaller (nn/backends/pytorch.py)."""


@dataclass(frozen=True)
class Network:
    """A network ready for inference: fused, float32 (but for `in_half_precision`), in evaluation mode, on its device.

    `stride` is what image sides are padded to, in pixels; `channels` is 1 (grey) or 3 (RGB); `classes` is how many
    classes the head tells apart. `two_heads` is true if the network also had a head that needs no NMS, left unused.
    `protocol` is how its family is validated. `one_to_one` is true if the head that needs no NMS is the one in use.
    `keypoint_shape` is how many keypoints a pose network predicts, and how many values of each.
    """

    module: nn.Module
    stride: int
    channels: int
    classes: int
    two_heads: bool
    device: torch.device
    protocol: Protocol = ULTRALYTICS
    task: Task = "detect"
    one_to_one: bool = False
    keypoint_shape: tuple[int, int] | None = None


def rebuild(checkpoint: CheckpointFacts, weights: Path, device: torch.device, *, one_to_one: bool = False) -> Network:
    """Build the network that `checkpoint` describes, load `weights` (safetensors) strictly, and fuse it.

    A network with two heads (YOLOv10, YOLO26) keeps the one-to-many head, which needs NMS: `yolo val` of the installed
    version does the same by its default `nms=None` (engine/validator.py; research page yolo.md, A7.7). `one_to_one`
    keeps the other one, by which 8.4.0 validated. A network of YOLOv5 has our own head (`anchor_network`).

    Raises CheckpointError with the code `architecture_unsupported` (another class of model, a description that the
    installed version can't build) or `weights_mismatch` (tensors that don't fit the description), or what
    `checked_model_yaml` raises for a description that is not plain.
    """
    module, protocol = _loaded(checkpoint, read_tensors(weights, checkpoint.source))
    return ready(module, protocol, device, one_to_one=one_to_one)


def trainable(checkpoint: CheckpointFacts, weights: Path, device: torch.device) -> tuple[Any, Protocol]:
    """The network as it was trained: not fused, float32, in training mode, and the protocol of its family.

    Raises what `rebuild` raises.
    """
    module, protocol = _loaded(checkpoint, read_tensors(weights, checkpoint.source))
    return module.float().to(device).train(), protocol


def ready(module: Any, protocol: Protocol, device: torch.device, *, one_to_one: bool = False) -> Network:
    """The network of `trainable` for inference; `module` is fused in place."""
    two_heads = getattr(module.model[-1], "one2one_cv2", None) is not None
    module.end2end = one_to_one
    module = readied(module, device)
    stride = max(int(module.stride.max()), LEAST_STRIDE)
    return Network(
        module=module,
        stride=stride,
        channels=int(module.yaml["channels"]),
        classes=int(module.yaml["nc"]),
        two_heads=two_heads,
        device=device,
        protocol=protocol,
        task=task_of(type(module).__name__),
        one_to_one=one_to_one and two_heads,
        keypoint_shape=_keypoint_shape(module),
    )


def in_half_precision(checkpoint: CheckpointFacts, weights: Path, device: torch.device) -> Network:
    """A network of its own that computes in float16. Raises what `rebuild` raises."""
    network = rebuild(checkpoint, weights, device)
    network.module.half()
    return network


def _keypoint_shape(module: Any) -> tuple[int, int] | None:
    shape = getattr(module.model[-1], "kpt_shape", None)
    return None if shape is None else (int(shape[0]), int(shape[1]))


def _loaded(checkpoint: CheckpointFacts, tensors: dict[str, Tensor]) -> tuple[Any, Protocol]:
    """The network with its weights, and the protocol of its family."""
    if checkpoint.model_yaml is None:
        raise unsupported(checkpoint, "it says nothing of its layers")
    if checkpoint.framework == "yolov5" and checkpoint.model_class in ANCHOR_MODEL_CLASSES:
        module, tensors = anchor_network(checkpoint, tensors)
        protocol = YOLOV5
    elif checkpoint.model_class in MODEL_CLASSES:
        description = checked_model_yaml(checkpoint.model_yaml)
        module = detection_model(checkpoint, description, MODEL_CLASSES[checkpoint.model_class])
        restore_activations(checkpoint, module)
        protocol = ULTRALYTICS_ROTATED if task_of(type(module).__name__) == "obb" else ULTRALYTICS
    else:
        raise unsupported(checkpoint, f"models of the class {checkpoint.model_class} can't be rebuilt here")
    load_strictly(module, tensors, checkpoint.source)
    return module, protocol
