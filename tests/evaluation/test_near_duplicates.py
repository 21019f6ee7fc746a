"""Copies are found whatever was done to them, and different images are told apart where hashes alone would not."""

from __future__ import annotations

import numpy as np
import pytest

from runaudit.evaluation.image_properties import Fingerprints, fingerprint, joined_fingerprints
from runaudit.evaluation.near_duplicates import copies, copies_within, mean_thumbnail
from tests.evaluation.altered import COPIES, Picture, scenes

COUNT = 60


def prints(pictures: list[Picture]) -> Fingerprints:
    return joined_fingerprints([fingerprint(picture, np.zeros(1, np.uint8)) for picture in pictures])


@pytest.mark.parametrize("name", COPIES)
def test_copies_are_found(name: str) -> None:
    pictures = scenes(COUNT)
    originals, copied = prints(pictures), prints([COPIES[name](picture) for picture in pictures[:40]])
    found = copies(copied, originals, mean_thumbnail(originals, copied))
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) <= {(i, i) for i in range(40)}
    assert len(found.first) >= 38
    assert found.mirrored.all() == (name == "mirrored")


def empty() -> Picture:
    return np.full((120, 160, 3), 245, np.uint8)


def chequered() -> Picture:
    squares = (np.indices((120, 160)).sum(axis=0) // 10 % 2 * 200 + 20).astype(np.uint8)
    return np.repeat(squares[..., None], 3, axis=2)


@pytest.mark.parametrize(
    "pictures",
    [
        scenes(COUNT, seed=1),
        [(picture * 0.08).astype(np.uint8) for picture in scenes(COUNT, seed=2)],
        scenes(COUNT, background=scenes(1, seed=9)[0]),
        scenes(COUNT, background=chequered()),
        scenes(COUNT, background=empty(), noise=1.0),
    ],
    ids=["scenes", "dark", "a camera that stands still", "a repetitive background", "an empty background"],
)
def test_different_images_are_no_copies(pictures: list[Picture]) -> None:
    both = prints(pictures)
    assert not len(copies_within(both, mean_thumbnail(both), most=COUNT).first)


def test_flat_images_are_no_copies_of_each_other() -> None:
    grains = np.random.default_rng(0)
    flat = prints([np.clip(grains.normal(100, 1.5, (120, 160, 3)), 0, 255).astype(np.uint8) for _ in range(COUNT)])
    assert not len(copies_within(flat, mean_thumbnail(flat), most=COUNT).first)


def test_a_camera_that_stands_still_still_shows_its_copies() -> None:
    pictures = scenes(COUNT, background=scenes(1, seed=9)[0])
    first, second = prints(pictures[:30]), prints([*pictures[30:], COPIES["mirrored"](pictures[3])])
    found = copies(first, second, mean_thumbnail(first, second))
    assert (found.first.tolist(), found.second.tolist()) == ([3], [30])


def test_sets_without_images_have_no_copies() -> None:
    none = prints([])
    assert not len(copies(none, none, mean_thumbnail(none)).first)
