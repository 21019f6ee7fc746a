"""Changes of pixels bring one set of images to look like another, and leave alone what they should."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from runaudit.evaluation.image_properties import PROPERTIES, ImageProperties, joined_properties, look_at
from runaudit.evaluation.pixel_change import PixelChange, blur_to, colour_change, noise_to, quality_to
from tests.evaluation.altered import Picture, encoded, scenes

PICTURES = scenes(24)
FILE = np.zeros(0, np.uint8)


def properties(pictures: list[Picture]) -> ImageProperties:
    return joined_properties([look_at(picture, FILE) for picture in pictures])


def mean(pictures: list[Picture], name: str) -> float:
    return float(np.median(properties(pictures).values[:, PROPERTIES.index(name)]))


def clipped(change: Callable[[np.ndarray], np.ndarray]) -> list[Picture]:
    return [np.clip(np.rint(change(picture.astype(np.float64))), 0, 255).astype(np.uint8) for picture in PICTURES]


ALTERED = {
    "dark": clipped(lambda pixels: pixels * 0.4),
    "gamma": clipped(lambda pixels: 255 * (pixels / 255) ** 2),
    "flat": clipped(lambda pixels: (pixels - 128) * 0.5 + 128),
    "warm": clipped(lambda pixels: pixels * np.array([0.7, 1.0, 1.15])),
    "grey": clipped(lambda pixels: np.repeat(pixels @ np.array([[0.114], [0.587], [0.299]]), 3, axis=2)),
}


@pytest.mark.parametrize("name", ALTERED)
def test_images_are_given_the_colours_of_others(name: str) -> None:
    target = ALTERED[name]
    change = colour_change(properties(PICTURES), properties(target), PICTURES)
    changed = [change.apply(picture) for picture in PICTURES]
    before, after = (
        float(np.mean([np.abs(one.astype(int) - two).mean() for one, two in zip(set_, target, strict=True)]))
        for set_ in (PICTURES, changed)
    )
    assert after < before / 4
    assert after < 6


def test_alike_sets_are_hardly_changed() -> None:
    change = colour_change(properties(PICTURES), properties(PICTURES), PICTURES)
    assert change.saturation == pytest.approx(1, abs=0.02)
    assert change.cast == pytest.approx((1, 1, 1), abs=0.02)
    changed = change.apply(PICTURES[0]).astype(int)
    assert np.abs(changed - PICTURES[0]).max() <= 3


def test_blur_and_noise_reach_what_is_asked_for() -> None:
    blurred = [cv2.GaussianBlur(picture, (0, 0), 1.1) for picture in PICTURES]
    blur = blur_to(PICTURES, PixelChange(), mean(blurred, "sharpness"))
    # These images have 160 pixels, blur is told for 256.
    assert blur == pytest.approx(1.1 * 256 / 160, rel=0.15)
    assert blur_to(PICTURES, PixelChange(), mean(PICTURES, "sharpness")) == 0
    noise = noise_to(PICTURES, PixelChange(), 15)
    assert mean([PixelChange(noise=noise).apply(picture) for picture in PICTURES], "noise") == pytest.approx(
        15, rel=0.1
    )
    assert noise_to(PICTURES, PixelChange(), 0.5) == 0


def test_compression_reaches_the_blockiness_of_others() -> None:
    smooth = [cv2.GaussianBlur(picture, (0, 0), 2) for picture in PICTURES]
    quality = quality_to(smooth, PixelChange(), mean([encoded(picture, 12) for picture in smooth], "blockiness"))
    assert quality == 12
    assert quality_to(smooth, PixelChange(), mean(smooth, "blockiness")) is None


def test_noise_is_the_same_each_time() -> None:
    change = PixelChange(noise=10)
    assert (change.apply(PICTURES[0]) == change.apply(PICTURES[0])).all()


@pytest.mark.parametrize("change", [PixelChange(), PixelChange(saturation=0.5, cast=(2, 1, 1), blur=1, noise=5)])
def test_grey_images_stay_grey(change: PixelChange) -> None:
    grey = PICTURES[0][..., :1]
    assert change.apply(grey).shape == grey.shape
    assert (change.apply(grey) == grey).all() == (change == PixelChange())
