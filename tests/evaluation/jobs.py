"""What an evaluation takes, written into a folder: tensors and description of a network, image index, labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import save_file as save_tensors

from runaudit.evaluation.framework import framework
from runaudit.runs.facts import CheckpointFacts, Configuration, ImageEntry, ImageIndex, RunFacts, Split

EXAMPLES = Path(__file__).parents[2] / "examples"
UPRIGHT_BY_EXIF = (1, 6, 8, 3)
"""EXIF orientations that are only turned: as stored, a quarter to the left, to the right, half a turn"""


def narrow_description(family: str = "yolo11") -> dict[str, Any]:
    """A small network's description with 4 classes, alike one of the families in head and blocks."""
    description: dict[str, Any] = yaml.safe_load((EXAMPLES / "narrow.yaml").read_text())
    if family == "yolov8":
        for layer in description["backbone"] + description["head"]:
            if layer[2] == "C3k2":
                layer[2], layer[3] = "C2f", [layer[3][0], True]
    if family == "yolo26":
        description |= {"end2end": True, "reg_max": 1}
    return description


def network_with_random_weights(description: dict[str, Any], seed: int = 0) -> Any:
    """A DetectionModel that no one trained, its normalisation layers shifted so that fusing them matters."""
    torch.manual_seed(seed)
    network = framework().nn.tasks.DetectionModel(cfg=description, ch=3, verbose=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.6, 1.4)
            module.weight.data.uniform_(0.7, 1.3)
            module.bias.data.uniform_(-0.2, 0.2)
    return network.eval()


def checkpoint_of(description: dict[str, Any], **changes: Any) -> CheckpointFacts:
    """Facts of a checkpoint that holds such a network."""
    return CheckpointFacts(
        source="weights/best.pt",
        sha256="0" * 64,
        size=1,
        framework="ultralytics",
        model_class="ultralytics.nn.tasks.DetectionModel",
        model_yaml=description,
        names={class_id: f"kind {class_id}" for class_id in range(description["nc"])},
        task="detect",
    ).model_copy(update=changes)


def run_of(checkpoint: CheckpointFacts | None, **arguments: Any) -> RunFacts:
    """Facts of a finished run with these training arguments."""
    return RunFacts(
        folder="",
        framework="ultralytics",
        task="detect",
        status="finished",
        checkpoint=checkpoint,
        configuration=Configuration(
            sources=("args.yaml",), values=arguments, places=dict.fromkeys(arguments, "args.yaml:1")
        ),
    )


def write_weights(network: Any, path: Path) -> Path:
    """The network's tensors, as the ingest child leaves them."""
    save_tensors({name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}, path)
    return path


@dataclass(frozen=True)
class Picture:
    """An image file below the root and its label rows: class, centre x, centre y, width, height."""

    file: str
    rows: Sequence[tuple[float, ...]] = ()
    split: Split = "val"
    size: tuple[int, int] | None = None
    """(width, height) where the header can't or must not be asked"""


def write_data(root: Path, pictures: Sequence[Picture]) -> tuple[ImageIndex, Path]:
    """The image index, and the path of the labels."""
    entries, image, rows = [], [], []
    for position, picture in enumerate(pictures):
        width, height = picture.size or upright_size(root / picture.file)
        entries.append(ImageEntry(file=picture.file, split=picture.split, width=width, height=height))
        image.extend([position] * len(picture.rows))
        rows.extend(picture.rows)
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    labels = root / "labels.safetensors"
    save_arrays(
        {
            "image": np.array(image, dtype=np.int32),
            "cls": table[:, 0].astype(np.int32),
            "box": np.ascontiguousarray(table[:, 1:]),
        },
        labels,
    )
    return ImageIndex(root=str(root), images=tuple(entries)), labels


def vary_images(folder: Path) -> None:
    """Make a rendered split's images as varied as real ones, without moving what they show.

    Every third is stored turned with an EXIF tag that turns it back, every fifth squeezed to an odd size, every
    seventh grey, every eighth a PNG with alpha.
    """
    for number, path in enumerate(sorted(folder.glob("*.jpg"))):
        picture = Image.open(path).convert("RGB")
        if number % 5 == 1:
            picture = picture.resize((97 + 23 * (number % 7), 230 - 19 * (number % 6)))
        if number % 7 == 2:
            picture = picture.convert("L")
        if number % 8 == 3:
            path.unlink()
            picture.convert("RGBA").save(path.with_suffix(".png"))
            continue
        orientation = UPRIGHT_BY_EXIF[number // 3 % 4] if number % 3 == 0 else 1
        turn = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}
        if orientation in turn:
            picture = picture.transpose(turn[orientation])
        exif = Image.Exif()
        exif[274] = orientation
        picture.save(path, quality=92, exif=exif)


def upright_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image with its EXIF orientation applied."""
    with Image.open(path) as picture:
        width, height = picture.size
        return (height, width) if picture.getexif().get(274, 1) in (5, 6, 7, 8) else (width, height)
