"""YOLOv5's checkpoints, pickled here as its trainer writes them, read, rebuilt, run and validated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from runaudit.errors import CheckpointError
from runaudit.evaluation.evaluate import Measured, measure
from runaudit.evaluation.network import Network, rebuild
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.facts import CheckpointFacts
from tests.evaluation.jobs import Picture, run_of, write_data
from tests.evaluation.legacy import STRIDES, DetectionModel, decoded, write_checkpoint

CPU = torch.device("cpu")
GENERATIONS = ("current", "old")


def read(model: DetectionModel, folder: Path, **options: Any) -> tuple[CheckpointFacts, Path]:
    """The checkpoint's facts, and the path of its tensors; the model keeps the rounding to half precision."""
    weights = folder / "weights.safetensors"
    path = write_checkpoint(model, folder / "best.pt", **options)
    return read_checkpoint(path, source="weights/best.pt", weights_out=weights), weights


def rebuilt(model: DetectionModel, folder: Path, **options: Any) -> Network:
    """The network rebuilt from the model's checkpoint."""
    facts, weights = read(model, folder, **options)
    assert facts.problem is None
    return rebuild(facts, weights, CPU)


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_output_is_that_of_the_pickled_network(tmp_path: Path, generation: str, classes: int) -> None:
    """Layers of both generations, their activations, 1 x 1 bottlenecks, half precision, and the decoding."""
    model = DetectionModel(generation, classes)
    network = rebuilt(model, tmp_path)
    images = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        found = network.module(images)
        maps = model(images)
    for image in range(2):
        alone = [level[image : image + 1] for level in maps]
        expected = decoded(alone, model.model[-1].anchors, STRIDES, classes)
        np.testing.assert_allclose(found[image].T.numpy(), expected, rtol=1e-3, atol=1e-3)
    assert (network.classes, network.channels, network.stride, network.two_heads) == (classes, 3, 32, False)
    assert network.protocol.name == "yolov5"
    assert not any(
        isinstance(part, torch.nn.BatchNorm2d) for name, part in network.module.named_modules() if ".cv" in name
    )


@pytest.mark.parametrize("model_class", ["Model", "DetectionModel"])
def test_facts_of_the_checkpoint(tmp_path: Path, model_class: str) -> None:
    facts, _ = read(DetectionModel("current"), tmp_path, model_class=model_class)
    assert (facts.framework, facts.model_class, facts.task) == ("yolov5", f"models.yolo.{model_class}", "detect")
    assert facts.stride == STRIDES
    assert facts.names == {0: "kind 0", 1: "kind 1", 2: "kind 2"}
    assert set(facts.activations.values()) == {"SiLU"}
    assert rebuild(facts, tmp_path / "weights.safetensors", CPU).classes == 3


def test_anchors_are_those_of_the_tensors(tmp_path: Path) -> None:
    """Autoanchor replaces them; the description keeps what it was written with."""
    model = DetectionModel("current")
    model.model[-1].anchors.mul_(2)
    plain = rebuilt(DetectionModel("current"), tmp_path).module(torch.zeros(1, 3, 64, 64))
    doubled = rebuilt(model, tmp_path).module(torch.zeros(1, 3, 64, 64))
    assert torch.allclose(doubled[:, 2:4], 2 * plain[:, 2:4], rtol=1e-3)
    assert torch.equal(doubled[:, 4:], plain[:, 4:])


def test_strides_that_the_layers_don_t_have_are_refused(tmp_path: Path) -> None:
    model = DetectionModel("current")
    model.stride = torch.tensor([8.0, 4096.0])
    assert "strides" in refused(model, tmp_path, "architecture_unsupported")


def test_a_checkpoint_that_tells_no_strides(tmp_path: Path) -> None:
    """They are measured."""
    model = DetectionModel("current")
    with_strides = rebuilt(model, tmp_path).module(torch.zeros(1, 3, 64, 64))
    del model.stride
    assert torch.equal(rebuilt(model, tmp_path).module(torch.zeros(1, 3, 64, 64)), with_strides)


