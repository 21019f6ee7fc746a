"""Walking is what os.walk does, but for depth."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from runaudit.runs.data_yaml import find_data_yaml
from runaudit.runs.folder_walk import walk
from runaudit.runs.image_files import list_images
from runaudit.runs.locate import find_run
from runaudit.runs.paths import Found, Paths
from tests.runs.test_class_tree import deep_folder, image


def test_as_os_walk(tmp_path: Path) -> None:
    for folder in ("a/b/c", "a/d", "e", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file.txt").touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "e")
    (tmp_path / "a" / "circle").symlink_to("circle")
    (tmp_path / "a" / "nowhere").symlink_to("nothing")
    os.mkfifo(tmp_path / "e" / "pipe")
    assert list(walk(tmp_path)) == list(os.walk(tmp_path, followlinks=False))
    assert list(walk(tmp_path / "missing")) == []


def test_what_is_removed_is_not_walked(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c" / "d").mkdir(parents=True)
    seen = []
    for folder, subfolders, _ in walk(tmp_path):
        seen.append(Path(folder).name)
        subfolders[:] = sorted(name for name in subfolders if name != "a")
    assert seen == [tmp_path.name, "c", "d"]


def test_readers_take_trees_deeper_than_the_stack(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("epoch\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat]\n")
    image(tmp_path / "images" / "1.jpg")
    try:
        deep_folder(tmp_path / "images" / "deep", 1400)
        assert sum(1 for _ in walk(tmp_path)) > 1000
        assert find_run(tmp_path).has_results
        assert find_data_yaml(tmp_path) == tmp_path / "data.yaml"
        paths = Paths(tmp_path)
        assert paths.find("elsewhere/images", [tmp_path / "nowhere"]) is not None
        images, _ = list_images([Found(tmp_path / "images", "as_written")], paths)
        assert [found.name for found in images] == ["1.jpg"]
        (tmp_path / "images" / "deep").rename(tmp_path / "deep")
        assert find_run(tmp_path).has_results
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "images" / "deep", tmp_path / "deep"], check=True)
