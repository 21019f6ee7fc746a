"""Networks for masks, keypoints and rotated boxes that nobody trained, and images whose labels are what they predict.

Labels are taken from a network's own detections: so a network of random weights has true positives at all thresholds,
and nothing has to be trained. The images are noise around blobs of colour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from runaudit.evaluation.framework import framework
from runaudit.runs.facts import Task
from tests.evaluation.jobs import narrow_description

CLASSES = 2
KEYPOINTS = {"yolo11": [5, 3], "yolov8": [4, 2], "yolo26": [17, 3]}
"""by family; 17 of 3 values are COCO's, with scales of their own"""
HEADS: dict[Task, str] = {"segment": "Segment", "pose": "Pose", "obb": "OBB"}
MODELS: dict[Task, str] = {"segment": "SegmentationModel", "pose": "PoseModel", "obb": "OBBModel"}
IMGSZ = 96
MOST_LABELS = 8


def description_of(task: Task, family: str) -> dict[str, Any]:
    """The narrow network with the task's head, of YOLO26 its own."""
    description = narrow_description(family) | {"nc": CLASSES}
    arguments = {"segment": ["nc", 32, 64], "pose": ["nc", "kpt_shape"], "obb": ["nc", 1]}[task]
    head = description["head"][-1]
    head[2], head[3] = HEADS[task] + ("26" if family == "yolo26" else ""), arguments
    if task == "pose":
        description["kpt_shape"] = KEYPOINTS[family]
    return description


def write_checkpoint(task: Task, family: str, path: Path, *, seed: int = 0) -> Path:
    """A checkpoint of a network of random weights, in the form in which the framework strips one."""
    torch.manual_seed(seed)
    network = getattr(framework().nn.tasks, MODELS[task])(cfg=description_of(task, family), ch=3, verbose=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.4)
            module.weight.data.uniform_(0.7, 1.3)
            module.bias.data.uniform_(-0.2, 0.2)
    if task == "segment":
        # Prototypes above zero, so that masks fill much of their boxes and have an outline.
        network.model[-1].proto.cv3.bn.bias.data += 1
    _spread_out(network.eval())
    network.names = {class_id: f"kind {class_id}" for class_id in range(CLASSES)}
    network.args = {"task": task, "imgsz": IMGSZ}
    network.task = task
    torch.save(
        {
            "epoch": -1,
            "best_fitness": None,
            "model": network.half().eval(),
            "ema": None,
            "updates": None,
            "optimizer": None,
            "train_args": {"task": task, "imgsz": IMGSZ, "data": "data.yaml", "model": "narrow.yaml"},
            "date": "2026-11-24T00:00:00",
            "version": "8.4.190",
        },
        path,
    )
    return path


def _spread_out(network: Any) -> None:
    """Give each output of the head a standard deviation of its own over images and places.

    With initial weights an output is nearly the same everywhere. Class scores get a mean logit of -5, box sides one of
    a few strides, everything else 0.
    """
    head = network.model[-1]
    outputs: dict[Any, torch.Tensor] = {}
    last = [
        (name, layer)
        for name, layer in head.named_modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.bias is not None and "cv" in name and "sigma" not in name
    ]
    hooks = [
        layer.register_forward_hook(lambda module, _, output: outputs.update({module: output})) for _, layer in last
    ]
    with torch.inference_mode():
        network(
            torch.from_numpy(np.stack([_picture(np.random.default_rng(seed), IMGSZ, IMGSZ) for seed in range(8)]))
            .permute(0, 3, 1, 2)
            .float()
            / 255
        )
    for hook in hooks:
        hook.remove()
    for name, layer in last:
        found = outputs[layer]
        mean, spread = torch.zeros(len(layer.bias)), 1.0
        if "cv3" in name:
            mean, spread = mean - 5, 2.0
        if "cv2" in name:
            sides = -1.5 * (torch.arange(head.reg_max) - 1.5) ** 2
            mean, spread = (sides.repeat(4), 1.0) if head.reg_max > 1 else (mean + 1.2, 0.3)
        if "cv4" in name and hasattr(head, "proto"):
            mean += 0.3
        scale = spread / found.std(dim=(0, 2, 3)).clone()
        layer.weight.data *= scale[:, None, None, None]
        layer.bias.data = mean + (layer.bias.data - found.mean(dim=(0, 2, 3)).clone()) * scale


def write_data(root: Path, task: Task, family: str, best: Path, *, images: int = 16, seed: int = 0) -> Path:
    """Images of several shapes, and labels from what the network predicts on them; the path of data.yaml.

    Every eighth image has no label file.
    """
    generator = np.random.default_rng(seed)
    folder, labels = root / "images" / "val", root / "labels" / "val"
    folder.mkdir(parents=True)
    labels.mkdir(parents=True)
    for number in range(images):
        size = [(96, 96), (75, 100), (120, 80), (54, 96)][number % 4]
        cv2.imwrite(str(folder / f"{number:03d}.png"), _picture(generator, *size))
    content: dict[str, Any] = {"train": "images/val", "val": "images/val", "names": ["a", "b"]}
    if task == "pose":
        content["kpt_shape"] = KEYPOINTS[family]
        if family == "yolov8":
            content["kpt_oks_sigmas"] = [0.05, 0.1, 0.2, 0.4]
    data = root / "data.yaml"
    data.write_text(yaml.safe_dump(content))
    # The framework's own detections, of images padded as in the validation to come.
    framework().YOLO(best).val(
        data=str(data),
        imgsz=IMGSZ,
        save_txt=True,
        device="cpu",
        plots=False,
        verbose=False,
        project=str(root),
        name="predicted",
    )
    for number in range(images):
        predicted = root / "predicted" / "labels" / f"{number:03d}.txt"
        if number % 8 != 7 and predicted.exists():
            rows = [line.split() for line in predicted.read_text().splitlines()]
            inside = [row for row in rows if _lies_inside(task, np.array(row[1:], dtype=float))]
            moved = [_moved(task, family, row, generator) for row in inside[:: max(1, len(inside) // MOST_LABELS)]]
            (labels / f"{number:03d}.txt").write_text("".join(f"{row}\n" for row in moved))
    (root / "labels" / "val.cache").unlink(missing_ok=True)
    return data


def _lies_inside(task: Task, values: NDArray[np.float64]) -> bool:
    """Whether a predicted row is an object in the image, not cut off at its edge: most are in the margins."""
    if task == "pose":
        low, high = values[:2] - values[2:4] / 2, values[:2] + values[2:4] / 2
        return bool(low.min() > 0.001 and high.max() < 0.999 and values[2:4].min() > 0.02)
    return len(values) >= 6 and bool(values.min() > 0.001 and values.max() < 0.999)


def _moved(task: Task, family: str, row: list[str], generator: np.random.Generator) -> str:
    """A label row out of a predicted one, moved a little; of keypoints, some are not labelled."""
    values = np.array(row[1:], dtype=float)
    moved = np.clip(values + generator.normal(0, 0.012, len(values)), 0, 1)
    if task == "pose" and KEYPOINTS[family][1] == 3:
        moved[6::3] = generator.integers(0, 3, len(moved[6::3]))
    return " ".join([row[0], *(f"{value:.6f}" for value in moved)])


def _picture(generator: np.random.Generator, width: int, height: int) -> NDArray[np.uint8]:
    picture = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
    for _ in range(6):
        centre = (int(generator.integers(width)), int(generator.integers(height)))
        colour = [int(value) for value in generator.integers(0, 256, 3)]
        cv2.circle(picture, centre, int(generator.integers(5, 30)), colour, -1)
    return picture
