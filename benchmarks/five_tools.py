"""A standard audit beside the tools that it stands for, one after the other on the same run, data and machine.

    python -m benchmarks.five_tools [--rounds 2] [--val 300] [--train 300]

The tools: `yolo val` on validation and on training images (each writes its detections), ObjectLab of cleanlab on the
labels of both, CleanVision on the images of both, tidecv and pycocotools on the detections of validation. Each is a
process of its own, as people run them; labels and detections are read from files. What is not installed (the extra
`bench` has it) is left out of the sum, and said to be. Prints wall clock and processor time, of which the second counts
on a busy machine, and how many times as long the tools take: the target is 3.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from examples.shapes import render

RUN: Final = Path(__file__).parents[1] / "examples" / "runs" / "healthy"
TARGET: Final = 3.0
TRAINING_IMAGES: Final = 300
"""the most that a standard audit infers (runaudit.evaluation.examination)"""

_READ: Final = """
import json, sys
from pathlib import Path
import numpy as np
from PIL import Image
data, split, found = Path(sys.argv[1]), sys.argv[2], json.loads(Path(sys.argv[3]).read_text())
images = sorted((data / "images" / split).iterdir())
labels, sizes = [], []
for image in images:
    width, height = Image.open(image).size
    rows = np.loadtxt(data / "labels" / split / f"{image.stem}.txt", ndmin=2).reshape(-1, 5)
    corner = (rows[:, 1:3] - rows[:, 3:] / 2) * (width, height)
    labels.append((rows[:, 0].astype(int), np.hstack([corner, corner + rows[:, 3:] * (width, height)])))
    sizes.append((width, height))
number = {image.stem: index for index, image in enumerate(images)}
seen = [(number[str(entry["image_id"])], entry["category_id"] - 1, entry["bbox"], entry["score"]) for entry in found]
"""
"""labels, and detections as `yolo val` saves them: ids of images are the stems of their files"""
_VAL: Final = """
import sys
from ultralytics import YOLO
YOLO(sys.argv[1]).val(data=sys.argv[2], split=sys.argv[3], imgsz=160, batch=16, plots=False, workers=0, save_json=True,
                      project=sys.argv[4], name=sys.argv[3], exist_ok=True, verbose=False)
"""
_CLEANLAB: Final = (
    _READ
    + """
from cleanlab.object_detection.rank import get_label_quality_scores
classes = 1 + max([int(cls.max()) for cls, _ in labels if len(cls)] + [cls for _, cls, _, _ in seen])
given = [{"bboxes": box, "labels": cls} for cls, box in labels]
predicted = []
for index in range(len(images)):
    mine = [(*box, score, cls) for at, cls, box, score in seen if at == index]
    table = np.asarray(mine, float).reshape(-1, 6)
    table[:, 2:4] += table[:, :2]
    of_class = np.empty(classes, dtype=object)
    for cls in range(classes):
        of_class[cls] = table[table[:, 5] == cls, :5]
    predicted.append(of_class)
get_label_quality_scores(given, predicted, verbose=False)
"""
)
_COCO: Final = (
    _READ
    + """
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
truth = COCO()
boxes = [(at, int(cls), box) for at, (ids, rows) in enumerate(labels) for cls, box in zip(ids, rows.tolist())]
truth.dataset = {
    "images": [{"id": at, "width": size[0], "height": size[1]} for at, size in enumerate(sizes)],
    "categories": [{"id": cls} for cls in sorted({cls for _, cls, _ in boxes})],
    "annotations": [
        {"id": row + 1, "image_id": at, "category_id": cls, "iscrowd": 0, "bbox": [a, b, c - a, d - b],
         "area": (c - a) * (d - b)} for row, (at, cls, (a, b, c, d)) in enumerate(boxes)],
}
truth.createIndex()
detections = np.asarray([[at, *box, score, cls] for at, cls, box, score in seen])
run = COCOeval(truth, truth.loadRes(detections), "bbox")
run.evaluate()
run.accumulate()
run.summarize()
"""
)
_TIDE: Final = (
    _READ
    + """
from tidecv import TIDE, Data
truth, result = Data("truth"), Data("result")
for at, (ids, rows) in enumerate(labels):
    truth.add_image(at, str(at))
    for cls, (a, b, c, d) in zip(ids.tolist(), rows.tolist()):
        truth.add_ground_truth(at, cls, [a, b, c - a, d - b])