def refused(model: DetectionModel, folder: Path, code: str, **changes: Any) -> str:
    """Why the rebuild refuses the model's checkpoint."""
    facts, weights = read(model, folder)
    assert facts.problem is None
    with pytest.raises(CheckpointError) as raised:
        rebuild(facts.model_copy(update=changes), weights, CPU)
    assert raised.value.error_code == code
    return raised.value.detail


@pytest.mark.parametrize("layer", ["nn.Conv2d", "CrossConv", "C3SPP", "Contract", "Expand"])
def test_layers_that_the_installed_package_has_not(tmp_path: Path, layer: str) -> None:
    model = DetectionModel("current")
    model.yaml["head"][2][2] = layer
    assert layer in refused(model, tmp_path, "architecture_unsupported")


def test_layers_that_nobody_knows(tmp_path: Path) -> None:
    model = DetectionModel("current")
    model.yaml["head"][2][2] = "os.system"
    refused(model, tmp_path, "model_yaml_refused")


@pytest.mark.parametrize("head", ["Segment", "Classify"])
def test_heads_of_other_tasks(tmp_path: Path, head: str) -> None:
    model = DetectionModel("current")
    model.yaml["head"][-1][2] = head
    assert "detection head" in refused(model, tmp_path, "architecture_unsupported")


@pytest.mark.parametrize("damage", [{"head": []}, {"head": None}, {"backbone": [7]}, {"head": [["Detect"]]}])
def test_descriptions_that_are_none(tmp_path: Path, damage: dict[str, Any]) -> None:
    model = DetectionModel("current")
    model.yaml |= damage
    refused(model, tmp_path, "architecture_unsupported")


def test_other_frameworks_with_yolov5_s_names(tmp_path: Path) -> None:
    """YOLOv7 and YOLOv9 call their models the same; their heads are others."""
    refused(DetectionModel("current"), tmp_path, "architecture_unsupported", framework="yolov9")
    refused(DetectionModel("current"), tmp_path, "architecture_unsupported", framework=None)


def test_weights_without_anchors(tmp_path: Path) -> None:
    facts, weights = read(DetectionModel("current"), tmp_path)
    tensors = load_file(weights)
    for damage in (None, torch.ones(2, 3), torch.ones(3, 3, 2)):
        tensors.pop("model.10.anchors", None)
        if damage is not None:
            tensors["model.10.anchors"] = damage
        save_file(tensors, weights)
        with pytest.raises(CheckpointError) as raised:
            rebuild(facts, weights, CPU)
        assert raised.value.error_code == "weights_mismatch"


def test_a_head_of_another_number_of_anchors_does_not_fit(tmp_path: Path) -> None:
    model = DetectionModel("current")
    model.model[-1].anchors = torch.ones(2, 4, 2)
    assert "of another shape" in refused(model, tmp_path, "weights_mismatch")


def test_activations_of_unknown_classes_are_refused(tmp_path: Path) -> None:
    facts, weights = read(DetectionModel("current"), tmp_path)
    known = facts.model_copy(update={"activations": facts.activations | {"model.0.act": "models.common.FReLU"}})
    with pytest.raises(CheckpointError) as raised:
        rebuild(known, weights, CPU)
    assert raised.value.error_code == "architecture_unsupported"
    assert "models.common.FReLU" in raised.value.detail


IMAGE = (100, 60)
"""width and height; its shorter side becomes 39 pixels, its margin 12.5"""


