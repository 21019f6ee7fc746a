"""What the client packs, the reader of the service finds again: no image or label is lost on the way."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from runaudit.client.data_packing import pack_data
from runaudit.runs.data_yaml import find_data_yaml
from runaudit.runs.dataset import read_dataset

SPLITS = {"train": 3, "val": 2}


def draw(folder: Path) -> Path:
    """A data set of five images, each with one box."""
    for split, count in SPLITS.items():
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (32, 24), (number * 40, 0, 0)).save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    return folder


@pytest.mark.parametrize(
    ("description", "text"),
    [
        ("set/data.yaml", "train: images/train\nval: images/val\n"),
        ("set/data.yaml", "train: ../images/train\nval: ../images/val\n"),
        ("set/data.yaml", "path: {set}\ntrain: images/train\nval: images/val\n"),
        ("set/data.yaml", "path: C:\\data\\set\ntrain: images\\train\nval: images\\val\n"),
        ("configs/set.yaml", "path: {set}\ntrain: images/train\nval: images/val\n"),
        ("configs/set.yaml", "path: ../set\ntrain: images/train\nval: images/val\n"),
        ("configs/set.yaml", "train: {set}/images/train\nval: {set}/images/val\n"),
        ("set/data.yaml", "train: train.txt\nval: images/val\n"),
    ],
)
def test_what_is_packed_is_found_again(tmp_path: Path, description: str, text: str) -> None:
    home = draw(tmp_path / "here" / "set")
    (home / "train.txt").write_text("".join(f"{home}/images/train/{number}.png\n" for number in range(3)))
    path = tmp_path / "here" / description
    path.parent.mkdir(exist_ok=True)
    path.write_text(text.format(set=home) + "names: [thing]\n")
    stream = BytesIO()
    pack_data(path, stream)
    for file in sorted(home.rglob("*"), reverse=True):  # nothing of it may be read in its old place
        file.rmdir() if file.is_dir() else file.unlink()

    there = tmp_path / "there"
    with zipfile.ZipFile(stream) as archive:
        for name in archive.namelist():
            target = there / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(name))
    found = find_data_yaml(there)
    assert found is not None
    facts, index, labels = read_dataset(there, found, own_machine=False)
    assert {split: (one.images, one.instances) for split, one in facts.splits.items()} == {
        split: (count, count) for split, count in SPLITS.items()
    }
    assert len(index.images) == len(labels.image) == 5
