"""Builds the networks of YOLOv5: the installed ultralytics' layers under our own anchor head."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

from torch import Tensor, nn

from runaudit.errors import CheckpointError
from runaudit.evaluation.anchor_head import AnchorHead
from runaudit.evaluation.construction import detection_model, restore_activations, unsupported
from runaudit.evaluation.framework import framework
from runaudit.runs.facts import CheckpointFacts
from runaudit.runs.model_yaml import checked_model_yaml

ANCHOR_MODEL_CLASSES: Final = ("models.yolo.DetectionModel", "models.yolo.Model")
"""what YOLOv5 calls its detector, from 7.0 on and before; YOLOv3's repository of 2021 and later shares its code"""
_FOREIGN_LAYERS: Final = ("nn.Conv2d", "CrossConv", "C3SPP", "MixConv2d", "MixConv", "Contract", "Expand", "Sum")
"""layers of YOLOv5 that the installed ultralytics has not; `nn.Conv2d` is how YOLOv5 1.0 wrote its head"""


def anchor_network(checkpoint: CheckpointFacts, tensors: dict[str, Tensor]) -> tuple[Any, dict[str, Tensor]]:
    """The network that a YOLOv5 checkpoint describes, unloaded, and the tensors that belong into it.

    The head takes the shape of its anchors from the tensors, never from the description: autoanchor may have replaced
    them. Strides are measured by a forward pass. A buffer `anchor_grid` of versions up to 5.0 repeats the anchors in
    pixels and is left out, as YOLOv5 itself does today (models/experimental.py).

    Raises CheckpointError `architecture_unsupported`, `weights_mismatch` (no anchors), or `model_yaml_refused`.
    """
    description = _description(checkpoint)
    module = detection_model(checkpoint, description)
    last = module.model[-1]
    name = f"model.{last.i}"
    anchors = tensors.get(f"{name}.anchors")
    if anchors is None or anchors.ndim != 3 or len(anchors) != len(last.cv2) or anchors.shape[2] != 2:
        raise CheckpointError(
            f"The weights in {checkpoint.source} hold no anchors for the {len(last.cv2)} levels of the head.",
            code="weights_mismatch",
            place=checkpoint.source,
        )
    strides = tuple(float(stride) for stride in module.stride)
    if checkpoint.stride and checkpoint.stride != strides:
        raise unsupported(checkpoint, f"its strides are {checkpoint.stride}, those of its layers {strides}")
    widths = [branch[0].conv.in_channels for branch in last.cv2]
    head: Any = AnchorHead(int(module.yaml["nc"]), anchors, widths, strides)
    # Its place in the network and the layers that it reads, as the installed package's forward pass looks them up.
    head.i, head.f = last.i, last.f
    module.model[-1] = head
    _narrow_bottlenecks(module, tensors)
    restore_activations(checkpoint, module, leave_out=f"{name}.")
    return module, {key: tensor for key, tensor in tensors.items() if key != f"{name}.anchor_grid"}


def _description(checkpoint: CheckpointFacts) -> dict[str, Any]:
    """The checkpoint's description as the installed package reads it, with its own detection head for ours."""
    written: Any = deepcopy(checkpoint.model_yaml)
    rows = [row for part in ("backbone", "head") for row in written.get(part) or ()]
    modules = [row[2] for row in rows if isinstance(row, list) and len(row) == 4]
    foreign = sorted({module for module in modules if module in _FOREIGN_LAYERS})
    if foreign:
        raise unsupported(checkpoint, f"the installed ultralytics has no layer {', '.join(foreign)} of YOLOv5")
    if not modules or len(modules) != len(rows) or modules[-1] != "Detect":
        raise unsupported(checkpoint, "its last layer is not YOLOv5's detection head")
    # The anchors are the checkpoint's, and so are the activations.
    written["head"][-1][3] = ["nc"]
    written.pop("activation", None)
    return checked_model_yaml(written)


def _narrow_bottlenecks(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Make the first convolution of a bottleneck 1 x 1 where its weights are, as all of YOLOv5's are.

    The installed package's `Bottleneck`, on its own or within BottleneckCSP, starts with 3 x 3.
    """
    layers = framework().nn.modules
    for name, block in module.named_modules():
        weight = tensors.get(f"{name}.cv1.conv.weight")
        if not isinstance(block, layers.Bottleneck) or weight is None or weight.ndim != 4:
            continue
        wide = block.cv1.conv
        if tuple(weight.shape[2:]) == (1, 1) != tuple(wide.kernel_size):
            narrow = layers.Conv(wide.in_channels, wide.out_channels, 1, 1)
            narrow.bn.eps, narrow.bn.momentum = block.cv1.bn.eps, block.cv1.bn.momentum
            block.cv1 = narrow
