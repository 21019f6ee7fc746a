"""Which files of a data set are packed, whatever paths its data.yaml holds."""

from __future__ import annotations

import os
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.client.data_packing import label_of, pack_data
from runaudit.errors import DatasetError, InputError, YamlError
from tests.client.test_packing import lay

IMAGES = {
    "images/train/a.jpg": b"a",
    "images/train/deep/b.PNG": b"b",
    "images/val/c.jpg": b"c",
    "images/test/d.jpg": b"d",
    "labels/train/a.txt": b"0 .5 .5 .1 .1",
    "labels/train/deep/b.txt": b"",
    "labels/val/c.txt": b"1 .5 .5 .1 .1",
    "labels/test/d.txt": b"",
    "labels/train.cache": b"pickle",
    "labels/val.cache": b"pickle",
    "images/train/notes.md": b"no image",
    "README.txt": b"no label",
}
PACKED = [
    "data.yaml",
    *("images/train/a.jpg", "images/train/deep/b.PNG", "images/val/c.jpg"),
    *("labels/train/a.txt", "labels/train/deep/b.txt", "labels/val/c.txt"),
]


def names(data: Path) -> list[str]:
    stream = BytesIO()
    pack_data(data, stream)
    with zipfile.ZipFile(stream) as opened:
        assert opened.testzip() is None
        return opened.namelist()


def described(folder: Path, text: str) -> Path:
    lay(folder, IMAGES)
    (folder / "data.yaml").write_text(text)
    return folder / "data.yaml"


@pytest.mark.parametrize(
    "text",
    [
        "train: images/train\nval: images/val\ntest: images/test\n",
        "path: .\ntrain: images/train\nval: images/val\n",
        "path: ''\ntrain: ./images/train\nval: ./images/val/\n",
        "train: ../images/train\nval: ../images/val\n",
        "path: /another/machine/data\ntrain: /another/machine/data/images/train\nval: images/val\n",
        "path: C:\\data\\set\ntrain: C:\\data\\set\\images\\train\nval: images\\val\n",
        "train: [images/train]\nval: [images/val]\n",
    ],
)
def test_images_and_labels_of_train_and_val_are_found(tmp_path: Path, text: str) -> None:
    assert names(described(tmp_path, text)) == PACKED


def test_the_folder_stands_for_its_data_yaml(tmp_path: Path) -> None:
    described(tmp_path, "train: images/train\nval: images/val\n")
    assert names(tmp_path) == PACKED


def test_an_absolute_path_of_this_machine_is_used(tmp_path: Path) -> None:
    lay(tmp_path / "set", IMAGES)
    description = tmp_path / "configs" / "set.yaml"
    description.parent.mkdir()
    description.write_text(f"path: {tmp_path / 'set'}\ntrain: images/train\nval: images/val\n")
    found = names(description)
    assert found == ["configs/set.yaml", *(f"set/{name}" for name in PACKED[1:])]


def test_a_path_beside_the_description_keeps_its_place(tmp_path: Path) -> None:
    lay(tmp_path / "set", IMAGES)
    description = tmp_path / "configs" / "set.yaml"
    description.parent.mkdir()
    description.write_text("path: ../set\ntrain: images/train\nval: images/val\n")
    assert names(description) == ["configs/set.yaml", *(f"set/{name}" for name in PACKED[1:])]


