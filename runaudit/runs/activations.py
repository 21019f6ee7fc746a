"""Finds the activation of each layer in a pickled network: neither the tensors nor the model yaml tell it."""

from __future__ import annotations

import math
from typing import Any, Final

from runaudit.runs.pickle_values import Stub

PLAIN: Final = ("SiLU", "ReLU", "ReLU6", "Hardswish", "GELU", "Mish", "Sigmoid", "Identity")
"""activations of torch.nn without a parameter that matters; `LeakyReLU` and `ELU` have one"""
_TORCH: Final = "torch.nn.modules."
_PARAMETER: Final = {"LeakyReLU": "negative_slope", "ELU": "alpha"}
_CHILD: Final = "act"
"""what the layers of ultralytics and YOLOv5 call it"""
_DEPTH: Final = 32
_MOST: Final = 5_000
"""yolov8x has 97"""
_NAME_LENGTH: Final = 120


def activations(module: Any) -> dict[str, str]:
    """Path of each activation in the network -> `SiLU`, `LeakyReLU(0.1)`, ..., or its class if it is none of torch.nn.

    What a version of a framework gives its layers changes: YOLOv5 up to 3.1 used LeakyReLU or Hardswish, and the first
    convolution of SPPF has no SiLU in YOLOv8 files of ultralytics 8.4.7. `module` is a network whose state dict could
    be replayed (`module_tree.state_dict`), so its modules form a tree of bounded size.
    """
    found: dict[str, str] = {}
    _collect(module, "", 0, found)
    return found


def _collect(module: Any, prefix: str, depth: int, found: dict[str, str]) -> None:
    children = module.attribute("_modules") if isinstance(module, Stub) else None
    if not isinstance(children, dict) or depth > _DEPTH:
        return
    for name, child in children.items():
        if not isinstance(child, Stub) or not isinstance(name, str) or len(found) >= _MOST:
            continue
        if name == _CHILD:
            found[f"{prefix}{name}"] = _described(child)
        _collect(child, f"{prefix}{name}.", depth + 1, found)


def _described(activation: Stub) -> str:
    name = activation.path.rsplit(".", 1)[-1] if activation.path.startswith(_TORCH) else ""
    if name in PLAIN:
        return name
    if name in _PARAMETER:
        value = activation.attribute(_PARAMETER[name])
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return f"{name}({float(value)!r})"
    return activation.path[:_NAME_LENGTH]
