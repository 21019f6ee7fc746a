"""The rendered data sets: their labels fit their pictures, and no parcel is hidden by another."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.planted.bases import BASES, MOST_COVERED, class_names, render

Corners = tuple[float, float, float, float]


def boxes(root: Path) -> list[list[tuple[int, Corners]]]:
    """For each image of the validation split: class id and corners, as shares of the image, in the order drawn."""
    found = []
    for file in sorted((root / "labels" / "val").glob("*.txt")):
        rows = [[float(value) for value in line.split()] for line in file.read_text().splitlines()]
        found.append([(int(c), (x - w / 2, y - h / 2, x + w / 2, y + h / 2)) for c, x, y, w, h in rows])
    return found


def covered(box: Corners, by: Corners) -> float:
    """The share of `box` that `by` covers."""
    width = min(box[2], by[2]) - max(box[0], by[0])
    height = min(box[3], by[3]) - max(box[1], by[1])
    return max(0.0, width) * max(0.0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


@pytest.fixture(scope="module")
def parcels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parcels")
    render("parcels", root, seed=3, train=0, val=40)
    return root


def test_no_parcel_is_hidden_by_a_later_one(parcels: Path):
    shares = [
        covered(earlier, later)
        for image in boxes(parcels)
        for place, (_, earlier) in enumerate(image)
        for _, later in image[place + 1 :]
    ]
    assert len(shares) > 100
    # What a later one may cover is bounded by its square, from which a turned rectangle's corners stick out.
    assert max(shares) < 2 * MOST_COVERED


def test_every_kind_of_parcel_comes_in_its_share(parcels: Path):
    counts = Counter(class_id for image in boxes(parcels) for class_id, _ in image)
    total = sum(counts.values())
    for class_id, share in enumerate(BASES["parcels"].share):
        assert counts[class_id] / total == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize("base", ["signs", "cells", "traffic", "parcels"])
def test_an_object_differs_from_its_surroundings(base: str, tmp_path: Path):
    """The box holds more contrast than a frame around it, on average: labels and pixels belong together."""
    render(base, tmp_path, seed=4, train=0, val=12)
    inside, outside = [], []
    for image, rows in zip(sorted((tmp_path / "images" / "val").iterdir()), boxes(tmp_path), strict=True):
        picture = np.asarray(cv2.imread(str(image)), dtype=np.float32)
        height, width = picture.shape[:2]
        free = np.ones((height, width), dtype=bool)
        for class_id, corners in rows:
            assert 0 <= class_id < len(class_names(base))
            assert min(corners) > -1e-5
            assert max(corners) < 1 + 1e-5
            left, top, right, bottom = (round(v * s) for v, s in zip(corners, (width, height) * 2, strict=True))
            inside.append(picture[top:bottom, left:right].std())
            free[top:bottom, left:right] = False
        outside.append(picture[free].std())
    assert np.mean(inside) > 1.3 * np.mean(outside)


def test_a_split_does_not_change_when_the_other_grows(tmp_path: Path):
    render("parcels", tmp_path / "a", seed=1, train=1, val=3)
    render("parcels", tmp_path / "b", seed=1, train=3, val=3)
    for file in sorted((tmp_path / "a").rglob("*.*")):
        assert file.read_bytes() == (tmp_path / "b" / file.relative_to(tmp_path / "a")).read_bytes()
