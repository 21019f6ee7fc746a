"""How many copies of images are found, and how many pairs of different images are taken for copies.

    python -m benchmarks.near_duplicates [--images 240]

Copies are encoded again, resized, squeezed, mirrored, brightened or blurred. Different images are rendered scenes, the
same in the dark, scenes before one camera that stands still, before a repetitive and before an empty background, and
flat images that differ by noise alone.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from examples.shapes import render
from runaudit.evaluation.image_properties import Fingerprints, fingerprint, joined_fingerprints
from runaudit.evaluation.near_duplicates import copies, copies_within, mean_thumbnail
from tests.evaluation.altered import COPIES, Picture, scenes


def _prints(pictures: list[Picture]) -> Fingerprints:
    return joined_fingerprints([fingerprint(picture, np.zeros(1, np.uint8)) for picture in pictures])


def _sets(images: int) -> dict[str, list[Picture]]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        render(root, train=images, val=1)
        rendered = [cv2.imread(str(path)) for path in sorted((root / "images" / "train").glob("*.jpg"))]
    squares = (np.indices((120, 160)).sum(axis=0) // 10 % 2 * 200 + 20).astype(np.uint8)
    grains = np.random.default_rng(0)
    return {
        "rendered scenes": rendered,
        "the same, dark": [(picture * 0.08).astype(np.uint8) for picture in rendered],
        "one camera": scenes(images, background=rendered[0][:120, :160] if rendered[0].shape[0] >= 120 else None),
        "repetitive background": scenes(images, background=np.repeat(squares[..., None], 3, axis=2)),
        "empty background": scenes(images, background=np.full((120, 160, 3), 245, np.uint8), noise=1.0),
        "flat": [np.clip(grains.normal(100, 1.5, (120, 160, 3)), 0, 255).astype(np.uint8) for _ in range(images)],
    }


def main() -> None:
    """Print recall by kind of copy, and false matches, for each set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=240)
    options = parser.parse_args()
    pairs, false_matches = 0, 0
    for name, pictures in _sets(options.images).items():
        own = _prints(pictures)
        mean = mean_thumbnail(own)
        wrong = len(copies_within(own, mean, most=len(own)).first)
        count = len(pictures) * (len(pictures) - 1) // 2
        pairs, false_matches = pairs + count, false_matches + wrong
        print(f"{name:<22} {wrong} of {count} pairs of different images taken for copies")
        for kind, alter in COPIES.items():
            found = copies(_prints([alter(picture) for picture in pictures[:60]]), own, mean)
            right = len(np.unique(found.first[found.first == found.second]))
            print(f"    {kind:<30} {right / 60:.3f} of 60 found")
    print(f"in all {false_matches} of {pairs} pairs")


if __name__ == "__main__":
    main()
