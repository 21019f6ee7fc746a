"""Verifying every image of a data set beside ultralytics' own first scan of the same folder, in the same run.

    python -m benchmarks.image_verification [--images 2000] [--rounds 3]

Ours looks at every byte of every image (`files`), or decodes JPEGs too (`pixels`); ultralytics opens and verifies
images, which sums up PNGs and reads header and end of JPEGs. All read the labels. Its scan writes a cache, which is
deleted before each round. Both are timed from the files of one split to facts. The images are made
here: gradients, waves and noise, so that they pack like photographs, each another.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from runaudit.runs.data_options import Verification

KINDS = ("jpg", "png", "mixed")
BOXES = 8


def picture(width: int, height: int, rng: np.random.Generator) -> Image.Image:
    """A picture that packs like a photograph: a 640x480 JPEG of quality 85 has about 60 kB."""
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], -1)
    base += 40 * np.sin(x / rng.uniform(5, 20))[..., None]
    patches = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    base = 0.5 * base + 0.5 * cv2.resize(patches, (width, height)) + rng.normal(0, 6, base.shape)
    return Image.fromarray(np.clip(base, 0, 255).astype(np.uint8))


def write_data(root: Path, kind: str, size: tuple[int, int], images: int) -> Path:
    """A data set of `images` images, `BOXES` labels each; its data.yaml."""
    rng = np.random.default_rng(0)
    folder, labels = root / "images" / "val", root / "labels" / "val"
    folder.mkdir(parents=True)
    labels.mkdir(parents=True)
    suffixes = ("jpg", "png") if kind == "mixed" else (kind,)
    contents = []
    for number in range(min(images, 40)):
        file = root / f"one.{suffixes[number % len(suffixes)]}"
        picture(*size, rng).save(file, quality=85)
        contents.append((file.suffix, file.read_bytes()))
    for number in range(images):
        suffix, content = contents[number % len(contents)]
        (folder / f"{number}{suffix}").write_bytes(content)
        boxes = np.hstack([rng.uniform(0.2, 0.8, (BOXES, 2)), rng.uniform(0.05, 0.3, (BOXES, 2))])
        rows = "".join(f"{rng.integers(0, 5)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for x, y, w, h in boxes)
        (labels / f"{number}.txt").write_text(rows)
    yaml = root / "data.yaml"
    yaml.write_text("val: images/val\nnames: [a, b, c, d, e]\n")
    return yaml


Cost = tuple[float, float]
"""seconds of wall clock, and of all cores together: on a machine that others use only the latter can be compared"""


def cores() -> float:
    """Seconds of CPU of this process and of those that it has seen end."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def ours(yaml: Path, depth: str) -> Cost:
    """What ours takes, in a process of its own as in an audit: it forks, which a process with torch in it can't."""
    command = [sys.executable, "-m", "benchmarks.image_verification", "--read", str(yaml), depth]
    single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=os.environ | single, check=True, capture_output=True, text=True)
    wall, cpu = done.stdout.split()
    return float(wall), float(cpu)


def read(yaml: Path, depth: Verification) -> Cost:
    """Reading the data set and verifying all its images; loading the modules is not timed, as for theirs."""
    from runaudit.evaluation.image_verification import verify_images  # noqa: PLC0415
    from runaudit.runs.dataset import read_dataset  # noqa: PLC0415

    start, used = time.perf_counter(), cores()
    _, index, labels = read_dataset(yaml.parent, yaml, own_machine=False)
    flawed = verify_images(index, depth, on_images=lambda images: None)
    cost = time.perf_counter() - start, cores() - used
    if flawed or len(labels.cls) != BOXES * len(index.images):
        raise RuntimeError(f"{len(flawed)} images were found flawed, {len(labels.cls)} labels read")
    return cost


def theirs(yaml: Path) -> Cost:
    """The framework's first scan."""
    from ultralytics.data.dataset import YOLODataset  # noqa: PLC0415

    for cache in yaml.parent.rglob("*.cache"):
        cache.unlink()
    data = {"names": dict(enumerate("abcde")), "nc": 5, "channels": 3}
    start, used = time.perf_counter(), cores()
    scanned = YOLODataset(str(yaml.parent / "images" / "val"), data=data, task="detect", augment=False, imgsz=640)
    cost = time.perf_counter() - start, cores() - used
    if not all(len(label["cls"]) == BOXES for label in scanned.labels):
        raise RuntimeError("ultralytics read other labels")
    return cost


def main() -> None:
    """Print the medians, the time per image, and the ratio, for each kind of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read is not None:
        print(*read(Path(options.read[0]), options.read[1]))
        return
    print(f"{len(os.sched_getaffinity(0))} cores; us an image, and the ratio to ultralytics")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}
            yaml = write_data(Path(folder) / "data", kind, (options.width, options.height), options.images)
            rounds = [(ours(yaml, "files"), ours(yaml, "pixels"), theirs(yaml)) for _ in range(options.rounds)]
        for number, clock in enumerate(("wall", "all cores")):
            files, pixels, other = (
                statistics.median(cost[number] for cost in costs) * 1e6 / options.images
                for costs in zip(*rounds, strict=True)
            )
            print(
                f"{kind:<6} {options.width}x{options.height} {clock:<9}: files {files:7.1f} ({files / other:.2f}), "
                f"pixels {pixels:7.1f} ({pixels / other:.2f}), ultralytics {other:7.1f}"
            )


if __name__ == "__main__":
    main()