@pytest.mark.parametrize("where", ["yolov5/data", "yolov5/data/own", "project/configs"])
@pytest.mark.parametrize("text", ["path: ../datasets/set\ntrain: images/train\nval: images/val\n"])
def test_a_path_from_the_folder_that_training_was_started_in(
    tmp_path: Path, where: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As YOLOv5's data/coco128.yaml has it: its repository is where `path` begins, whatever folder one packs from."""
    lay(tmp_path / "datasets" / "set", IMAGES)
    description = tmp_path / where / "set.yaml"
    description.parent.mkdir(parents=True)
    description.write_text(text)
    monkeypatch.chdir("/")
    assert names(description) == [*(f"datasets/set/{name}" for name in PACKED[1:]), f"{where}/set.yaml"]


def test_lists_of_images_are_followed_and_packed(tmp_path: Path) -> None:
    lay(tmp_path, IMAGES)
    (tmp_path / "train.txt").write_text(f"./images/train/a.jpg\n\n{tmp_path}/images/train/deep/b.PNG\n./gone.jpg\n")
    (tmp_path / "val.txt").write_text("/elsewhere/images/val/c.jpg\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: val.txt\n")
    assert names(tmp_path / "data.yaml") == [*PACKED, "train.txt", "val.txt"]


def test_a_classification_set_is_its_folders(tmp_path: Path) -> None:
    lay(tmp_path, {"train/cat/a.jpg": b"a", "valid/dog/b.jpg": b"b", "test/dog/c.jpg": b"c", "train/cat.cache": b"p"})
    assert names(tmp_path) == ["train/cat/a.jpg", "valid/dog/b.jpg"]


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("names: [a]\n", "dataset_unreadable", "data.yaml"),
        ("train: images/none\nval: images/val\n", "data_not_found", "data.yaml:1"),
        ("names: [a]\ntrain: images/train\nval: gone\n", "data_not_found", "data.yaml:3"),
        ("train: 7\nval: {a: b}\n", "dataset_unreadable", "data.yaml"),
        ("train: [\n", "yaml_invalid", None),
        ("train: !!python/object/apply:os.system [id]\n", "yaml_tag", "data.yaml:1"),
    ],
)
def test_a_description_that_fits_nothing_is_refused_with_its_place(
    tmp_path: Path, text: str, code: str, place: str | None
) -> None:
    with pytest.raises(InputError) as caught:
        names(described(tmp_path, text))
    assert caught.value.error_code == code
    assert isinstance(caught.value, DatasetError | YamlError)
    if place is not None:
        assert caught.value.place == place


@pytest.mark.parametrize("files", [{}, {"a.yaml": b"", "b.yaml": b""}, {"val/readme.md": b"x"}, {"images/a.jpg": b"a"}])
def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    with pytest.raises(DatasetError):
        names(lay(tmp_path, files))


@pytest.mark.parametrize("name", ["secret", "secret.pem"])
def test_a_description_can_send_no_other_kind_of_file_away(tmp_path: Path, name: str) -> None:
    secret = tmp_path / name
    secret.write_bytes(b"private")
    lay(tmp_path / "set", {"images/a.jpg": b"a"})
    (tmp_path / "set" / "data.yaml").write_text(f"train: {secret}\nval: images\n")
    assert names(tmp_path / "set") == ["data.yaml", "images/a.jpg"]
    (tmp_path / "set" / "data.yaml").write_text("train: images\nval: images\n")
    (tmp_path / "set" / "images" / "b.jpg").symlink_to(secret)
    with pytest.raises(DatasetError, match="link") as caught:
        names(tmp_path / "set")
    assert caught.value.error_code == "link_disguised"


def test_links_between_images_are_followed(tmp_path: Path) -> None:
    lay(tmp_path, {"all/a.jpg": b"a", "images/train/b.jpg": b"b"})
    (tmp_path / "images" / "train" / "a.jpg").symlink_to(tmp_path / "all" / "a.jpg")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/train\n")
    assert names(tmp_path) == ["data.yaml", "images/train/a.jpg", "images/train/b.jpg"]


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    lay(tmp_path, {"images/a.jpg": b"a", "data.yaml": b"train: images\nval: images\n"})
    with open(os.fsencode(tmp_path) + b"/images/\xff.jpg", "wb") as image:  # noqa: PTH123
        image.write(b"b")
    with pytest.raises(InputError) as caught:
        names(tmp_path)
    assert caught.value.error_code == "file_name_invalid"


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/images/d/images/a.b.png", "/images/d/labels/a.b.txt"),
        ("/d/train/a.jpg", "/d/train/a.txt"),
        ("/d/myimages/a.jpg", "/d/myimages/a.txt"),
    ],
)
def test_labels_lie_where_the_framework_looks(image: str, label: str) -> None:
    assert label_of(image) == label


@settings(deadline=None)  # the first example pays for the import
@given(st.lists(st.sampled_from(["images", "labels", "train", "x"]), min_size=1, max_size=6))
def test_labels_lie_where_the_framework_looks_for_any_path(parts: list[str]) -> None:
    from ultralytics.data.utils import img2label_paths  # noqa: PLC0415

    image = f"/{'/'.join(parts)}/name.jpg"
    assert [label_of(image)] == img2label_paths([image])
