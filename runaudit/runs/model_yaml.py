"""Judges the model yaml of a checkpoint before any constructor sees it.

ultralytics' `parse_model` looks module names up in its globals, in torch.nn and in torchvision.ops, looks texts among
the arguments up in its local variables, and evaluates `activation` as code (nn/tasks.py; security.md A3). So only
names, texts and numbers from closed lists pass, and no description of a network that would not fit a machine.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import JsonValue

from runaudit.errors import CheckpointError

LAYERS = frozenset(
    {
        *("A2C2f", "AConv", "ADown", "AIFI", "Bottleneck", "BottleneckCSP", "C1", "C2", "C2PSA", "C2f", "C2fCIB"),
        *("C2fPSA", "C3", "C3Ghost", "C3TR", "C3k2", "C3x", "CBFuse", "CBLinear", "Concat", "Conv", "ConvTranspose"),
        *("DWConv", "DWConvTranspose2d", "ELAN1", "Focus", "GhostBottleneck", "GhostConv", "HGBlock", "HGStem", "PSA"),
        *("RepC3", "RepNCSPELAN4", "ResNetLayer", "SCDown", "SPP", "SPPELAN", "SPPF"),
        *("nn.BatchNorm2d", "nn.ConvTranspose2d", "nn.Identity", "nn.MaxPool2d", "nn.Upsample", "nn.ZeroPad2d"),
    }
)
"""The names of `parse_model` (ultralytics 8.4.190) that build a plain layer. Left out: `TorchVision` and `Index`
(download weights), the layers of YOLO-World and YOLOE (need a text model), and all of torchvision.ops."""

HEADS = frozenset(
    {
        *("Detect", "v10Detect", "RTDETRDecoder", "Segment", "Segment26", "Pose", "Pose26", "OBB", "OBB26", "Classify"),
    }
)

_WIDE_ARGUMENTS = {"RepNCSPELAN4": 3, "ELAN1": 3, "HGStem": 2, "HGBlock": 2, "ResNetLayer": 2, "SPPELAN": 2}
"""How many leading arguments count channels; one for all other layers, and three for heads. What follows are kernels,
strides, groups and repeats."""
_RENAMED = {"Silence": "nn.Identity"}
"""YOLOv9 files before 8.3; DetectionModel renames it itself, but only in the first row"""
_ARGUMENT_TEXTS = frozenset({"nc", "kpt_shape", "nearest", "bilinear", "None", "True", "False"})
_ACTIVATION = re.compile(
    r"(torch\.)?nn\.(SiLU|ReLU|ReLU6|LeakyReLU|Hardswish|GELU|Mish|ELU|Identity)"
    r"\(((inplace=)?(True|False)|(negative_slope=|alpha=)?[0-9]{1,3}(\.[0-9]{1,6})?)?\)"
)
_KEPT = frozenset({"nc", "depth_multiple", "width_multiple", "scale", "scales", "activation", "reg_max", "end2end"})
_CLASSES = 10_000
_IMAGE_CHANNELS = 8
_ROWS = 200
_REPEATS = 100
_LAYERS = 1_000
_CHANNELS = 8_192
_REG_MAX = 64
_SMALL_ARGUMENT = 31
_PARAMETERS = 4e9
"""of the bound of `_check_size`. The largest stock network, rtdetr-x, has 2.1e9 of it (measured over all scales of the
model yamls of ultralytics 8.4.190)."""


def checked_model_yaml(model_yaml: dict[str, Any]) -> dict[str, JsonValue]:
    """A copy of `model_yaml` that is safe to give to the ultralytics model classes for detect, segment, pose, obb and
    classify.

    Kept are nc, depth_multiple, width_multiple, scale, scales (the one in use), activation, reg_max, end2end, channels
    (or ch, as channels), kpt_shape, backbone and head. Other keys (`yaml_file`, `names`, `anchors`, `text_model`, what
    a user added) are dropped: `parse_model` reads none of them. Raises CheckpointError model_yaml_refused, with the row
    in the detail.
    """
    if not isinstance(model_yaml, dict):
        raise _refused("it is not a dict")
    checked: dict[str, Any] = {"nc": _integer(model_yaml.get("nc"), "nc", 1, _CLASSES)}
    checked.update(_scaling(model_yaml))
    checked.update(_options(model_yaml))
    backbone = _rows(model_yaml, "backbone", 0)
    head = _rows(model_yaml, "head", len(backbone))
    rows = backbone + head
    if rows[-1][2] not in HEADS or any(row[2] in HEADS for row in rows[:-1]):
        raise _refused("its last row, and no other, has to be a head")
    checked["backbone"], checked["head"] = backbone, head
    _check_size(rows, checked)
    return checked


def _scaling(model_yaml: dict[str, Any]) -> dict[str, JsonValue]:
    checked: dict[str, JsonValue] = {}
    for key in ("depth_multiple", "width_multiple"):
        if key in model_yaml:
            checked[key] = _factor(model_yaml[key], key)
    scales, scale = model_yaml.get("scales"), model_yaml.get("scale")
    if not scales:
        return checked
    if not isinstance(scales, dict) or not all(isinstance(name, str) for name in scales):
        raise _refused("scales is not a dict of scales")
    name = scale or next(iter(scales))
    row = scales.get(name) if isinstance(name, str) and re.fullmatch(r"[a-z]{1,2}", name) else None
    if not isinstance(row, (list, tuple)) or len(row) != 3:
        raise _refused("its scale is none of its scales")
    limits: list[JsonValue] = [_factor(row[0], "scales"), _factor(row[1], "scales")]
    checked["scales"] = {name: [*limits, _integer(row[2], "scales", 1, _CHANNELS)]}
    checked["scale"] = name
    return checked


def _options(model_yaml: dict[str, Any]) -> dict[str, JsonValue]:
    checked: dict[str, JsonValue] = {}
    if model_yaml.get("activation") is not None:
        activation = model_yaml["activation"]
        if not isinstance(activation, str) or not _ACTIVATION.fullmatch(activation):
            raise _refused("its activation is not a plain layer of torch.nn")
        checked["activation"] = activation
    if model_yaml.get("reg_max") is not None:
        checked["reg_max"] = _integer(model_yaml["reg_max"], "reg_max", 1, _REG_MAX)
    if model_yaml.get("end2end") is not None:
        if not isinstance(model_yaml["end2end"], bool):
            raise _refused("end2end is neither true nor false")
        checked["end2end"] = model_yaml["end2end"]
    channels = model_yaml.get("channels", model_yaml.get("ch"))
    if channels is not None:
        checked["channels"] = _integer(channels, "channels", 1, _IMAGE_CHANNELS)
    if model_yaml.get("kpt_shape") is not None:
        shape = model_yaml["kpt_shape"]
        if not isinstance(shape, (list, tuple)) or len(shape) != 2:
            raise _refused("kpt_shape is not [points, dimensions]")
        checked["kpt_shape"] = [_integer(shape[0], "kpt_shape", 1, 1000), _integer(shape[1], "kpt_shape", 2, 3)]
    return checked


def _rows(model_yaml: dict[str, Any], part: str, first: int) -> list[list[Any]]:
    rows = model_yaml.get(part)
    if not isinstance(rows, (list, tuple)) or not 0 < len(rows) <= _ROWS:
        raise _refused(f"{part} is not a list of 1 to {_ROWS} rows")
    return [_row(row, f"{part}[{number}]", first + number) for number, row in enumerate(rows)]


def _row(row: Any, place: str, index: int) -> list[Any]:
    if not isinstance(row, (list, tuple)) or len(row) != 4:
        raise _refused(f"{place} is not [from, number, module, arguments]")
    source, number, module, arguments = row
    if not isinstance(module, str):
        raise _refused(f"{place} names no module")
    module = _RENAMED.get(module, module)
    if module not in LAYERS | HEADS:
        raise _refused(f"{place} names an unknown module, {module[:60]!a}")
    if not isinstance(arguments, (list, tuple)) or len(arguments) > 12:
        raise _refused(f"the arguments of {place} are no list")
    return [
        _source(source, place, index),
        _integer(number, place, 1, _REPEATS),
        module,
        [
            _argument(argument, place, _CHANNELS if position < _wide_arguments(module) else _SMALL_ARGUMENT)
            for position, argument in enumerate(arguments)
        ],
    ]


def _wide_arguments(module: str) -> int:
    return 3 if module in HEADS else _WIDE_ARGUMENTS.get(module, 1)


def _source(source: Any, place: str, index: int) -> int | list[int]:
    """A row's inputs: rows before it, counted from the first or back from itself."""
    if isinstance(source, (list, tuple)):
        if not 0 < len(source) <= 16:
            raise _refused(f"{place} has no input")
        return [_one_source(item, place, index) for item in source]
    return _one_source(source, place, index)


