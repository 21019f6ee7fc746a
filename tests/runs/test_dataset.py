"""Whole data sets: splits, counts, what is left out, and what is never opened."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runaudit.errors import DatasetError
from runaudit.runs.dataset import LabelArrays, read_dataset
from runaudit.runs.facts import DatasetFacts, ImageIndex, Note


def image(path: Path, size: tuple[int, int] = (32, 24)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)
    return path


def label(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def sample(root: Path, split: str, name: str, text: str | None = "0 0.5 0.5 0.2 0.2\n") -> None:
    image(root / split / "images" / f"{name}.jpg")
    if text is not None:
        label(root / split / "labels" / f"{name}.txt", text)


def read(
    root: Path, yaml: str = "", *, own_machine: bool = False, place: str = "data.yaml"
) -> tuple[DatasetFacts, ImageIndex, LabelArrays]:
    path = root / place
    if yaml:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml)
    return read_dataset(root, path, own_machine=own_machine)


def codes(notes: tuple[Note, ...]) -> list[str]:
    return [note.code for note in notes]


YAML = "names: [cat, dog]\ntrain: ../train/images\nval: ../valid/images\n"


def test_a_roboflow_export_is_counted_split_by_split(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a", "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.1 0.1\n0 0.2 0.2 0.1 0.1\n")
    sample(tmp_path, "train", "b", "")
    sample(tmp_path, "train", "c", None)
    sample(tmp_path, "train", "d", "5 0.5 0.5 0.2 0.2\n")
    sample(tmp_path, "valid", "e", "1 0.5 0.5 0.2 0.2\n")
    facts, index, labels = read(tmp_path, YAML)
    train, val = facts.splits["train"], facts.splits["val"]
    assert (train.images, train.labelled, train.background, train.missing_labels) == (3, 1, 2, 1)
    assert (train.rejected, train.instances) == (1, 3)
    assert (train.class_instances, train.class_images) == ((2, 1), (1, 1))
    assert (train.notes[0].code, train.notes[0].place) == ("label_class_unknown", "train/labels/d.txt:1")
    assert (val.images, val.class_instances, val.source) == (1, (0, 1), "data.yaml:3")
    assert [(entry.file, entry.split) for entry in index.images] == [
        ("train/images/a.jpg", "train"),
        ("train/images/b.jpg", "train"),
        ("train/images/c.jpg", "train"),
        ("valid/images/e.jpg", "val"),
    ]
    assert (index.images[0].width, index.images[0].height) == (32, 24)
    assert labels.image.tolist() == [0, 0, 0, 3]
    assert labels.cls.tolist() == [0, 1, 0, 1]
    np.testing.assert_allclose(labels.box[3], [0.5, 0.5, 0.2, 0.2])
    assert facts.names == {0: "cat", 1: "dog"}


def test_images_that_the_framework_drops_are_rejected_with_a_place(tmp_path: Path) -> None:
    sample(tmp_path, "train", "good")
    image(tmp_path / "train/images/small.png", (9, 40))
    (tmp_path / "train/images/broken.jpg").write_bytes(b"\xff\xd8 no jpeg")
    (tmp_path / "train/images/empty.jpg").touch()
    os.mkfifo(tmp_path / "train/images/pipe.jpg")
    facts, index, _ = read(tmp_path, YAML.replace("../valid", "../train"))
    train = facts.splits["train"]
    assert (train.images, train.rejected) == (1, 3)
    assert {(note.code, note.place) for note in train.notes} == {
        ("image_too_small", "train/images/small.png"),
        ("image_unreadable", "train/images/broken.jpg"),
        ("image_unreadable", "train/images/empty.jpg"),
    }
    assert [entry.split for entry in index.images] == ["train", "val"]


def test_many_notes_are_capped_and_counted(tmp_path: Path) -> None:
    sample(tmp_path, "train", "good")
    for number in range(30):
        sample(tmp_path, "train", f"bad{number}", "7 0.5 0.5 0.2 0.2\n")
    facts, _, _ = read(tmp_path, "names: [a]\ntrain: train/images\n")
    train = facts.splits["train"]
    assert train.rejected == 30
    assert len(train.notes) == 21
    assert train.notes[-1].detail == "10 more images of this kind."


class Canary:
    """What a hostile cache would do if it were opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_caches_are_noted_and_not_opened_and_a_download_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "executed"
    root = tmp_path / "root"
    sample(root, "train", "a")
    sample(root, "valid", "b")
    for name in ("train/labels.cache", "valid/labels/val.cache"):
        (root / name).write_bytes(pickle.dumps(Canary(canary)))
    facts, _, _ = read(root, YAML + f"download: |\n  import os; os.mkdir({str(canary)!r})\n")
    assert [(note.code, note.place) for note in facts.splits["train"].notes] == [
        ("label_cache_ignored", "train/labels.cache")
    ]
    assert [(note.code, note.place) for note in facts.splits["val"].notes] == [
        ("label_cache_ignored", "valid/labels/val.cache")
    ]
    assert "download_ignored" in codes(facts.notes)
    assert not canary.exists()