def own_detections(model: DetectionModel, image: Path, most: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Label rows and scores of the `most` surest boxes that the model sees inside the image, found the slow way.

    Written from YOLOv5's rules: shrunk by areas to a width of 64, pasted 16 and 12 pixels into a batch of 64 x 96,
    boxes suppressed one by one at an IoU of 0.6, and brought back by margins of 16 and 12.5.
    """
    pixels = cv2.resize(cv2.imread(str(image)), (64, 39), interpolation=cv2.INTER_AREA)
    batch = np.full((64, 96, 3), 114, dtype=np.uint8)
    batch[12:51, 16:80] = pixels[..., ::-1]
    with torch.inference_mode():
        maps = model(torch.from_numpy(batch).permute(2, 0, 1)[None].float() / 255)
    rows = decoded(maps, model.model[-1].anchors, STRIDES, 1)
    corners = np.hstack([rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2])
    kept: list[int] = []
    for number in np.argsort(-rows[:, 4]):
        if all(overlap(corners[number], corners[other]) <= 0.6 for other in kept):
            kept.append(int(number))
    boxes = (corners[kept] - (16, 12.5, 16, 12.5)) / (64, 39, 64, 39)
    inside = np.flatnonzero(((boxes > 0) & (boxes < 1)).all(axis=1))[:most]
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    return np.hstack([np.zeros((len(boxes), 1)), centre, size])[inside], rows[kept, 4][inside]


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """IoU of two boxes."""
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    return both / float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - both)


def validated(folder: Path, generation: str, labels: int) -> tuple[Measured, NDArray[np.float64]]:
    """A checkpoint of one class, read, rebuilt and validated on what it sees itself, and the scores of that."""
    model = DetectionModel(generation, 1, seed=3)
    facts, weights = read(model, folder)
    rng = np.random.default_rng(1)
    image = folder / "a.png"
    cv2.imwrite(str(image), cv2.resize(rng.integers(0, 256, (12, 20, 3), dtype=np.uint8), IMAGE))
    rows, scores = own_detections(model, image, labels)
    index, arrays = write_data(folder, [Picture("a.png", [tuple(row) for row in rows])])
    run = run_of(facts, imgsz=64).model_copy(update={"framework": "yolov5"})
    return measure(run, weights=weights, index=index, labels=arrays, device="cpu", replicates=20), scores


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_network_finds_what_it_sees_itself(tmp_path: Path, generation: str) -> None:
    """Reader, rebuild, resizing, margins, NMS and matching agree with the same by hand, in place and score."""
    measured, scores = validated(tmp_path, generation, 8)
    matches = measured.matches
    # At lesser thresholds a surer box beside it may take a label; at an IoU of 0.95 only the same box does.
    found = matches.tp[:, -1]
    assert (measured.facts.images, measured.facts.instances) == (1, 8)
    assert (np.diff(scores) < -1e-5).all(), "the scores are too alike to be told apart"
    assert matches.det_conf[found] == pytest.approx(scores, rel=1e-3)
    # Both axes of a label are brought back by the scale of the height, of which detections in the facts know nothing.
    assert matches.det_box[found] == pytest.approx(matches.gt_box, abs=0.05)
    assert measured.facts.metrics.map50_95 > 0


def test_settings_state_the_protocol_of_yolov5(tmp_path: Path) -> None:
    settings = validated(tmp_path, "current", 2)[0].facts.settings
    expected = {
        **{"protocol": "yolov5", "imgsz": 64, "batch": 32, "rect": True, "pad": 0.5, "conf": 0.001, "iou": 0.6},
        **{"max_det": 300, "max_det_raised": False, "shrinking": "area", "matching": "best_label"},
        **{"matched_in": "image", "nms_time_limit": None, "half": False, "sides_capped": False, "box_margins": "half"},
    }
    assert {key: settings[key] for key in expected} == expected
    assert "ramp" in str(settings["average_precision"])


def test_the_limit_of_detections_stays(tmp_path: Path) -> None:
    """Unlike ultralytics', whatever the fullest image holds."""
    facts, weights = read(DetectionModel("current", 1), tmp_path)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 100, 3), np.uint8))
    rows = [(0, 0.5, 0.5, 0.1 + number / 1000, 0.2) for number in range(301)]
    index, labels = write_data(tmp_path, [Picture("a.png", rows)])
    measured = measure(run_of(facts, imgsz=64), weights=weights, index=index, labels=labels, device="cpu", replicates=5)
    assert (measured.facts.settings["max_det"], measured.facts.settings["max_det_raised"]) == (300, False)
