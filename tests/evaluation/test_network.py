"""Rebuilding networks from description and tensors, and refusing what does not fit or is not known."""

from __future__ import annotations

import os
import subprocess
import sys
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from runaudit.errors import CheckpointError
from runaudit.evaluation.framework import framework
from runaudit.evaluation.network import rebuild
from tests.evaluation.jobs import checkpoint_of, narrow_description, network_with_random_weights, write_weights

CPU = torch.device("cpu")


def yolov10_description() -> dict[str, Any]:
    """A network with the two-headed detection layer of YOLOv10."""
    description = narrow_description()
    description["head"][-1][2] = "v10Detect"
    return description


FAMILIES = {
    "yolov8": narrow_description("yolov8"),
    "yolo11": narrow_description("yolo11"),
    "yolo26": narrow_description("yolo26"),
    "yolov10": yolov10_description(),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_output_is_that_of_the_framework_s_own_backend(tmp_path: Path, family: str) -> None:
    """To the bit: the same network, given whole to what `yolo val` runs models with."""
    original = network_with_random_weights(deepcopy(FAMILIES[family]))
    weights = write_weights(original, tmp_path / "weights.safetensors")
    network = rebuild(checkpoint_of(FAMILIES[family]), weights, CPU)
    backend = import_module("ultralytics.nn.autobackend").AutoBackend(
        model=deepcopy(original), device=CPU, end2end=False, verbose=False
    )
    images = torch.rand(2, 3, 96, 160)
    with torch.inference_mode():
        ours, theirs = network.module(images)[0], backend(images)[0]
    assert ours.shape == (2, 8, 12 * 20 + 6 * 10)
    assert torch.equal(ours, theirs)
    assert network.stride == backend.stride
    assert (network.channels, network.classes) == (3, 4)
    assert network.two_heads == (family in ("yolo26", "yolov10"))


def test_ready_for_inference(tmp_path: Path) -> None:
    """Float32 from half precision, fused, and with nothing left to train."""
    original = network_with_random_weights(narrow_description()).half()
    weights = write_weights(original, tmp_path / "weights.safetensors")
    module = rebuild(checkpoint_of(narrow_description()), weights, CPU).module
    assert not module.training
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in module.parameters())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in module.modules())


def test_the_description_is_left_as_it_was(tmp_path: Path) -> None:
    description = narrow_description()
    weights = write_weights(network_with_random_weights(narrow_description()), tmp_path / "weights.safetensors")
    rebuild(checkpoint_of(description), weights, CPU)
    assert description == narrow_description()


def refused(tmp_path: Path, code: str, **changes: Any) -> CheckpointError:
    """The error for a good checkpoint with `changes`."""
    weights = tmp_path / "weights.safetensors"
    if not weights.exists():
        write_weights(network_with_random_weights(narrow_description()), weights)
    with pytest.raises(CheckpointError) as raised:
        rebuild(checkpoint_of(narrow_description(), **changes), weights, CPU)
    assert raised.value.error_code == code
    assert raised.value.place == "weights/best.pt"
    return raised.value


def test_missing_surplus_and_misshapen_tensors_are_named(tmp_path: Path) -> None:
    weights = write_weights(network_with_random_weights(narrow_description()), tmp_path / "weights.safetensors")
    tensors = load_file(weights)
    tensors["model.99.conv.weight"] = tensors.pop("model.0.conv.weight")
    tensors["model.1.conv.weight"] = torch.zeros(1)
    save_file(tensors, weights)
    detail = refused(tmp_path, "weights_mismatch").detail
    assert "1 tensors missing (model.0.conv.weight)" in detail
    assert "1 tensors not part of the network (model.99.conv.weight)" in detail
    assert "1 tensors of another shape (model.1.conv.weight)" in detail


def test_a_network_with_other_classes_does_not_take_the_weights(tmp_path: Path) -> None:
    refused(tmp_path, "weights_mismatch", model_yaml=narrow_description() | {"nc": 7})


def test_tensors_that_can_t_be_read(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"damaged")
    refused(tmp_path, "weights_mismatch")


@pytest.mark.parametrize(
    "model_class", [None, "ultralytics.nn.tasks.SegmentationModel", "models.yolo.DetectionModel", "posix.system"]
)
def test_other_classes_of_models_are_not_built(tmp_path: Path, model_class: str | None) -> None:
    refused(tmp_path, "architecture_unsupported", model_class=model_class)


def test_a_checkpoint_without_description(tmp_path: Path) -> None:
    refused(tmp_path, "architecture_unsupported", model_yaml=None)


def test_other_numbers_of_channels(tmp_path: Path) -> None:
    assert (
        "5 channels"
        in refused(tmp_path, "architecture_unsupported", model_yaml=narrow_description() | {"channels": 5}).detail
    )


def test_a_description_that_can_t_be_built(tmp_path: Path) -> None:
    """Plain and of known layers, but it joins planes of different sizes."""
    description = narrow_description()
    description["head"][1][0] = [-1, 2]
    refused(tmp_path, "architecture_unsupported", model_yaml=description)


def test_code_in_an_activation_is_not_run(tmp_path: Path) -> None:
    """The framework evaluates `activation:` unless told otherwise (research page security.md, A3)."""
    traitor = f"open({str(tmp_path / 'written')!r}, 'w') and nn.SiLU()"
    weights = write_weights(network_with_random_weights(narrow_description()), tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError):
        rebuild(checkpoint_of(narrow_description() | {"activation": traitor}), weights, CPU)
    with pytest.raises(TypeError):
        framework().nn.tasks.DetectionModel(cfg=narrow_description() | {"activation": traitor}, verbose=False)
    assert not (tmp_path / "written").exists()


def test_the_framework_writes_nothing_into_the_home(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("YOLO_", "ULTRALYTICS_", "XDG_"))}
    subprocess.run(
        [sys.executable, "-c", "from runaudit.evaluation.framework import framework; framework()"],
        env=kept | {"HOME": str(home), "TMPDIR": str(temporary)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert not list(home.rglob("*ltralytics*"))
