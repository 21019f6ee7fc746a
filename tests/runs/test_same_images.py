"""Image files that are the same, in a data set on disk; and the digest that names it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from examples.shapes import render
from runaudit.runs.dataset import read_dataset
from runaudit.runs.facts import SameImages
from runaudit.runs.same_images import same_images


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean")
    render(folder, train=6, val=4)
    return folder


@pytest.fixture
def data(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "data"))


def compared(data: Path) -> SameImages:
    facts, index, labels = read_dataset(data, data / "data.yaml", own_machine=True)
    return same_images(index, labels, facts.names)


def images(data: Path, split: str) -> list[Path]:
    return sorted((data / "images" / split).glob("*.jpg"))


def test_different_images_share_nothing(data: Path) -> None:
    found = compared(data)
    assert (found.validation, found.training, found.shared, found.same_file) == (4, 6, 0, 0)
    assert found.distinct == {"train": 6, "val": 4}
    assert found.pairs == found.named == ()


def test_copies_and_links_are_told_apart(data: Path) -> None:
    train, val = images(data, "train"), images(data, "val")
    shutil.copy(train[2], val[0])
    val[1].unlink()
    os.link(train[3], val[1])
    found = compared(data)
    assert (found.shared, found.same_file) == (2, 1)
    assert found.pairs == tuple(
        (f"images/val/{mine.name}", f"images/train/{other.name}")
        for mine, other in ((val[0], train[2]), (val[1], train[3]))
    )
    assert found.named == tuple(mine for mine, _ in found.pairs)


def test_a_validation_split_that_is_the_training_split(data: Path) -> None:
    yaml = data / "data.yaml"
    yaml.write_text(yaml.read_text().replace("images/val", "images/train"))
    found = compared(data)
    assert (found.validation, found.shared, found.same_file) == (6, 6, 6)


def test_repeated_images_of_a_split_count_once(data: Path) -> None:
    first, *others = images(data, "val")
    for other in others:
        shutil.copy(first, other)
    assert compared(data).distinct == {"train": 6, "val": 1}


def test_files_of_one_length_that_differ_in_one_byte_are_different(data: Path) -> None:
    first, second = images(data, "train")[0], images(data, "val")[0]
    content = bytearray(first.read_bytes())
    # Neither in the middle nor at the end, which are looked at first; a comment leaves the picture as it is.
    content[2:2] = b"\xff\xfe\x00\x06abcd" + b"\xff\xfe\x40\x02" + bytes(0x4000)
    first.write_bytes(content)
    content[6] = ord("z")
    second.write_bytes(content)
    assert compared(data).shared == 0


def test_the_digest_changes_with_what_it_is_of_and_with_nothing_else(data: Path, tmp_path: Path) -> None:
    before = compared(data).digest
    assert len(before) == 64
    elsewhere = Path(shutil.copytree(data, tmp_path / "elsewhere"))
    assert compared(elsewhere).digest == before
    label = next((data / "labels" / "val").glob("*.txt"))
    rows = label.read_text()
    label.write_text(rows.replace("0.", "0.1", 1))
    changed = compared(data).digest
    label.write_text(rows)
    images(data, "train")[0].unlink()
    assert len({before, changed, compared(data).digest}) == 3
