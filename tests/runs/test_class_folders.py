"""The census of class folders, and what of a stranger's tree is read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from runaudit.errors import DatasetError
from runaudit.runs.class_folders import read_class_folders
from runaudit.runs.facts import DatasetFacts, ImageIndex
from runaudit.runs.label_arrays import LabelArrays, read_labels, write_labels
from tests.runs.test_class_tree import deep_folder, image


def read(root: Path, **options: bool) -> tuple[DatasetFacts, ImageIndex, LabelArrays]:
    return read_class_folders(root, root, own_machine=options.pop("own_machine", False), **options)


def codes(facts: DatasetFacts, split: str) -> set[str]:
    return {note.code for note in facts.splits[split].notes}  # type: ignore[index]


def fill(root: Path, images: dict[str, dict[str, int]]) -> Path:
    for split, classes in images.items():
        for name, count in classes.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image(root / split / name / f"{number}.jpg")
    return root


def test_census(tmp_path: Path) -> None:
    fill(tmp_path, {"train": {"dog": 3, "cat": 2, "Zebra": 0}, "val": {"cat": 1, "owl": 2}, "test": {"dog": 1}})
    facts, index, labels = read(tmp_path)
    assert facts.names == {0: "Zebra", 1: "cat", 2: "dog", 3: "owl"}
    assert {name: split.class_instances for name, split in facts.splits.items()} == {
        "train": (0, 2, 3, 0),
        "val": (0, 1, 0, 2),
        "test": (0, 0, 1, 0),
    }
    train = facts.splits["train"]
    assert (train.images, train.labelled, train.background, train.missing_labels, train.rejected) == (5, 5, 0, 0, 0)
    assert train.source == "train" and facts.source == "."
    assert train.image_census is not None and train.image_census.formats == {"JPEG": 5}
    assert [(entry.file, entry.split) for entry in index.images][:2] == [
        ("train/cat/0.jpg", "train"),
        ("train/cat/1.jpg", "train"),
    ]
    assert labels.image.tolist() == list(range(9)) and labels.box.shape == (0, 4)
    assert [facts.names[int(index)] for index in labels.cls] == [Path(e.file).parent.name for e in index.images]
    write_labels(tmp_path / "labels.safetensors", labels)
    assert np.array_equal(read_labels(tmp_path / "labels.safetensors").cls, labels.cls)


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_names_of_the_validation_folder(tmp_path: Path, name: str) -> None:
    facts, _, _ = read(fill(tmp_path, {"train": {"cat": 1}, name: {"cat": 2}, "test": {"cat": 3}}))
    assert {split: found.images for split, found in facts.splits.items()} == {"train": 1, "val": 2, "test": 3}


def test_the_first_of_them_counts(tmp_path: Path) -> None:
    facts, _, _ = read(fill(tmp_path, {"valid": {"cat": 1}, "val": {"cat": 2}}))
    assert facts.splits["val"].source == "val"


def test_without_one_the_test_folder_validates(tmp_path: Path) -> None:
    facts, index, _ = read(fill(tmp_path, {"train": {"cat": 1}, "test": {"cat": 2}}))
    assert set(facts.splits) == {"train", "val"} and facts.splits["val"].source == "test"
    assert "test_used_as_val" in {note.code for note in facts.notes}
    assert [entry.split for entry in index.images] == ["train", "val", "val"]


def test_a_hidden_folder_is_a_class_as_in_the_framework(tmp_path: Path) -> None:
    """torchvision's ImageFolder counts `.ipynb_checkpoints`, which moves every id."""
    facts, _, _ = read(fill(tmp_path, {"train": {".ipynb_checkpoints": 0, "cat": 1}}))
    assert facts.names == {0: ".ipynb_checkpoints", 1: "cat"}


def test_one_class_for_all(tmp_path: Path) -> None:
    facts, _, labels = read(fill(tmp_path, {"train": {"cat": 2, "dog": 1}}), single_cls=True)
    assert facts.names == {0: "item"} and facts.single_cls
    assert labels.cls.tolist() == [0, 0, 0] and facts.splits["train"].class_instances == (3,)


def test_what_the_framework_would_drop_is_counted(tmp_path: Path) -> None:
    fill(tmp_path, {"train": {"cat": 1}})
    folder = tmp_path / "train" / "cat"
    (folder / "text.jpg").write_text("no image")
    (folder / "empty.png").write_bytes(b"")
    Image.new("RGB", (9, 30)).save(folder / "small.png")
    (folder / "notes.txt").write_text("not looked at")
    image(tmp_path / "train" / "stray.jpg")
    (tmp_path / "train.cache").write_bytes(b"\x80\x04never opened")
    facts, _, _ = read(tmp_path)
    train = facts.splits["train"]
    assert (train.images, train.rejected) == (1, 3)
    assert train.caches == ("train.cache",)
    assert {"images_without_class", "label_cache_ignored"} < codes(facts, "train")
    assert {note.place for note in train.notes} >= {"train/cat/text.jpg", "train/cat/small.png"}


