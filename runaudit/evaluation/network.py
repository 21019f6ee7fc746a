"""Rebuilds a detection network from a checked description and plain tensors, with the installed package's classes."""

from __future__ import annotations

import platform
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from runaudit.errors import CheckpointError
from runaudit.evaluation.framework import framework
from runaudit.runs.facts import CheckpointFacts
from runaudit.runs.model_yaml import checked_model_yaml

MODEL_CLASSES: Final = {
    "ultralytics.nn.tasks.DetectionModel": "DetectionModel",
    # Pickled by the YOLOv10 fork and early 8.2; its network is a DetectionModel with another head.
    "ultralytics.nn.tasks.YOLOv10DetectionModel": "DetectionModel",
}
"""model class as a checkpoint names it -> class of the installed `ultralytics.nn.tasks`. Nothing else is built."""

LEAST_STRIDE: Final = 32
"""What the framework pads to where all strides are smaller (nn/backends/pytorch.py)."""

_NAMED_AT_MOST: Final = 3


@dataclass(frozen=True)
class Network:
    """A network ready for inference: fused, float32, in evaluation mode, on its device.

    `stride` is what image sides are padded to, in pixels; `channels` is 1 (grey) or 3 (RGB); `classes` is how many
    classes the head tells apart. `two_heads` is true if the network also had a head that needs no NMS, left unused.
    """

    module: nn.Module
    stride: int
    channels: int
    classes: int
    two_heads: bool
    device: torch.device


def rebuild(checkpoint: CheckpointFacts, weights: Path, device: torch.device) -> Network:
    """Build the network that `checkpoint` describes, load `weights` (safetensors) strictly, and fuse it.

    A network with two heads (YOLOv10, YOLO26) keeps the one-to-many head, which needs NMS: `yolo val` of the installed
    version does the same by its default `nms=None` (engine/validator.py; research page yolo.md, A7.7).

    Raises CheckpointError with the code `architecture_unsupported` (another class of model, a description that the
    installed version can't build) or `weights_mismatch` (tensors that don't fit the description), or what
    `checked_model_yaml` raises for a description that is not plain.
    """
    module, channels = _unloaded(checkpoint)
    _load_strictly(module, weights, checkpoint.source)
    two_heads = getattr(module.model[-1], "one2one_cv2", None) is not None
    module.end2end = False
    module = module.fuse(verbose=False).float().eval().to(device)
    module.requires_grad_(False)
    module.to(memory_format=torch.channels_last if _prefers_channels_last(device) else torch.contiguous_format)
    stride = max(int(module.stride.max()), LEAST_STRIDE)
    return Network(
        module=module,
        stride=stride,
        channels=channels,
        classes=int(module.yaml["nc"]),
        two_heads=two_heads,
        device=device,
    )


def _unloaded(checkpoint: CheckpointFacts) -> tuple[Any, int]:
    """The network with its initial weights, and its number of input channels."""
    name = MODEL_CLASSES.get(checkpoint.model_class or "")
    if name is None or checkpoint.model_yaml is None:
        raise _unsupported(checkpoint, f"models of the class {checkpoint.model_class} can't be rebuilt here")
    description = checked_model_yaml(checkpoint.model_yaml)
    channels = description.get("channels", description.get("ch", 3))
    if channels not in (1, 3):
        raise _unsupported(checkpoint, f"its input has {channels} channels; 1 and 3 can be validated")
    model_class = getattr(framework().nn.tasks, name)
    try:
        module = model_class(cfg=deepcopy(description), ch=channels, verbose=False)
    # The installed package parses the description; whatever it can't build, it can't build.
    except Exception as error:
        raise _unsupported(checkpoint, f"the installed ultralytics can't build it ({error!s:.300})") from error
    if not isinstance(module.model[-1], framework().nn.modules.head.Detect):
        raise _unsupported(checkpoint, "its last layer is not a detection head")
    return module, int(channels)


def _unsupported(checkpoint: CheckpointFacts, why: str) -> CheckpointError:
    return CheckpointError(
        f"The network in {checkpoint.source} is not supported: {why}.",
        code="architecture_unsupported",
        place=checkpoint.source,
    )


def _load_strictly(module: nn.Module, weights: Path, source: str) -> None:
    """Load all tensors, each with its name and shape; half precision is widened to float32."""
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"The tensors taken from {source} can't be read: {error}", code="weights_mismatch", place=source
        ) from error
    expected = module.state_dict()
    problems = [
        *_named("missing", sorted(expected.keys() - tensors.keys())),
        *_named("not part of the network", sorted(tensors.keys() - expected.keys())),
        *_named(
            "of another shape",
            sorted(name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape),
        ),
    ]
    if problems:
        raise CheckpointError(
            f"The weights in {source} don't fit the network that it describes: {'; '.join(problems)}.",
            code="weights_mismatch",
            place=source,
        )
    module.load_state_dict(tensors, strict=True)


def _named(what: str, names: list[str]) -> list[str]:
    """`3 tensors missing (a, b, c)`, or nothing."""
    if not names:
        return []
    listed = ", ".join(names[:_NAMED_AT_MOST]) + (", ..." if len(names) > _NAMED_AT_MOST else "")
    return [f"{len(names)} tensors {what} ({listed})"]


def _prefers_channels_last(device: torch.device) -> bool:
    """Whether the framework would run this network in channels-last order: oneDNN on x86 (nn/autobackend.py)."""
    onednn: Any = torch.backends.mkldnn
    return (
        device.type == "cpu"
        and platform.machine() in ("AMD64", "x86_64")
        and platform.system() in ("Linux", "Windows")
        and bool(onednn.is_available())
        and bool(onednn.enabled)
    )
