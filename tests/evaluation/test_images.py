"""Decoding against the framework's own reader, on real files of many kinds; and what is left out."""

from __future__ import annotations

import threading
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from runaudit.evaluation.batches import Batch, rectangular_batches
from runaudit.evaluation.framework import framework
from runaudit.evaluation.images import GREY, MOST_PIXELS, LoadedBatch, decode, load_batches
from runaudit.runs.facts import ImageEntry

rng = np.random.default_rng(0)
COLOURS = rng.integers(0, 256, (37, 53, 3), dtype=np.uint8)
DEEP = rng.integers(0, 65536, (37, 53), dtype=np.uint16)


def write(path: Path) -> Path:
    """An image of the kind that the file's stem names."""
    kind = path.stem
    picture = Image.fromarray(COLOURS)
    if kind.startswith("exif"):
        exif = Image.Exif()
        exif[274] = int(kind[4:])
        picture.save(path, exif=exif)
    elif kind == "grey":
        picture.convert("L").save(path)
    elif kind == "alpha":
        picture.convert("RGBA").save(path)
    elif kind == "palette":
        picture.convert("P").save(path)
    elif kind == "deep":
        path.write_bytes(cv2.imencode(path.suffix, DEEP)[1].tobytes())
    elif kind == "deepcolour":
        path.write_bytes(cv2.imencode(path.suffix, np.dstack([DEEP, DEEP[::-1], DEEP[:, ::-1]]))[1].tobytes())
    elif kind == "pages":
        picture.save(path, save_all=True, append_images=[picture.rotate(180), picture.convert("L")])
    else:
        picture.save(path)
    return path


FILES = [
    *(f"exif{orientation}.jpg" for orientation in range(1, 9)),
    *("exif6.png", "exif6.webp", "grey.jpg", "grey.png", "alpha.png", "palette.png", "deep.png", "deepcolour.png"),
    *("plain.bmp", "plain.webp", "plain.tif", "alpha.tiff", "grey.tif", "deep.tif", "deepcolour.tiff", "pages.tif"),
    *("plain.avif", "exif6.avif"),
]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", FILES)
def test_read_as_the_framework_reads(tmp_path: Path, name: str, channels: int) -> None:
    path = write(tmp_path / name)
    framework()
    flags = cv2.IMREAD_COLOR if channels == 3 else cv2.IMREAD_GRAYSCALE
    theirs = import_module("ultralytics.utils.patches").imread(str(path), flags)
    ours = decode(path, channels)
    assert ours is not None
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("content", [b"", b"no image", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_image_is_not_decoded(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert decode(path, 3) is None
    assert decode(tmp_path / "absent.jpg", 3) is None


def test_an_array_beside_an_image_does_not_replace_it(tmp_path: Path) -> None:
    path = write(tmp_path / "plain.png")
    np.save(tmp_path / "plain.npy", np.zeros((37, 53, 3), np.uint8))
    found = decode(path, 3)
    assert found is not None
    assert found.any()


def entries_of(paths: list[Path]) -> list[ImageEntry]:
    found = []
    for path in paths:
        width, height = Image.open(path).size
        found.append(ImageEntry(file=path.name, split="val", width=width, height=height))
    return found


def load(entries: list[ImageEntry], root: Path, imgsz: int = 64, threads: int = 3) -> list[LoadedBatch]:
    batches = rectangular_batches(np.array([(entry.height, entry.width) for entry in entries]), imgsz, 32)
    return list(load_batches(entries, root, batches, imgsz=imgsz, channels=3, threads=threads))


def test_pixels_are_those_of_the_framework_s_letterbox(tmp_path: Path) -> None:
    paths = []
    for number in range(20):
        width, height = rng.integers(12, 130, 2)
        path = tmp_path / f"{number:02}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    framework()
    letterbox = import_module("ultralytics.data.augment").LetterBox(new_shape=64, scaleup=False)
    base = import_module("ultralytics.data.base").BaseDataset
    data_set = object.__new__(base)
    data_set.im_files, data_set.npy_files = paths, [path.with_suffix(".npy") for path in paths]
    data_set.ims, data_set.imgsz, data_set.cache = [None] * 20, 64, None
    data_set.cv2_flag, data_set.augment = cv2.IMREAD_COLOR, False
    seen = 0
    for batch in load(entries_of(paths), tmp_path):
        for position, pixels in zip(batch.images, batch.pixels, strict=True):
            image, _, _ = data_set.load_image(position)
            theirs = letterbox({"img": image, "rect_shape": np.array(pixels.shape[:2])})["img"]
            assert np.array_equal(pixels, theirs[..., ::-1])
            seen += 1
    assert seen == 20


def test_margins_are_grey_and_images_in_the_middle(tmp_path: Path) -> None:
    Image.new("RGB", (64, 20), (255, 0, 0)).save(tmp_path / "red.png")
    (batch,) = load(entries_of([tmp_path / "red.png"]), tmp_path)
    assert batch.pixels.shape == (1, 64, 96, 3)
    assert batch.pixels[0, 32, 48].tolist() == [255, 0, 0]
    assert batch.pixels[0, 0].tolist() == [[GREY] * 3] * 96


def test_unreadable_and_oversized_images_are_left_out_with_a_note(tmp_path: Path) -> None:
    paths = [write(tmp_path / name) for name in ("exif1.jpg", "grey.png", "plain.bmp")]
    entries = entries_of(paths)
    (tmp_path / "grey.png").write_bytes(b"damaged since it was indexed")
    entries[2] = entries[2].model_copy(update={"width": MOST_PIXELS, "height": 2})
    loaded = load(entries, tmp_path)
    assert sum(len(batch.images) for batch in loaded) == 1
    notes = {note.place: note for batch in loaded for note in batch.skipped}
    assert set(notes) == {"grey.png", "plain.bmp"}
    assert {note.code for note in notes.values()} == {"image_skipped"}
    assert "decoded" in notes["grey.png"].detail
    assert "pixels" in notes["plain.bmp"].detail


def test_only_a_few_batches_are_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    entry = ImageEntry(file="a.png", split="val", width=32, height=32)
    read, lock = 0, threading.Lock()
    original = decode

    def counted(path: Path, channels: int) -> object:
        nonlocal read
        with lock:
            read += 1
        return original(path, channels)

    monkeypatch.setattr("runaudit.evaluation.images.decode", counted)
    batches = [Batch(images=(number,), shape=(32, 32)) for number in range(50)]
    loaded = load_batches([entry] * 50, tmp_path, batches, imgsz=32, channels=3, threads=2, ahead=2)
    next(loaded)
    loaded.close()  # type: ignore[attr-defined]  # it is a generator
    assert read <= 3
