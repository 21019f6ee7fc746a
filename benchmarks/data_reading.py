"""Reading and checking a data set's labels beside ultralytics' own first scan of the same folder, in the same run.

    python -m benchmarks.data_reading [--images 100000] [--rounds 1]

Ours opens images for their headers; ultralytics opens and verifies each. Both read every label file. The framework's
scan writes a cache, which is deleted before each round. The images are one small JPEG, copied.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 96
BOXES = 8


def write_data(root: Path, images: int, rng: np.random.Generator) -> Path:
    """A data set of `images` copies of one noisy JPEG with `BOXES` labels each; its data.yaml."""
    folder, labels = root / "images" / "val", root / "labels" / "val"
    folder.mkdir(parents=True)
    labels.mkdir(parents=True)
    first = folder / "0.jpg"
    Image.fromarray(rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)).save(first, quality=80)
    content = first.read_bytes()
    texts = []
    for _ in range(100):
        boxes = np.hstack([rng.uniform(0.2, 0.8, (BOXES, 2)), rng.uniform(0.05, 0.3, (BOXES, 2))])
        texts.append("".join(f"{rng.integers(0, 5)} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for x, y, w, h in boxes))
    for number in range(images):
        (folder / f"{number}.jpg").write_bytes(content)
        (labels / f"{number}.txt").write_text(texts[number % len(texts)])
    yaml = root / "data.yaml"
    yaml.write_text("train: images/val\nval: images/val\nnames: [a, b, c, d, e]\n")
    return yaml


def ours(yaml: Path) -> tuple[float, int]:
    """Seconds and instances of our reader, on one split."""
    from runaudit.runs.dataset import read_dataset  # noqa: PLC0415

    start = time.perf_counter()
    facts, _, _ = read_dataset(yaml.parent, yaml, own_machine=False)
    return time.perf_counter() - start, facts.splits["val"].instances


def theirs(yaml: Path) -> tuple[float, int]:
    """Seconds and instances of the framework's first scan."""
    from ultralytics.data.dataset import YOLODataset  # noqa: PLC0415

    for cache in yaml.parent.rglob("*.cache"):
        cache.unlink()
    data = {"names": dict(enumerate("abcde")), "nc": 5, "channels": 3}
    start = time.perf_counter()
    scanned = YOLODataset(str(yaml.parent / "images" / "val"), data=data, task="detect", augment=False, imgsz=SIZE)
    return time.perf_counter() - start, sum(len(label["cls"]) for label in scanned.labels)


def main() -> None:
    """Print the medians, the time per image, and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "true", "YOLO_VERBOSE": "false"}
        yaml = write_data(Path(folder) / "data", options.images, np.random.default_rng(0))
        single = yaml.with_name("val.yaml")
        single.write_text("val: images/val\nnames: [a, b, c, d, e]\n")
        times: dict[str, list[float]] = {"ours": [], "ultralytics": []}
        for _ in range(options.rounds):
            for name, read, file in (("ours", ours, single), ("ultralytics", theirs, yaml)):
                seconds, instances = read(file)
                if instances != options.images * BOXES:
                    raise RuntimeError(f"{name} read {instances} instances")
                times[name].append(seconds)
        shutil.rmtree(yaml.parent)
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, seconds in medians.items():
        print(f"{name:<12} {seconds:8.2f} s  {1e6 * seconds / options.images:7.1f} us an image")
    print(f"ratio        {medians['ultralytics'] / medians['ours']:8.2f} times faster")


if __name__ == "__main__":
    main()
