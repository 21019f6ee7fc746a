"""Where written paths lead: below the root only, unless it is one's own machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from runaudit.errors import DatasetError
from runaudit.runs.paths import Found, Paths, is_image, label_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("set/train/images/a.jpg", "set/valid/images/b.jpg", "set/labels/x.txt", "set/lists/train.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "set/data.yaml").touch()
    return root.resolve()


@pytest.mark.parametrize(
    ("written", "found", "how", "matched"),
    [
        ("train/images", "set/train/images", "as_written", 0),
        ("./train/images/", "set/train/images", "as_written", 0),
        ("train\\images", "set/train/images", "as_written", 0),
        ("../train/images", "set/train/images", "as_written", 0),
        ("../set/valid/images", "set/valid/images", "as_written", 0),
        ("/content/drive/valid/images", "set/valid/images", "by_suffix", 2),
        ("D:\\work\\set\\valid\\images", "set/valid/images", "by_suffix", 3),
        ("C:valid/images", "set/valid/images", "by_suffix", 2),
        ("../../../../elsewhere/train", "set/train", "by_suffix", 1),
        ("/x/lists/train.txt", "set/lists/train.txt", "by_suffix", 2),
    ],
)
def test_paths_written_elsewhere_are_found_by_their_longest_suffix(
    root: Path, written: str, found: str, how: str, matched: int
) -> None:
    hit = Paths(root).find(written, [root / "set"])
    assert hit is not None
    assert (hit.path, hit.how, hit.matched) == (root / found, how, matched)


def test_a_split_is_not_taken_for_another(root: Path) -> None:
    assert Paths(root).find("../test/images", [root / "set"]) is None


@pytest.mark.parametrize(
    "written",
    ["", " ", "missing", "/x/labels", "http://host/train/images", "a\0b", "x" * 5000, "x" * 300, "../../..", "/", "~"],
)
def test_paths_that_lead_nowhere_are_none(root: Path, written: str) -> None:
    assert Paths(root).find(written, [root / "set"]) is None


def test_two_equally_long_matches_are_an_error(root: Path) -> None:
    (root / "set/valid/images/b.jpg").rename(root / "set/b.jpg")
    (root / "set/all/images").mkdir(parents=True)
    (root / "set/b.jpg").rename(root / "set/all/images/b.jpg")
    with pytest.raises(DatasetError, match="set/all/images, set/train/images") as caught:
        Paths(root).find("/mnt/images", [root / "set"])
    assert caught.value.error_code == "data_path_ambiguous"


def test_an_existing_folder_of_the_host_is_never_read(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "host" / "secret"
    outside.mkdir(parents=True)
    (outside / "a.jpg").touch()
    for written in (str(outside), "../../host/secret", "../host/secret"):
        assert Paths(root).find(written, [root / "set", root]) is None
    assert Paths(root, own_machine=True).find(str(outside), []) == Found(outside, "as_written")
    assert Paths(root, own_machine=True).find("../../host/secret", [root / "set"]) == Found(outside, "as_written")


def test_links_out_of_the_root_are_refused_and_links_inside_are_not(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "host"
    outside.mkdir()
    (outside / "a.jpg").touch()
    (root / "set" / "out").symlink_to(outside)
    (root / "set" / "in").symlink_to(root / "set" / "train" / "images")
    (root / "set" / "loop").symlink_to(root / "set" / "loop")
    (root / "set" / "train" / "images" / "link.jpg").symlink_to(outside / "a.jpg")
    paths = Paths(root)
    assert paths.find("out", [root / "set"]) is None
    assert paths.find("out/a.jpg", [root / "set"]) is None
    assert paths.find("loop", [root / "set"]) is None
    assert paths.find("in", [root / "set"]) == Found(root / "set" / "in", "as_written")
    assert not paths.allows_file(str(root / "set/train/images"), "link.jpg")
    assert paths.allows_file(str(root / "set/train/images"), "a.jpg")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/images/d/images/a.b.png", "/images/d/labels/a.b.txt"),
        ("/d/imgs/a.jpg", "/d/imgs/a.txt"),
        ("/d/Images/a.jpg", "/d/Images/a.txt"),
        ("/d/images_new/a.jpg", "/d/images_new/a.txt"),
    ],
)
def test_labels_lie_where_the_framework_looks_for_them(image: str, label: str) -> None:
    assert label_path(image) == label


def test_images_are_told_by_their_suffix_and_hidden_files_are_none() -> None:
    assert [name for name in ("a.jpg", "a.JPG", "a.webp", "._a.jpg", "a.txt", "jpg", "a.gif") if is_image(name)] == [
        "a.jpg",
        "a.JPG",
        "a.webp",
    ]
