"""Which folder is taken for the tree of a classification data set."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from runaudit.errors import DatasetError
from runaudit.runs.class_tree import find_class_tree


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (12, 12)).save(path)


def deep_folder(top: Path, depth: int) -> None:
    """`depth` folders in one another."""
    descriptor = os.open(top.parent, os.O_RDONLY)
    for name in (top.name, *["dd"] * depth):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def test_the_root_itself_or_a_folder_below(tmp_path: Path) -> None:
    assert find_class_tree(tmp_path) is None
    image(tmp_path / "deep" / "er" / "valid" / "cat" / "1.jpg")
    assert find_class_tree(tmp_path) == tmp_path / "deep" / "er"
    image(tmp_path / "train" / "cat" / "1.jpg")
    assert find_class_tree(tmp_path) == tmp_path


def test_images_may_lie_deeper_in_their_class(tmp_path: Path) -> None:
    image(tmp_path / "val" / "cat" / "a" / "b" / "1.png")
    assert find_class_tree(tmp_path) == tmp_path


def test_a_detection_data_set_and_a_run_are_none(tmp_path: Path) -> None:
    image(tmp_path / "train" / "images" / "1.jpg")
    (tmp_path / "train" / "labels").mkdir()
    image(tmp_path / "images" / "val" / "1.jpg")
    image(tmp_path / "runs" / "classify" / "train" / "val_batch0_pred.jpg")
    (tmp_path / "runs" / "classify" / "train" / "weights").mkdir()
    assert find_class_tree(tmp_path) is None


def test_of_several_the_one_that_the_run_names(tmp_path: Path) -> None:
    image(tmp_path / "one" / "train" / "cat" / "1.jpg")
    image(tmp_path / "two" / "train" / "cat" / "1.jpg")
    image(tmp_path / "a" / "three" / "train" / "cat" / "1.jpg")
    assert find_class_tree(tmp_path, named="two") == tmp_path / "two"
    assert find_class_tree(tmp_path, named="three") == tmp_path / "a" / "three"
    with pytest.raises(DatasetError, match="one, two") as caught:
        find_class_tree(tmp_path)
    assert caught.value.error_code == "class_folders_ambiguous"


def test_hidden_folders_and_links_are_not_searched(tmp_path: Path) -> None:
    image(tmp_path / ".cache" / "train" / "cat" / "1.jpg")
    image(tmp_path / "__MACOSX" / "train" / "cat" / "1.jpg")
    outside = tmp_path / "outside"
    image(outside / "train" / "cat" / "1.jpg")
    data = tmp_path / "data"
    data.mkdir()
    (data / "link").symlink_to(outside)
    (data / "circle").symlink_to("circle")
    (data / "up").symlink_to("..")
    assert find_class_tree(data) is None


def test_a_tree_deeper_than_the_stack(tmp_path: Path) -> None:
    """Walking by recursion would end at Python's limit of 1000; the deepest paths are longer than the system allows."""
    try:
        deep_folder(tmp_path / "d", 1400)
        image(tmp_path / "train" / "cat" / "1.jpg")
        assert find_class_tree(tmp_path) == tmp_path
        (tmp_path / "train").rename(tmp_path / "other")
        assert find_class_tree(tmp_path) is None
        (tmp_path / "d").rename(tmp_path / "train")
        assert find_class_tree(tmp_path) is None
    finally:
        # pytest's own clean-up goes down by recursion.
        subprocess.run(["rm", "-rf", tmp_path / "d", tmp_path / "train"], check=True)


def test_pipes_do_not_hold_it_up(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    os.mkfifo(tmp_path / "train" / "cat" / "1.jpg")
    os.mkfifo(tmp_path / "val")
    assert find_class_tree(tmp_path) is None


def test_splits_in_one_another_are_not_looked_through_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each level would have all levels below it searched for an image: 200 levels make 20,000 looks."""
    monkeypatch.setattr("runaudit.runs.class_tree.MAX_FOLDERS", 5_000)
    (tmp_path / "/".join(["train"] * 200)).mkdir(parents=True)
    with pytest.raises(DatasetError) as caught:
        find_class_tree(tmp_path)
    assert caught.value.error_code == "data_too_many_files"
