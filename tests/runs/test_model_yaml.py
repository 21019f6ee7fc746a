"""Model yamls: all stock ones pass unchanged where it matters, and nothing else gets to a constructor."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from runaudit.errors import CheckpointError
from runaudit.runs.model_yaml import HEADS, LAYERS, checked_model_yaml

GOOD: dict[str, Any] = {
    "nc": 3,
    "depth_multiple": 0.33,
    "width_multiple": 0.25,
    "ch": 3,
    "yaml_file": "/etc/passwd",
    "backbone": [[-1, 1, "Conv", [64, 3, 2]], [-1, 3, "C2f", [128, True]], [-1, 1, "SPPF", [1024, 5]]],
    "head": [
        [-1, 1, "nn.Upsample", ["None", 2, "nearest"]],
        [[-1, 1], 1, "Concat", [1]],
        [[1, 2, 4], 1, "Detect", ["nc"]],
    ],
}

STOCK = Path(pytest.importorskip("ultralytics").__file__).parent / "cfg" / "models"
NOT_REBUILT = (
    "TorchVision",
    "YOLOEDetect",
    "YOLOESegment",
    "YOLOESegment26",
    "WorldDetect",
    "SemanticSegment",
    "Depth",
)


def _scaled() -> list[tuple[str, dict[str, Any]]]:
    cases = []
    for path in sorted(STOCK.rglob("*.yaml")):
        text = path.read_text()
        if any(f"{name}, [" in text for name in NOT_REBUILT):
            continue
        description = yaml.safe_load(text)
        for scale in description.get("scales") or [None]:
            cases.append((f"{path.stem}-{scale}", {**description, **({"scale": scale} if scale else {})}))
    return cases


@pytest.mark.parametrize(("name", "description"), _scaled(), ids=lambda value: value if isinstance(value, str) else "")
def test_stock_yaml_passes(name: str, description: dict[str, Any]) -> None:
    checked = checked_model_yaml(description)
    assert checked["backbone"] == description["backbone"] or name.startswith("yolov9")
    assert checked["head"] == description["head"]
    assert checked["nc"] == description["nc"] and checked.get("end2end") == description.get("end2end")
    if "scale" in description:
        assert checked["scales"] == {description["scale"]: list(description["scales"][description["scale"]])}


def test_there_are_many_stock_yamls() -> None:
    assert len(_scaled()) > 100


def test_layers_exist_in_the_installed_package() -> None:
    """Every name that passes is one that `parse_model` finds, and a plain module class."""
    torch = pytest.importorskip("torch")
    tasks = pytest.importorskip("ultralytics.nn.tasks")
    for name in LAYERS | HEADS:
        found = getattr(torch.nn, name[3:]) if name.startswith("nn.") else getattr(tasks, name)
        assert issubclass(found, torch.nn.Module)


def test_unknown_keys_are_dropped_and_the_input_left_alone() -> None:
    before = copy.deepcopy(GOOD)
    checked = checked_model_yaml(GOOD)
    assert before == GOOD
    assert set(checked) == {"nc", "depth_multiple", "width_multiple", "channels", "backbone", "head"}
    checked["backbone"][0][3][0] = 1  # type: ignore[index,call-overload]
    assert before == GOOD


def _with(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **changes}


def _row(row: Any) -> dict[str, Any]:
    changed = copy.deepcopy(GOOD)
    changed["backbone"][1] = row
    return changed


REFUSED: dict[str, Any] = {
    "not a dict": [],
    "empty": {},
    "activation that runs code": _with(activation="__import__('os').system('touch x')"),
    "activation with a call inside": _with(activation="nn.SiLU(__import__('os'))"),
    "activation behind a semicolon": _with(activation="nn.SiLU(); x"),
    "activation with a line break": _with(activation="nn.SiLU()\n"),
    "activation of another module": _with(activation="nn.Linear(200000,200000)"),
    "activation that is no text": _with(activation=["nn.SiLU()"]),
    "nc negative": _with(nc=-1),
    "nc huge": _with(nc=10**12),
    "nc true": _with(nc=True),
    "nc text": _with(nc="80"),
    "nc missing": {key: value for key, value in GOOD.items() if key != "nc"},
    "depth huge": _with(depth_multiple=1e9),
    "depth negative": _with(depth_multiple=-1.0),
    "width NaN": _with(width_multiple=float("nan")),
    "width infinite": _with(width_multiple=float("inf")),
    "channels": _with(ch=1000),
    "reg_max": _with(reg_max=10_000),
    "end2end": _with(end2end="yes"),
    "scales of no dict": _with(scales=[1]),
    "scale that is not there": _with(scales={"n": [1, 1, 1024]}, scale="x"),
    "scale with a dunder": _with(scales={"__class__": [1, 1, 1024]}, scale="__class__"),
    "scale row too short": _with(scales={"n": [1, 1]}, scale="n"),
    "no backbone": _with(backbone=[]),
    "backbone of text": _with(backbone="Conv"),
    "backbone far too long": _with(backbone=[[-1, 1, "Conv", [8, 1, 1]]] * 201),
    "no head": _with(head=[[-1, 1, "Conv", [8, 1, 1]]]),
    "two heads": _with(head=[[[1], 1, "Detect", ["nc"]], [[1], 1, "Detect", ["nc"]]]),
    "row that is no row": _row("Conv"),
    "row of three": _row([-1, 1, "Conv"]),
    "module unknown": _row([-1, 1, "Evil", []]),
    "module with a dunder": _row([-1, 1, "nn.Module.__init_subclass__", []]),
    "module of torchvision": _row([-1, 1, "torchvision.ops.misc.Conv2dNormActivation", [3]]),
    "module that downloads": _row([-1, 1, "TorchVision", [512, "resnet18", "DEFAULT", True, 2]]),
    "module that is a function": _row([-1, 1, "torch_safe_load", ["x"]]),
    "module of torch that is huge": _row([-1, 1, "nn.Linear", [200_000, 200_000]]),
    "module that is no text": _row([-1, 1, ["Conv"], [64]]),
    "repeats huge": _row([-1, 10**9, "C2f", [128]]),
    "repeats zero": _row([-1, 0, "C2f", [128]]),
    "repeats true": _row([-1, True, "C2f", [128]]),
    "source in front": _row([5, 1, "Conv", [64, 3, 2]]),
    "source far back": _row([-3, 1, "Conv", [64, 3, 2]]),
    "source text": _row(["-1", 1, "Conv", [64, 3, 2]]),
    "source empty": _row([[], 1, "Concat", [1]]),
    "arguments text": _row([-1, 1, "Conv", "64"]),
    "argument that names a local variable": _row([-1, 1, "Conv", ["d", 3, 2]]),
    "argument that is code": _row([-1, 1, "Conv", ["__import__('os')", 3, 2]]),
    "argument dict": _row([-1, 1, "Conv", [{"a": 1}]]),
    "argument nested": _row([-1, 1, "Conv", [[[64]]]]),
    "channels huge": _row([-1, 1, "Conv", [10**6, 3, 2]]),
    "kernel huge": _row([-1, 1, "Conv", [64, 4096, 2]]),
    "layers as a whole too many": _with(backbone=[[-1, 100, "C2f", [8]]] * 30, depth_multiple=1.0),
    "parameters as a whole too many": _with(backbone=[[-1, 1, "Conv", [8192, 31, 1]]] * 3),
    "kpt_shape": _with(kpt_shape=[10**6, 3]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        checked_model_yaml(REFUSED[name])
    assert caught.value.error_code == "model_yaml_refused"


@pytest.mark.parametrize(
    "activation", ["nn.SiLU()", "torch.nn.LeakyReLU(0.1)", "nn.ReLU(inplace=True)", "nn.Hardswish()"]
)
def test_plain_activations_pass(activation: str) -> None:
    assert checked_model_yaml(_with(activation=activation))["activation"] == activation
