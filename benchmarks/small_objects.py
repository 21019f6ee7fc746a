"""Recall by object size over the finest stride, of a network trained on objects of all sizes: what a cell can see.

    python -m benchmarks.small_objects [--images 400] [--epochs 40]

Renders discs and squares of 2 to 64 pixels (log-uniform side, on smoothed noise) at 256 pixels, trains the example's
narrow network (strides 8 and 16) on them from scratch, and counts which validation objects a detection of confidence
0.25 finds: at IoU 0.5, and on average over IoU 0.5 to 0.95, which also tells how well small boxes can be placed.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 256
SIDES = (2.0, 64.0)
OBJECTS = 10
STRIDE = 8
EDGES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0)
"""of the side over the stride"""
OVERLAPS = np.linspace(0.5, 0.95, 10)
Floats = NDArray[np.float64]


def render(folder: Path, split: str, images: int, seed: int) -> dict[str, Floats]:
    """Write a split; boxes (n, 5) of each file as class, x1, y1, x2, y2 in pixels."""
    rng = np.random.default_rng(seed)
    (folder / "images" / split).mkdir(parents=True)
    (folder / "labels" / split).mkdir(parents=True)
    truth = {}
    for index in range(images):
        picture, boxes = _picture(rng)
        name = f"{index:04d}"
        Image.fromarray(picture).save(folder / "images" / split / f"{name}.png")
        centre = (boxes[:, 1:3] + boxes[:, 3:5]) / 2 / SIZE
        side = (boxes[:, 3:5] - boxes[:, 1:3]) / SIZE
        rows = [
            f"{int(c)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}"
            for c, (x, y), (w, h) in zip(boxes[:, 0], centre, side, strict=True)
        ]
        (folder / "labels" / split / f"{name}.txt").write_text("\n".join(rows) + "\n")
        truth[f"{name}.png"] = boxes
    return truth


def _picture(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Floats]:
    noise = rng.normal(0, 1, (SIZE // 8, SIZE // 8, 3)).repeat(8, 0).repeat(8, 1)
    image = np.clip(0.4 + 0.06 * noise + rng.normal(0, 0.02, (SIZE, SIZE, 3)), 0, 1)
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    boxes: list[tuple[float, ...]] = []
    while len(boxes) < OBJECTS:
        side = math.exp(rng.uniform(math.log(SIDES[0]), math.log(SIDES[1])))
        cx, cy = rng.uniform(side / 2, SIZE - side / 2, 2)
        near = [
            max(abs(cx - (b[1] + b[3]) / 2), abs(cy - (b[2] + b[4]) / 2)) < (side + b[3] - b[1]) / 2 + 3 for b in boxes
        ]
        if any(near):
            continue
        kind = int(rng.integers(2))
        distance = np.hypot(x - cx, y - cy) if kind == 0 else np.maximum(abs(x - cx), abs(y - cy))
        cover = np.clip(side / 2 - distance + 0.5, 0, 1)[..., None]
        colour = rng.uniform(0.7, 1.0, 3) if rng.random() < 0.5 else rng.uniform(0.0, 0.15, 3)
        image = image * (1 - cover) + colour * cover
        boxes.append((kind, cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2))
    return (image * 255).astype(np.uint8), np.asarray(boxes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=40)
    options = parser.parse_args()
    architecture = Path(__file__).parents[1] / "examples" / "narrow.yaml"
    with tempfile.TemporaryDirectory(prefix="runaudit-small-") as scratch:
        folder = Path(scratch).resolve()
        (folder / "settings").mkdir()
        os.environ.update(YOLO_CONFIG_DIR=str(folder / "settings"), YOLO_OFFLINE="true")
        os.chdir(folder)
        render(folder / "data", "train", options.images, seed=1)
        truth = render(folder / "data", "val", options.images // 4, seed=2)
        yaml = folder / "data.yaml"
        yaml.write_text(f"path: {folder}/data\ntrain: images/train\nval: images/val\nnames: [disc, square]\n")
        from ultralytics import YOLO  # noqa: PLC0415 - it reads its environment when it is imported

        settings = {"epochs": options.epochs, "imgsz": SIZE, "batch": 16, "nbs": 16, "optimizer": "AdamW", "lr0": 0.003}
        quiet = {"device": "cpu", "workers": 0, "amp": False, "plots": False, "val": False, "verbose": False}
        network = YOLO(str(architecture))
        network.train(data=str(yaml), save_dir=str(folder / "run"), seed=0, **settings, **quiet)
        network = YOLO(str(folder / "run" / "weights" / "last.pt"))
        found, total = count(network, folder, truth)
    for low, high, hits, number in zip(EDGES[:-1], EDGES[1:], found, total, strict=True):
        recall = hits / max(number, 1)
        print(
            f"side {low:4.2f} to {high:4.2f} strides: recall {recall[0]:.2f} at IoU 0.5, {recall.mean():.2f} over IoU "
            f"0.5 to 0.95, of {number}"
        )


def count(network: object, folder: Path, truth: dict[str, Floats]) -> tuple[Floats, list[int]]:
    """Objects found by side over the stride (bins, IoU thresholds), and how many there are (bins)."""
    found, total = np.zeros((len(EDGES) - 1, len(OVERLAPS))), [0] * (len(EDGES) - 1)
    for name, boxes in truth.items():
        path = str(folder / "data" / "images" / "val" / name)
        result = network.predict(path, imgsz=SIZE, conf=0.25, device="cpu", verbose=False)[0]  # type: ignore[attr-defined]
        detections, classes = result.boxes.xyxy.numpy(), result.boxes.cls.numpy()
        for kind, x1, y1, x2, y2 in boxes:
            index = int(np.searchsorted(EDGES, (x2 - x1) / STRIDE, side="right")) - 1
            if not 0 <= index < len(total):
                continue
            total[index] += 1
            across = np.minimum(detections[:, 2], x2) - np.maximum(detections[:, 0], x1)
            along = np.minimum(detections[:, 3], y2) - np.maximum(detections[:, 1], y1)
            shared = across.clip(0) * along.clip(0)
            area = (detections[:, 2] - detections[:, 0]) * (detections[:, 3] - detections[:, 1])
            overlap = shared / (area + (x2 - x1) * (y2 - y1) - shared)
            best = float(overlap[classes == kind].max(initial=0.0))
            found[index] += best >= OVERLAPS
    return found, total


if __name__ == "__main__":
    main()
