"""data.yaml in every form, and which of several is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from runaudit.errors import DatasetError, YamlError
from runaudit.runs.data_yaml import DataYaml, find_data_yaml, read_data_yaml


def read(tmp_path: Path, text: str) -> DataYaml:
    path = tmp_path / "data.yaml"
    path.write_text(text)
    return read_data_yaml(path, source="data.yaml")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: [a, b]", {0: "a", 1: "b"}),
        ("names:\n- a\n- b", {0: "a", 1: "b"}),
        ("names: {0: a, 1: b}", {0: "a", 1: "b"}),
        ("names:\n  1: b\n  0: a", {0: "a", 1: "b"}),
        ('names: {"0": a}', {0: "a"}),
        ("names: [no, 1e3, true, 007]", {0: "no", 1: "1e3", 2: "true", 3: "007"}),
        ("nc: 2", {0: "class_0", 1: "class_1"}),
        ("names:\nnc: '2'", {0: "class_0", 1: "class_1"}),
    ],
)
def test_names_in_every_form(tmp_path: Path, names: str, expected: dict[int, str]) -> None:
    assert read(tmp_path, f"train: t\n{names}\n").names == expected


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("train: t\nval: v\n", "data_yaml_no_names", "data.yaml:1"),
        ("train: t\nnames: []\n", "data_yaml_no_names", "data.yaml:2"),
        ("train: t\nnames: {}\n", "data_yaml_no_names", "data.yaml:2"),
        ("train: t\nnames:\n", "data_yaml_no_names", "data.yaml:2"),
        ("train: t\nnames: person\n", "data_yaml_names", "data.yaml:2"),
        ("train: t\nnames: {0: a, 2: b}\n", "data_yaml_names", "data.yaml:2"),
        ("train: t\nnames: {1: a, 2: b}\n", "data_yaml_names", "data.yaml:2"),
        ("train: t\nnames: {a: 0}\n", "data_yaml_names", "data.yaml:2"),
        ("train: t\nnames: {0: a, 00: b}\n", "data_yaml_names", "data.yaml:2"),
        ("train: t\nnames: {0: {b: c}}\n", "data_yaml_names", "data.yaml:2"),
        ("train: t\nnc: -1\n", "data_yaml_no_names", "data.yaml:2"),
        ("train: t\nnc: 1e9\n", "data_yaml_no_names", "data.yaml:2"),
        ("train: t\nnc: true\n", "data_yaml_no_names", "data.yaml:2"),
        ("train: t\nnc: 1.5\n", "data_yaml_no_names", "data.yaml:2"),
        ("names: [a]\n", "data_yaml_no_splits", "data.yaml:1"),
        ("names: [a]\ntrain:\nval: []\n", "data_yaml_no_splits", "data.yaml:1"),
        ("names: [a]\ntrain: 5\n", "data_yaml_path", "data.yaml:2"),
        ("names: [a]\nval: {a: b}\n", "data_yaml_path", "data.yaml:2"),
    ],
)
def test_a_yaml_that_contradicts_itself_is_an_error_with_a_place(
    tmp_path: Path, text: str, code: str, place: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, text)
    assert (caught.value.error_code, caught.value.place) == (code, place)


def test_splits_are_paths_or_lists_and_validation_is_val(tmp_path: Path) -> None:
    data = read(tmp_path, "path: ../d\nnames: [a]\ntrain: [x, y.txt]\nvalidation: v\ntest:\nkpt_shape: [17, 3]\n")
    assert data.splits == {"train": ("x", "y.txt"), "val": ("v",)}
    assert data.places == {"train": "data.yaml:3", "val": "data.yaml:4"}
    assert data.path == "../d"
    assert data.keypoint_values == 51


def test_another_number_of_classes_and_a_download_are_noted(tmp_path: Path) -> None:
    data = read(tmp_path, "names: [a]\nnc: 3\ntrain: t\ndownload: |\n  import os; os.system('touch x')\n")
    assert [(note.code, note.place) for note in data.notes] == [
        ("class_count_conflict", "data.yaml:2"),
        ("download_ignored", "data.yaml:4"),
    ]
    assert data.names == {0: "a"}


def write(root: Path, name: str, text: str = "names: [a]\ntrain: images\nval: images\n") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_the_data_yaml_is_found_among_others(tmp_path: Path) -> None:
    write(tmp_path, "run/args.yaml", "names: 1\ntrain: 2\n")
    write(tmp_path, "model.yaml", "nc: 80\nbackbone: []\n")
    write(tmp_path, "broken.yaml", "a: [")
    assert find_data_yaml(tmp_path) is None
    write(tmp_path, "cfg/set.yaml")
    assert find_data_yaml(tmp_path) == tmp_path / "cfg/set.yaml"
    write(tmp_path, "deep/er/data.yaml")
    assert find_data_yaml(tmp_path) == tmp_path / "deep/er/data.yaml"
    (tmp_path / "cfg/images").mkdir()
    assert find_data_yaml(tmp_path) == tmp_path / "cfg/set.yaml"
    write(tmp_path, "other.yaml")
    assert find_data_yaml(tmp_path, named="C:\\x\\other.yaml") == tmp_path / "other.yaml"
    assert find_data_yaml(tmp_path / "other.yaml") == tmp_path / "other.yaml"


def test_two_data_sets_of_equal_standing_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a/data.yaml")
    write(tmp_path, "b/data.yaml")
    with pytest.raises(DatasetError, match=r"a/data\.yaml, b/data\.yaml") as caught:
        find_data_yaml(tmp_path)
    assert caught.value.error_code == "several_data_yaml"


def test_a_broken_data_yaml_is_named(tmp_path: Path) -> None:
    write(tmp_path, "d/data.yaml", "names: [a]\ntrain: !!python/name:os.system x\n")
    with pytest.raises(YamlError) as caught:
        find_data_yaml(tmp_path)
    assert (caught.value.error_code, caught.value.place) == ("yaml_tag", "d/data.yaml:2")


@pytest.mark.parametrize(
    ("name", "text", "code", "place"),
    [
        ("data.yaml", "train: images\nnames: {0: a, 2: b}\n", "data_yaml_names", "d/data.yaml:2"),
        ("coco.yaml", "train: images\n\nnames: {1: a, 2: b}\n", "data_yaml_names", "d/coco.yaml:3"),
        ("coco.yaml", "val: images\nnames: []\n", "data_yaml_no_names", "d/coco.yaml:2"),
        ("data.yaml", "val: images\n", "data_yaml_no_names", "d/data.yaml:1"),
        ("data.yaml", "names: [a]\n", "data_yaml_no_splits", "d/data.yaml:1"),
        ("coco.yaml", "names: [a]\nval: 3\n", "data_yaml_path", "d/coco.yaml:2"),
    ],
)
def test_a_data_yaml_that_says_what_can_not_be_is_named(
    tmp_path: Path, name: str, text: str, code: str, place: str
) -> None:
    write(tmp_path, "d/model.yaml", "nc: 80\nbackbone: []\nhead: []\n")
    write(tmp_path, f"d/{name}", text)
    with pytest.raises(DatasetError) as caught:
        find_data_yaml(tmp_path)
    assert (caught.value.error_code, caught.value.place) == (code, place)


def test_of_several_that_can_not_be_read_the_likeliest_is_named(tmp_path: Path) -> None:
    for name in ("a.yaml", "data.yaml", "mine.yaml"):
        write(tmp_path, name, "val: images\nnames: {1: a}\n")
    for named, place in ((None, "data.yaml:2"), ("/elsewhere/mine.yaml", "mine.yaml:2")):
        with pytest.raises(DatasetError) as caught:
            find_data_yaml(tmp_path, named=named)
        assert caught.value.place == place
    write(tmp_path, "good.yaml", "val: images\nnames: [a]\n")
    assert find_data_yaml(tmp_path) == tmp_path / "good.yaml"


@pytest.mark.parametrize("text", ["nc: 80\nbackbone: []\n", "lr0: 0.01\n", "stages: {train: x}\n", "a: [\n"])
def test_yaml_of_another_kind_is_no_broken_data_yaml(tmp_path: Path, text: str) -> None:
    write(tmp_path, "other.yaml", text)
    assert find_data_yaml(tmp_path) is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [("flip_idx: [0, 2, 1]", (0, 2, 1)), ("flip_idx: []", None), ("flip_idx: x", None), ("flip_idx: [0, a]", None)],
)
def test_the_keypoints_and_their_mirror_images(tmp_path: Path, written: str, expected: tuple[int, ...] | None) -> None:
    data = read(tmp_path, f"names: [a]\ntrain: t\nkpt_shape: [3, 2]\n{written}\n")
    assert (data.keypoints, data.keypoint_values, data.flip_index) == (3, 6, expected)