def test_a_path_of_the_host_reads_nothing_there(tmp_path: Path) -> None:
    host = tmp_path / "host"
    sample(host, "train", "secret")
    root = tmp_path / "root"
    sample(root, "set/train", "mine")
    yaml = f"path: {host}\nnames: [a]\ntrain: train/images\nval: {host}/train/images\n"
    facts, index, _ = read(root, yaml)
    assert [entry.file for entry in index.images] == ["set/train/images/mine.jpg"] * 2
    assert set(codes(facts.notes)) == {"path_matched_by_suffix"}
    (root / "set/train/images/mine.jpg").unlink()
    with pytest.raises(DatasetError) as caught:
        read(root, yaml)
    assert (caught.value.error_code, caught.value.place) == ("data_split_missing", "data.yaml:3")


@pytest.mark.timeout(20)
def test_pipes_where_files_should_be_are_not_waited_for(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a", text=None)
    (tmp_path / "train/labels").mkdir()
    for name in ("list.txt", "train/labels/a.txt", "other.yaml", "train/labels.cache"):
        os.mkfifo(tmp_path / name)
    facts, index, _ = read(tmp_path, "names: [a]\ntrain: train/images\nval: list.txt\n", own_machine=True)
    assert [entry.file for entry in index.images] == ["train/images/a.jpg"]
    assert codes(facts.notes) == ["list_unreadable", "data_no_images"]
    assert "it is no regular file" in facts.notes[0].detail


@pytest.mark.parametrize("where", ["yolov5/data", "yolov5/data/own", "project/configs"])
@pytest.mark.parametrize(
    "written",
    ["path: ../datasets\nval: valid/images", "val: ../datasets/valid/images", "path: ../datasets\nval: list.txt"],
)
def test_paths_may_begin_in_the_folder_that_training_was_started_in(tmp_path: Path, where: str, written: str) -> None:
    """As in YOLOv5's data/coco128.yaml; the data set then lies beside the repository."""
    sample(tmp_path / "datasets", "valid", "a")
    (tmp_path / "datasets" / "list.txt").write_text("./valid/images/a.jpg\n")
    facts, index, labels = read(tmp_path / where, f"names: [a]\n{written}\n", own_machine=True)
    assert (Path(index.root) / index.images[0].file).is_file()
    assert (len(index.images), len(labels.cls), facts.splits["val"].missing_labels) == (1, 1, 0)
    assert facts.notes == ()
    with pytest.raises(DatasetError):
        read(tmp_path / where, "", own_machine=False)
    facts, index, _ = read(tmp_path, "", own_machine=False, place=f"{where}/data.yaml")
    assert [entry.file for entry in index.images] == ["datasets/valid/images/a.jpg"]


def test_on_ones_own_machine_absolute_paths_may_leave_the_folder(tmp_path: Path) -> None:
    sample(tmp_path / "elsewhere", "train", "a")
    sample(tmp_path / "beside", "valid", "b")
    yaml = f"names: [a]\ntrain: {tmp_path}/elsewhere/train/images\nval: ../../beside/valid/images\n"
    root = tmp_path / "project" / "cfg"
    _, index, labels = read(root, yaml, own_machine=True)
    assert index.root == str(tmp_path)
    assert [entry.file for entry in index.images] == ["elsewhere/train/images/a.jpg", "beside/valid/images/b.jpg"]
    assert len(labels.cls) == 2
    with pytest.raises(DatasetError):
        read(root, yaml)


def test_links_out_of_the_root_are_not_followed(tmp_path: Path) -> None:
    host = tmp_path / "host"
    sample(host, "train", "secret")
    root = tmp_path / "root"
    sample(root, "train", "mine", None)
    (root / "train/images/link.jpg").symlink_to(host / "train/images/secret.jpg")
    (root / "train/labels").symlink_to(host / "train/labels")
    (root / "train/images/mine2.jpg").symlink_to(root / "train/images/mine.jpg")
    label(host / "train/labels/mine.txt", "0 0.5 0.5 0.2 0.2\n")
    facts, index, labels = read(root, "names: [a]\ntrain: train/images\nval: valid/images\n")
    assert [entry.file for entry in index.images] == ["train/images/mine.jpg", "train/images/mine2.jpg"]
    assert len(labels.cls) == 0
    assert "link_refused" in codes(facts.notes)
    assert codes(facts.splits["train"].notes) == ["link_refused"]


def test_lists_name_images_in_every_way(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "d"):
        sample(tmp_path, "set", name)
    (tmp_path / "set/train.txt").write_text(
        "\ufeff./images/a.jpg\nset/images/b.jpg\r\n/home/me/data/set/images/c.jpg\nC:\\data\\set\\images\\d.jpg\n"
        "./images/absent.jpg\n\nnotes\n"
    )
    facts, index, _ = read(tmp_path, "names: [a]\ntrain: set/train.txt\nval: [set/images, nowhere]\n")
    assert [Path(entry.file).stem for entry in index.images if entry.split == "train"] == ["a", "b", "c", "d"]
    assert facts.splits["val"].images == 4
    assert [(note.code, note.place) for note in facts.notes] == [
        ("data_split_missing", "data.yaml:3"),
        ("list_images_missing", "set/train.txt:5"),
    ]


def test_splits_that_only_share_the_end_of_their_path_are_not_taken_for_the_same(tmp_path: Path) -> None:
    sample(tmp_path, "set", "a")
    facts, _, _ = read(tmp_path, "names: [a]\ntrain: /x/train/images\nval: /x/valid/images\n")
    assert list(facts.splits) == ["val"]
    assert [note.place for note in facts.notes if note.code == "data_split_missing"] == ["data.yaml:2"]
    same, _, _ = read(tmp_path, "names: [a]\ntrain: /x/all/images/\nval: /x/all/images\n")
    assert list(same.splits) == ["train", "val"]


def test_a_missing_validation_split_is_a_note_if_there_is_another(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a")
    (tmp_path / "valid/images").mkdir(parents=True)
    facts, _, _ = read(tmp_path, YAML + "test: ../test/images\n")
    assert list(facts.splits) == ["train"]
    assert [(note.code, note.place) for note in facts.notes] == [
        ("data_split_missing", "data.yaml:4"),
        ("data_no_images", "data.yaml:3"),
    ]


@pytest.mark.parametrize(
    ("folders", "code", "place"),
    [([], "data_split_missing", "data.yaml:2"), (["t", "v"], "data_no_images", "data.yaml:2")],
)
def test_no_usable_split_is_an_error(tmp_path: Path, folders: list[str], code: str, place: str) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, "names: [a]\ntrain: t\nval: v\n")
    assert (caught.value.error_code, caught.value.place) == (code, place)


def test_images_without_labels_are_background(tmp_path: Path) -> None:
    image(tmp_path / "imgs/a.jpg")
    facts, _, labels = read(tmp_path, "names: [a]\nval: imgs\n")
    val = facts.splits["val"]
    assert (val.images, val.background, val.missing_labels, val.instances) == (1, 1, 1, 0)
    assert labels.box.shape == (0, 4)


def test_segments_and_keypoints_are_read_as_boxes(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a", "0 0.1 0.2 0.5 0.2 0.5 0.8\n")
    facts, _, labels = read(tmp_path, "names: [a]\ntrain: train/images\n")
    np.testing.assert_allclose(labels.box, [[0.3, 0.5, 0.4, 0.6]])
    assert codes(facts.splits["train"].notes) == ["label_polygons"]
    sample(tmp_path, "train", "a", "0 0.5 0.5 0.2 0.2 0.1 0.1 2\n")
    _, _, labels = read(tmp_path, "names: [a]\ntrain: train/images\nkpt_shape: [1, 3]\n")
    np.testing.assert_allclose(labels.box, [[0.5, 0.5, 0.2, 0.2]])


def test_progress_counts_all_images(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a")
    sample(tmp_path, "valid", "b")
    (tmp_path / "data.yaml").write_text(YAML)
    seen: list[tuple[int, int]] = []
    read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False, on_progress=lambda *step: seen.append(step))
    assert seen == [(1, 2), (2, 2)]


def test_a_large_label_file_is_left_out(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a", "0 0.5 0.5 0.2 0.2\n" * 1_000_000)
    sample(tmp_path, "train", "b")
    facts, _, _ = read(tmp_path, "names: [a]\ntrain: train/images\n")
    assert facts.splits["train"].rejected == 1
    assert codes(facts.splits["train"].notes) == ["label_too_large"]


def test_boxes_that_reach_beyond_their_image_are_counted_and_those_at_its_edge_are_not(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a", "0 0.9 0.5 0.2 0.2\n0 0.2 0.2 0.6 0.7\n0 0.5 0.95 0.1 0.13\n0 0.505 0.5 1.0 1.0\n")
    facts, _, _ = read(tmp_path, "names: [a]\ntrain: train/images\n")
    assert (facts.splits["train"].instances, facts.splits["train"].overhanging_boxes) == (4, 2)


def test_the_headers_of_a_split_are_counted(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sample(tmp_path, "train", name)
    folder = tmp_path / "train/images"
    turned = Image.Exif()
    turned[274] = 6
    Image.new("RGB", (32, 24)).save(folder / "turned.jpg", exif=turned.tobytes())
    Image.new("L", (32, 24)).save(folder / "grey.png")
    Image.new("I;16", (32, 24)).save(folder / "deep.png")
    Image.new("RGBA", (32, 24)).save(folder / "clear.webp", lossless=True)
    Image.new("CMYK", (32, 24)).save(folder / "print.jpg")
    whole = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[:-40])
    (folder / "padded.jpg").write_bytes(whole + bytes(20))
    facts, index, _ = read(tmp_path, "names: [a]\ntrain: train/images\n")
    census = facts.splits["train"].image_census
    assert census is not None and census.images == 9
    assert {entry.file: entry.orientation for entry in index.images}["train/images/turned.jpg"] == 6
    assert sum(entry.orientation for entry in index.images) == 6 + 8
    assert census.formats == {"JPEG": 6, "PNG": 2, "WEBP": 1}
    assert census.channels == {"colour": 5, "grey": 2, "colour_alpha": 1, "cmyk": 1}
    assert census.bits == {8: 8, 16: 1}
    assert (census.orientations, census.turned) == ({1: 8, 6: 1}, 1)
    assert census.unfinished == 1


def test_class_ids_are_counted_as_written_and_rejections_by_reason(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a", "0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0 0.2\n")
    sample(tmp_path, "train", "b", "7 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n")
    sample(tmp_path, "train", "c", "0 5 0.5 0.2 0.2\n")
    image(tmp_path / "train/images/small.png", (9, 40))
    (tmp_path / "train/labels.cache").write_bytes(b"")
    train = read(tmp_path, "names: [a, b]\ntrain: train/images\n")[0].splits["train"]
    assert train.label_ids == {0: 3, 1: 2, 7: 1}
    assert train.rejected_by == {"label_class_unknown": 1, "label_out_of_bounds": 1, "image_too_small": 1}
    assert (train.rejected, train.duplicate_rows, train.zero_area_rows) == (3, 1, 1)
    assert train.caches == ("train/labels.cache",)


def test_single_cls_takes_all_classes_for_one(tmp_path: Path) -> None:
    """As the framework: no id is too high, rows are compared before classes become one, negatives stay out."""
    sample(tmp_path, "train", "a", "0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2\n")
    sample(tmp_path, "train", "b", "7 0.5 0.5 0.2 0.2\n")
    sample(tmp_path, "train", "c", "3000000000 0.5 0.5 0.2 0.2\n")
    sample(tmp_path, "train", "d", "-1 0.5 0.5 0.2 0.2\n")
    (tmp_path / "data.yaml").write_text("names: [a, b]\ntrain: train/images\n")
    facts, _, labels = read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False, single_cls=True)
    train = facts.splits["train"]
    assert (facts.names, facts.single_cls) == ({0: "item"}, True)
    assert labels.cls.tolist() == [0, 0, 0, 0]
    assert (train.class_instances, train.class_images, train.instances) == ((4,), (3,), 4)
    assert (train.rejected_by, train.duplicate_rows) == ({"label_negative": 1}, 1)
    assert train.label_ids == {0: 1, 1: 2, 7: 1}


def test_the_one_class_of_a_single_cls_training_keeps_its_name(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a")
    (tmp_path / "data.yaml").write_text("names: [ship]\ntrain: train/images\n")
    facts, _, _ = read_dataset(tmp_path, tmp_path / "data.yaml", own_machine=False, single_cls=True)
    assert facts.names == {0: "ship"}


def test_ids_of_garbage_are_capped(tmp_path: Path) -> None:
    sample(tmp_path, "train", "a", "".join(f"{number} 0.5 0.5 0.2 0.2\n" for number in range(3000)))
    train = read(tmp_path, "names: [a]\ntrain: train/images\n")[0].splits["train"]
    assert len(train.label_ids) == 1000