def _one_source(source: Any, place: str, index: int) -> int:
    return _integer(source, place, -max(index, 1), max(index - 1, -1))


def _argument(argument: Any, place: str, most: int) -> JsonValue:
    if argument is None or isinstance(argument, bool):
        return argument
    if isinstance(argument, int):
        return _integer(argument, place, -1, most)
    if isinstance(argument, float):
        return _factor(argument, place)
    if isinstance(argument, str) and argument in _ARGUMENT_TEXTS:
        return argument
    if isinstance(argument, (list, tuple)) and len(argument) <= 16:
        return [_integer(item, place, 0, _CHANNELS) for item in argument]
    raise _refused(f"{place} has an argument that no layer takes")


def _check_size(rows: list[list[Any]], checked: dict[str, Any]) -> None:
    """Refuses networks that no machine holds, by a rough bound of their parameters.

    Each row counts as a convolution from the widest row so far to its own width, with the largest of its small
    arguments as kernel, once for each repeat. Real blocks have less, since most of them are narrower inside.
    """
    depth, width = _multiples(checked)
    widest = float(_IMAGE_CHANNELS)
    layers = 0
    parameters = 0.0
    for _source, number, module, arguments in rows:
        repeats = max(round(number * depth), 1) if number > 1 else number
        channels = _numbers(arguments[: _wide_arguments(module)])
        kernel = max(_numbers([item for item in arguments[_wide_arguments(module) :] if type(item) is int]), default=3)
        wide = max([*channels, 32]) * max(width, 1.0)
        layers += repeats
        parameters += repeats * widest * wide * max(kernel, 3) ** 2
        widest = max(widest, wide)
    if layers > _LAYERS or parameters > _PARAMETERS:
        raise _refused("the network it describes is absurdly large")


def _multiples(checked: dict[str, Any]) -> tuple[float, float]:
    """Depth and width multiple, as `parse_model` finds them."""
    scales = checked.get("scales")
    if scales:
        depth, width, _most = scales[checked["scale"]]
        return depth, width
    return checked.get("depth_multiple", 1.0), checked.get("width_multiple", 1.0)


def _numbers(arguments: list[Any]) -> list[int]:
    flat = [item for argument in arguments for item in (argument if isinstance(argument, list) else [argument])]
    return [item for item in flat if type(item) is int]


def _integer(value: Any, place: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise _refused(f"{place} needs an integer from {least} to {most}")
    return value


def _factor(value: Any, place: str) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 10:
        raise _refused(f"{place} needs a number from 0 to 10")
    return value


def _refused(why: str) -> CheckpointError:
    return CheckpointError(f"The checkpoint's model yaml is refused: {why}.", code="model_yaml_refused")
