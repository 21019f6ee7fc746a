"""How often a shift is seen where there is none: random splits of images of one kind, rendered or of a folder.

    python -m benchmarks.shift_false_alarms [--splits 100] [--images 120] [--folder DIR]

Each split draws two sets of images without replacement and compares them as training and validation are compared.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from examples.shapes import render
from runaudit.evaluation.image_properties import ImageProperties, joined_properties, look_at
from runaudit.evaluation.labels import Labelled
from runaudit.evaluation.shift import Side, find_shift


def _properties(folder: Path) -> ImageProperties:
    looks = []
    for path in sorted(folder.rglob("*")):
        pixels = cv2.imread(str(path)) if path.suffix.lower() in (".jpg", ".jpeg", ".png") else None
        if pixels is not None:
            looks.append(look_at(pixels, np.zeros(0, np.uint8)))
    return joined_properties(looks)


def _side(properties: ImageProperties, images: np.ndarray) -> Side:
    prints = properties.fingerprints
    chosen = ImageProperties(
        fingerprints=type(prints)(*(getattr(prints, name)[images] for name in prints.__dataclass_fields__)),
        values=properties.values[images],
        channels=properties.channels[images],
        tones=properties.tones[images],
    )
    unlabelled = Labelled(
        entry=images.astype(np.int32),
        entries=(),
        start=np.zeros(len(images) + 1, np.int64),
        cls=np.zeros(0, np.int32),
        box=np.zeros((0, 4)),
        unknown=0,
        split="val",
    )
    return Side(chosen, unlabelled, np.arange(len(images)))


def main() -> None:
    """Print the shares of splits in which a property, or the classifier, raises an alarm, and quantiles of its area."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--images", type=int, default=120, help="of each side")
    parser.add_argument("--folder", type=Path, help="images to split instead of rendered ones")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder
        if folder is None:
            folder = Path(temporary)
            render(folder, train=4 * options.images, val=1)
        properties = _properties(folder)
    each = min(options.images, len(properties) // 2)
    by_property, by_classifier, areas = 0, 0, []
    for seed in range(options.splits):
        drawn = np.random.default_rng(seed).permutation(len(properties))
        found = find_shift(_side(properties, drawn[:each]), _side(properties, drawn[each : 2 * each]), seed=seed)
        if found is None:
            continue
        by_property += any(one.shifted for one in found.facts.properties)
        by_classifier += found.facts.area >= 0.65 and found.facts.p_value < 0.05
        areas.append(found.facts.area)
    low, median, high = np.quantile(areas, [0.05, 0.5, 0.95])
    print(f"{len(properties)} images, {options.splits} random splits with {each} images a side")
    print(f"a property shifted in {by_property}, the classifier told them apart in {by_classifier}")
    print(f"area {median:.3f} in the median, {low:.3f} to {high:.3f} between its 5 % and 95 % quantiles")


if __name__ == "__main__":
    main()
