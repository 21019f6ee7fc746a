"""Images reach a classifier as the framework would hand them over, in order, and never too many or too large."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from runaudit.evaluation.classification_images import classifier_batches, square_crop
from runaudit.evaluation.framework import framework
from runaudit.runs.facts import ImageEntry
from tests.evaluation.classifiers import NAMES, read_tree, write_tree


def theirs(files: list[Path], imgsz: int) -> torch.Tensor:
    """The framework's own decoding and transforms."""
    framework()
    prepare: Any = import_module("ultralytics.data.augment").classify_transforms(imgsz)
    read = [import_module("ultralytics.utils.patches").imread_unicode(file) for file in files]
    return torch.stack([prepare(Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))) for pixels in read])


def ours(root: Path, entries: list[ImageEntry], imgsz: int, size: int = 5) -> torch.Tensor:
    batches = list(classifier_batches(entries, root, imgsz=imgsz, size=size, threads=3))
    assert [image for batch in batches for image in batch.images] == list(range(len(entries)))
    return torch.cat([batch.pixels for batch in batches])


@pytest.mark.parametrize("imgsz", [32, 64, 224])
def test_pixels_are_the_frameworks(tmp_path: Path, imgsz: int) -> None:
    _, index = read_tree(write_tree(tmp_path, {"val": dict.fromkeys(NAMES, 9)}), tmp_path / "labels.safetensors")
    entries = list(index.images)
    assert {Path(entry.file).suffix for entry in entries} == {".jpg", ".png", ".tiff"}
    expected = theirs([tmp_path / entry.file for entry in entries], imgsz)
    assert torch.equal(ours(tmp_path, entries, imgsz), expected)


def entry(root: Path, name: str) -> ImageEntry:
    with Image.open(root / name) as image:
        return ImageEntry(file=name, split="val", width=image.width, height=image.height)


def test_sixteen_bits_and_several_pages(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, size=(40, 50, 3)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    cv2.imwrite(str(tmp_path / "deep.tiff"), deep)
    pages = [Image.new("RGB", (30, 30), colour) for colour in ("red", "green")]
    pages[0].save(tmp_path / "pages.tiff", save_all=True, append_images=pages[1:])
    names = ["deep.png", "deep.tiff", "pages.tiff"]
    entries = [ImageEntry(file=name, split="val", width=50, height=40) for name in names]
    assert torch.equal(ours(tmp_path, entries, 64), theirs([tmp_path / name for name in names], 64))


def test_what_would_grow_beyond_memory_is_left_out(tmp_path: Path) -> None:
    """A strip of 10 pixels has its shorter side stretched: at imgsz 8192 it would have 2.7 * 10^11 pixels."""
    Image.new("RGB", (40_000, 10)).save(tmp_path / "strip.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "lies.png")
    strip = entry(tmp_path, "strip.png")
    lies = ImageEntry(file="lies.png", split="val", width=60_000, height=60_000)
    (batch,) = classifier_batches([strip, lies], tmp_path, imgsz=1024, size=2, threads=1)
    assert batch.images == () and len(batch.pixels) == 0
    assert [note.place for note in batch.skipped] == ["strip.png", "lies.png"]
    # A header that understates is found out once the pixels are there.
    short = strip.model_copy(update={"width": 40})
    (batch,) = classifier_batches([short], tmp_path, imgsz=1024, size=2, threads=1)
    assert batch.images == () and "40000 x 10" in batch.skipped[0].detail


def test_crop_of_a_known_image() -> None:
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:, 16:48] = 255
    cropped = square_crop(32)(Image.fromarray(pixels))
    assert cropped.shape == (3, 32, 32) and torch.equal(cropped, torch.ones(3, 32, 32))