for at, cls, box, score in seen:
    result.add_detection(at, cls, score, box)
run = TIDE()
run.evaluate(truth, result, mode=TIDE.BOX)
run.summarize()
"""
)
_CLEANVISION: Final = """
import sys
from cleanvision import Imagelab
Imagelab(data_path=sys.argv[1]).find_issues(n_jobs=1, verbose=False)
"""


@dataclass(frozen=True)
class Spent:
    """Seconds of the clock, and of the processor over all processes that the command started."""

    wall: float
    processor: float


def spent(command: list[str], folder: Path) -> Spent:
    """Run the command to its end. Raises RuntimeError if it fails."""
    guards = {
        "YOLO_CONFIG_DIR": str(folder),
        "YOLO_OFFLINE": "true",
        "YOLO_AUTOINSTALL": "false",
        "HF_HUB_OFFLINE": "1",
    }
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ended = subprocess.run(command, cwd=folder, env={**os.environ, **guards}, capture_output=True, check=False)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if ended.returncode not in (0, 1) or (ended.returncode == 1 and "runaudit.cli" not in command):
        raise RuntimeError(ended.stderr.decode()[-2000:])
    return Spent(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def tools(data: Path, weights: Path, folder: Path) -> dict[str, list[str]]:
    """The commands by name, in their order: detections come first."""
    python, root = [sys.executable, "-c"], data.parent

    def on(code: str, split: str) -> list[str]:
        return [*python, code, str(root), split, str(folder / split / "predictions.json")]

    commands = {
        f"yolo val {split}": [*python, _VAL, str(weights), str(data), split, str(folder)] for split in ("val", "train")
    }
    known = {
        "cleanlab": {f"cleanlab {split}": on(_CLEANLAB, split) for split in ("val", "train")},
        "cleanvision": {
            f"cleanvision {split}": [*python, _CLEANVISION, str(root / "images" / split)] for split in ("val", "train")
        },
        "tidecv": {"tidecv val": on(_TIDE, "val")},
        "pycocotools": {"pycocotools val": on(_COCO, "val")},
    }
    for name, ways in known.items():
        if find_spec(name) is None:
            print(f"not installed, and left out: {name}")
        else:
            commands |= ways
    return commands


def main() -> None:
    """Measure in turns and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--val", type=int, default=300)
    parser.add_argument("--train", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = render(folder / "data", train=options.train, val=options.val)
        # A name that no asset of the framework's has, so that it downloads nothing.
        weights = Path(shutil.copy(RUN / "weights" / "best.pt", folder / "audited-weights.pt"))
        check = [sys.executable, "-m", "runaudit.cli", "check", str(RUN), "--data", str(data), "-o", str(folder / "r")]
        commands = {"runaudit check": check} | tools(data, weights, folder)
        rounds: dict[str, list[Spent]] = {what: [] for what in commands}
        for _ in range(options.rounds):
            for what, command in commands.items():
                rounds[what].append(spent(command, folder))
            for cache in folder.rglob("*.cache"):
                cache.unlink()
    medians = {
        what: Spent(statistics.median(one.wall for one in each), statistics.median(one.processor for one in each))
        for what, each in rounds.items()
    }
    for what, one in medians.items():
        print(f"{what:<18} {one.wall:7.2f} s, processor {one.processor:7.2f} s")
    own = medians.pop("runaudit check")
    bare = [medians["yolo val val"], medians["yolo val train"]]
    print(
        f"`yolo val` of both splits by itself takes {sum(one.wall for one in bare) / own.wall:.2f} times as long, "
        f"{sum(one.processor for one in bare) / own.processor:.2f} times by processor (an audit infers the same images "
        f"if there are no more than {TRAINING_IMAGES} of training, nor more than of validation; wanted: at least 1)"
    )
    wall = sum(one.wall for one in medians.values()) / own.wall
    processor = sum(one.processor for one in medians.values()) / own.processor
    print(f"the tools take {wall:.2f} times as long, {processor:.2f} times by processor (wanted: at least {TARGET:g})")


if __name__ == "__main__":
    main()