def test_notes_are_few_whatever_is_broken(tmp_path: Path) -> None:
    fill(tmp_path, {"train": {"cat": 1}})
    for number in range(60):
        (tmp_path / "train" / "cat" / f"bad{number}.jpg").write_bytes(b"x")
    facts, _, _ = read(tmp_path)
    assert facts.splits["train"].rejected == 60 and len(facts.splits["train"].notes) == 21
    assert "40 more" in facts.splits["train"].notes[-1].detail


def test_links_out_of_the_data_are_refused(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    fill(data, {"train": {"cat": 1}})
    fill(outside, {"train": {"secret": 2}})
    (data / "train" / "linked").symlink_to(outside / "train" / "secret")
    (data / "train" / "cat" / "linked.jpg").symlink_to(outside / "train" / "secret" / "0.jpg")
    (data / "train" / "cat" / "below").symlink_to(outside)
    (data / "train" / "cat" / "circle").symlink_to("circle")
    (data / "val").symlink_to(outside / "train")
    facts, index, _ = read(data)
    assert [entry.file for entry in index.images] == ["train/cat/0.jpg"]
    assert "link_refused" in codes(facts, "train") and "link_refused" in {note.code for note in facts.notes}
    assert "val" not in facts.splits


def test_links_are_followed_inside_the_data_and_on_ones_own_machine(tmp_path: Path) -> None:
    data, outside = tmp_path / "data", tmp_path / "outside"
    fill(data, {"train": {"cat": 1}, "store": {"dog": 2}})
    fill(outside, {"train": {"owl": 3}})
    (data / "train" / "dog").symlink_to(data / "store" / "dog")
    assert read(data)[0].splits["train"].class_instances == (1, 2)
    (data / "train" / "owl").symlink_to(outside / "train" / "owl")
    assert read(data, own_machine=True)[0].splits["train"].class_instances == (1, 2, 3)


def test_pipes_and_devices_do_not_hold_it_up(tmp_path: Path) -> None:
    fill(tmp_path, {"train": {"cat": 1}})
    os.mkfifo(tmp_path / "train" / "cat" / "pipe.jpg")
    os.mkfifo(tmp_path / "train" / "pipe")
    os.mkfifo(tmp_path / "train.cache")
    facts, _, _ = read(tmp_path)
    assert (facts.splits["train"].images, facts.names) == (1, {0: "cat"})


def test_a_class_deeper_than_the_stack(tmp_path: Path) -> None:
    fill(tmp_path, {"train": {"cat": 1}})
    try:
        deep_folder(tmp_path / "train" / "deep", 1400)
        assert read(tmp_path)[0].splits["train"].class_instances == (1, 0)
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "train" / "deep"], check=True)


def test_too_many_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runaudit.runs.class_folders.MAX_CLASSES", 3)
    with pytest.raises(DatasetError) as caught:
        read(fill(tmp_path, {"train": dict.fromkeys("abcd", 1)}))
    assert caught.value.error_code == "class_folders_too_many"


def test_without_a_single_image(tmp_path: Path) -> None:
    fill(tmp_path, {"train": {"cat": 0}})
    (tmp_path / "train" / "cat" / "a.jpg").write_bytes(b"no image")
    with pytest.raises(DatasetError) as caught:
        read(tmp_path)
    assert caught.value.error_code == "data_no_images"


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    fill(tmp_path, {"train": {"cat": 3}, "val": {"cat": 2}})
    told: list[tuple[int, int]] = []
    read_class_folders(tmp_path, tmp_path, own_machine=False, on_progress=lambda *done: told.append(done))
    assert told[-1] == (5, 5)


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


@given(names=st.sets(NAMES, min_size=1, max_size=5))
def test_any_names(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    root = fill(tmp_path_factory.mktemp("names"), {"train": dict.fromkeys(names, 1)})
    facts, index, labels = read(root)
    assert list(facts.names.values()) == sorted(names)
    assert len(index.images) == len(names) == len(labels.cls)
    assert all((root / entry.file).is_file() for entry in index.images)
    assert DatasetFacts.model_validate_json(facts.model_dump_json()) == facts
