"""What an image looks like in numbers: each property follows what is done to the image, and nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from runaudit.evaluation.image_properties import PROPERTIES, ImageLook, fingerprint, look_at, shrunk
from tests.evaluation.altered import Picture, encoded, scenes

FILE = np.arange(100, dtype=np.uint8)
PICTURE = scenes(1, seed=3)[0]


def values(picture: Picture) -> dict[str, float]:
    return dict(zip(PROPERTIES, look_at(picture, FILE).values.tolist(), strict=True))


def brightened(factor: float) -> Picture:
    return np.clip(PICTURE * factor, 0, 255).astype(np.uint8)


def test_brightness_and_contrast_scale_with_light() -> None:
    dark, plain = values(brightened(0.5)), values(PICTURE)
    assert dark["brightness"] == pytest.approx(plain["brightness"] / 2, rel=0.02)
    assert dark["contrast"] == pytest.approx(plain["contrast"] / 2, rel=0.02)
    assert dark["sharpness"] == pytest.approx(plain["sharpness"], abs=0.05)


def test_blur_lowers_sharpness_and_noise() -> None:
    blurred, plain = values(cv2.GaussianBlur(PICTURE, (0, 0), 1.5)), values(PICTURE)
    assert blurred["sharpness"] < plain["sharpness"] - 0.5
    assert blurred["noise"] < plain["noise"] / 3
    assert blurred["brightness"] == pytest.approx(plain["brightness"], abs=0.01)


def test_noise_is_measured_in_grey_levels() -> None:
    flat = np.full((240, 320, 3), 128, np.uint8)
    grains = np.random.default_rng(0).normal(0, 8, (240, 320, 1))
    assert values(np.clip(flat + grains, 0, 255).astype(np.uint8))["noise"] == pytest.approx(8, rel=0.05)
    assert values(flat)["noise"] == 0


def test_strong_compression_shows_its_blocks() -> None:
    smooth = cv2.GaussianBlur(scenes(1, seed=5)[0], (0, 0), 2)
    assert values(encoded(smooth, 10))["blockiness"] > values(encoded(smooth, 95))["blockiness"] + 0.5


def test_grey_has_no_saturation_and_a_warm_light_is_yellow() -> None:
    grey = np.repeat(cv2.cvtColor(PICTURE, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2)
    assert values(grey)["saturation"] == pytest.approx(0, abs=0.02)
    warm = np.clip(PICTURE * np.array([0.6, 1.0, 1.2]), 0, 255).astype(np.uint8)
    assert values(warm)["blue_yellow"] > values(PICTURE)["blue_yellow"] + 10


def test_size_and_aspect_are_those_of_the_image() -> None:
    found = values(np.zeros((100, 200, 3), np.uint8))
    assert found["pixels"] == pytest.approx(np.log2(20_000))
    assert found["aspect"] == pytest.approx(1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 900, 3), (17, 17, 1), (600, 400, 1)])
def test_any_shape_can_be_looked_at(shape: tuple[int, int, int]) -> None:
    look = look_at(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8), FILE)
    assert isinstance(look, ImageLook)
    assert np.isfinite(look.values).all()
    assert look.tones.sum() == pytest.approx(1, abs=1e-5)
    assert look.fingerprint.thumbnail.shape == (16, 16, 3)


def test_the_mirrored_hash_is_that_of_the_mirrored_image() -> None:
    mirrored = np.ascontiguousarray(PICTURE[:, ::-1])
    upright, turned = fingerprint(PICTURE, FILE), fingerprint(mirrored, FILE)
    assert np.bitwise_count(upright.cosine_hash[0] ^ turned.cosine_hash[1]) <= 1
    assert np.bitwise_count(upright.cosine_hash[0] ^ turned.cosine_hash[0]) > 10
    assert np.bitwise_count(upright.gradient_hash[0] ^ turned.gradient_hash[1]) <= 1


def test_bytes_make_the_digest() -> None:
    assert fingerprint(PICTURE, FILE).digest == fingerprint(PICTURE[:5], FILE).digest
    assert fingerprint(PICTURE, FILE).digest != fingerprint(PICTURE, FILE[:-1]).digest


def test_shrinking_keeps_the_shape_and_goes_to_256_pixels() -> None:
    assert shrunk(np.zeros((1500, 2000, 3), np.uint8)).shape == (192, 256, 3)
    assert shrunk(np.zeros((200, 100, 3), np.uint8)).shape == (200, 100, 3)
