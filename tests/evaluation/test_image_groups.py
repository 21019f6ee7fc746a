"""Which images of a pass belong together: copies, frames of one scene, uploads of one picture; and which do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runaudit.evaluation.fingerprinting import fingerprints
from runaudit.evaluation.image_groups import Split, image_groups
from runaudit.evaluation.labels import labelled_images
from tests.evaluation.altered import COPIES, Picture, film, scenes, write
from tests.evaluation.jobs import Picture as Entry
from tests.evaluation.jobs import write_data

BOX = (0, 0.5, 0.5, 0.2, 0.2)


def grouped(root: Path, files: list[str]) -> NDArray[np.int32]:
    index, labels = write_data(root, [Entry(file, [BOX], "val") for file in files])
    labelled = labelled_images(index, labels, "val", classes=1, single_cls=False)
    positions, prints = fingerprints(labelled.entries, root)
    assert len(positions) == len(files) == len(labelled.entries)
    place = {entry.file: row for row, entry in enumerate(labelled.entries)}
    found = image_groups(Split(labelled, prints), seed=0).group
    return found[[place[file] for file in files]]


def named(root: Path, pictures: list[Picture], names: list[str]) -> list[str]:
    written = write(root, pictures)
    for old, new in zip(written, names, strict=True):
        (root / old).rename(root / new)
    return names


def test_frames_of_one_scene_of_a_film_are_a_group(tmp_path: Path) -> None:
    group = grouped(tmp_path, write(tmp_path, film(60), "film_"))
    assert group.tolist() == np.repeat(np.arange(6), 10).tolist()


def test_frames_drawn_at_random_from_a_film_are_known_by_their_order(tmp_path: Path) -> None:
    # Numbers are up to hundreds apart, as those of a tenth of a film are.
    drawn = np.sort(np.random.default_rng(0).choice(6000, 60, replace=False))
    names = [f"film_{number:04}.png" for number in drawn]
    assert len(np.unique(grouped(tmp_path, named(tmp_path, film(60), names)))) == 6


def test_several_films_of_one_scene_each_are_a_group_each(tmp_path: Path) -> None:
    names = [f"film{number // 10}_frame_{number % 10}.png" for number in range(60)]
    group = grouped(tmp_path, named(tmp_path, film(60), names))
    assert group.tolist() == np.repeat(np.arange(6), 10).tolist()


@pytest.mark.parametrize(
    "name",
    [
        lambda number: f"picture_{number:03}.png",
        lambda number: f"{number:03}.png",
        lambda number: f"{('cat', 'dog', 'owl')[number % 3]}_{number // 3:03}.png",
    ],
)
def test_a_series_of_names_alone_is_no_scene(tmp_path: Path, name: Callable[[int], str]) -> None:
    names = [name(number) for number in range(60)]
    assert len(np.unique(grouped(tmp_path, named(tmp_path, scenes(60), names)))) == 60


def test_pictures_before_a_camera_that_stands_still_stand_alone(tmp_path: Path) -> None:
    pictures = scenes(60, background=scenes(1, seed=99)[0])
    assert len(np.unique(grouped(tmp_path, write(tmp_path, pictures, "camera_")))) == 60


@pytest.mark.parametrize("change", [lambda picture: picture * 0.15, lambda picture: 190 + (picture - 128) * 0.15])
def test_pictures_that_are_all_dark_or_pale_are_no_scene(tmp_path: Path, change: Callable[[Picture], Picture]) -> None:
    # All have a bright sky and a dark ground, as pictures of one kind have much in common.
    light = np.linspace(130, 0, scenes(1)[0].shape[0])[:, None, None]
    pictures = [np.clip(picture * 0.4 + light, 0, 255).astype(np.uint8) for picture in scenes(30)]
    changed = [np.clip(change(picture.astype(np.float32)), 0, 255).astype(np.uint8) for picture in pictures]
    assert len(np.unique(grouped(tmp_path, write(tmp_path, changed, "val_")))) == 30


def test_images_that_show_nothing_stand_alone(tmp_path: Path) -> None:
    """A covered camera's frames are alike, and of any place."""
    bare = [np.full((120, 160, 3), 12 * number, dtype=np.uint8) for number in range(20)]
    files = write(tmp_path, [*scenes(30), *bare, bare[0]], "frame_")
    assert len(np.unique(grouped(tmp_path, files))) == 51


def test_copies_are_a_group_whatever_they_are_called(tmp_path: Path) -> None:
    pictures = scenes(20)
    twice = [*pictures, pictures[0], COPIES["brighter"](pictures[1]), COPIES["half the size"](pictures[2])]
    names = [f"{chr(97 + number)}.png" for number in range(23)]
    group = grouped(tmp_path, named(tmp_path, twice, names))
    assert group.tolist() == [*range(20), 0, 1, 2]


def test_what_an_upload_made_of_one_picture_is_a_group(tmp_path: Path) -> None:
    """Roboflow appends a digest of its own to each version of a picture; `a` and `b` are unlike by their looks."""
    names = ["a_jpg.rf.0a1b.png", "b_jpg.rf.ffff.png", "a_jpg.rf.77aa.png", "c.png", "a.png"]
    group = grouped(tmp_path, named(tmp_path, scenes(5), names)).tolist()
    assert group[0] == group[2]
    assert len(set(group)) == 4
