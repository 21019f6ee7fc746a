"""Which validation images are found in training: by bytes among all, by looks among some, by film and by camera."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from runaudit.evaluation.fingerprinting import fingerprints
from runaudit.evaluation.image_groups import Split, image_groups
from runaudit.evaluation.labels import labelled_images
from runaudit.evaluation.leakage import Leakage, find_leakage
from runaudit.evaluation.selection import labelled_part
from runaudit.proportions import wilson_interval
from tests.evaluation.altered import COPIES, film, scenes, write
from tests.evaluation.jobs import Picture as Entry
from tests.evaluation.jobs import write_data

BOX = (0, 0.5, 0.5, 0.2, 0.2)
OTHER = (0, 0.2, 0.2, 0.1, 0.1)


def looked_for(
    root: Path, training: list[Entry], validation: list[Entry], *, known: int = 5, most: int = 99
) -> Leakage:
    index, labels = write_data(root, [*training, *validation])
    parts = {}
    for split in ("train", "val"):
        labelled = labelled_images(index, labels, split, classes=1, single_cls=False)
        positions, prints = fingerprints(labelled.entries, root)
        assert len(positions) == len(labelled.entries)
        parts[split] = Split(labelled, prints)
    everything = parts["train"].labelled
    first = np.arange(min(known, len(everything.entries)))
    _, prints = fingerprints([everything.entries[position] for position in first], root)
    passed = Split(labelled_part(everything, first), prints)
    repeated = image_groups(parts["val"], seed=0).repeated
    return find_leakage(parts["val"], everything, passed, root, repeated=repeated, most=most, seed=0)


def entries(names: list[str], folder: str, split: str, rows: tuple[float, ...] = BOX) -> list[Entry]:
    return [Entry(f"{folder}/{name}", [rows], split) for name in names]  # type: ignore[arg-type]


def test_copies_with_other_labels_are_a_scene(tmp_path: Path) -> None:
    pictures = scenes(40)
    train = entries(write(tmp_path / "t", pictures[:20], "a"), "t", "train")
    copied = [COPIES["encoded at quality 25"](picture) for picture in pictures[:6]]
    same = entries(write(tmp_path / "v", copied[:3], "b"), "v", "val")
    other = entries(write(tmp_path / "v", copied[3:], "c"), "v", "val", OTHER)
    new = entries(write(tmp_path / "v", pictures[20:], "d"), "v", "val")
    found = looked_for(tmp_path, train, [*same, *other, *new]).facts
    assert (found.images, found.exact, found.near, found.scene) == (26, 0, 3, 3)
    assert found.leaked == ("v/b000.png", "v/b001.png", "v/b002.png")
    assert found.ci95 == pytest.approx(wilson_interval(3, 26))


def test_bytes_are_looked_for_beyond_the_images_compared(tmp_path: Path) -> None:
    pictures = scenes(40)
    train = entries(write(tmp_path / "t", pictures[:30], "a"), "t", "train")
    val = entries(write(tmp_path / "v", [pictures[29], *pictures[30:]], "b"), "v", "val")
    found = looked_for(tmp_path, train, val, known=5, most=5).facts
    assert (found.training_images, found.compared, found.exact, found.near) == (30, 5, 1, 0)
    assert (found.pairs[0].image, found.pairs[0].training_image) == ("v/b000.png", "t/a029.png")


def test_frames_of_one_film_in_both_splits_are_a_scene(tmp_path: Path) -> None:
    names = write(tmp_path / "f", film(60), "film_")
    train = [Entry(f"f/{name}", [BOX], "train") for name in names[::2]]
    val = [Entry(f"f/{name}", [OTHER], "val") for name in names[1::2]]
    found = looked_for(tmp_path, train, val)
    assert found.facts.exact == found.facts.near == 0
    assert found.facts.scene == 30


def test_numbers_alone_make_no_film(tmp_path: Path) -> None:
    names = write(tmp_path / "f", scenes(60), "picture_")
    train = [Entry(f"f/{name}", [BOX], "train") for name in names[::2]]
    val = [Entry(f"f/{name}", [BOX], "val") for name in names[1::2]]
    found = looked_for(tmp_path, train, val)
    assert (found.facts.exact, found.facts.near, found.facts.scene) == (0, 0, 0)


def test_a_camera_that_stands_still_leaks_nothing(tmp_path: Path) -> None:
    names = write(tmp_path / "f", scenes(60, background=scenes(1, seed=99)[0]), "camera_")
    train = [Entry(f"f/{name}", [BOX], "train") for name in names[::2]]
    val = [Entry(f"f/{name}", [BOX], "val") for name in names[1::2]]
    found = looked_for(tmp_path, train, val).facts
    assert (found.exact, found.near, found.scene) == (0, 0, 0)


def test_repeats_within_validation_are_counted(tmp_path: Path) -> None:
    pictures = scenes(30)
    train = entries(write(tmp_path / "t", pictures[:10], "a"), "t", "train")
    twice = [*pictures[10:], COPIES["brighter"](pictures[10]), COPIES["half the size"](pictures[11])]
    val = entries(write(tmp_path / "v", twice, "b"), "v", "val")
    found = looked_for(tmp_path, train, val)
    assert (found.facts.repeated, found.facts.near) == (2, 0)


def test_an_image_that_can_not_be_decoded_is_left_out(tmp_path: Path) -> None:
    names = write(tmp_path / "t", scenes(12), "a")
    (tmp_path / "t" / names[3]).write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    train = [Entry(f"t/{name}", [BOX], "train", (160, 120)) for name in names]
    index, labels = write_data(tmp_path, train)
    labelled = labelled_images(index, labels, "train", classes=1, single_cls=False)
    positions, prints = fingerprints(labelled.entries, tmp_path)
    assert positions.tolist() == [0, 1, 2, *range(4, 12)]
    assert len(prints) == 11


def test_large_jpegs_are_decoded_small_and_known_all_the_same(tmp_path: Path) -> None:
    large = [cv2.resize(picture, (1600, 1200), interpolation=cv2.INTER_CUBIC) for picture in scenes(8)]
    for folder, size in (("t", 1600), ("v", 800)):
        (tmp_path / folder).mkdir()
        for number, picture in enumerate(large):
            cv2.imwrite(str(tmp_path / folder / f"{number}.jpg"), cv2.resize(picture, (size, size * 3 // 4)))
    train = [Entry(f"t/{number}.jpg", [BOX], "train") for number in range(8)]
    val = [Entry(f"v/{number}.jpg", [BOX], "val") for number in range(4)]
    assert looked_for(tmp_path, train, val, known=1).facts.near == 4
