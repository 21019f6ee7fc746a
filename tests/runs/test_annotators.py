"""Several annotators' labels of the same images: which file belongs to which image, and what is counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.errors import DatasetError
from runaudit.runs.annotators import AnnotatorLabels, load_annotator, read_annotator, write_annotator
from runaudit.runs.facts import AnnotatorFacts, ImageEntry, ImageIndex

NAMES = {0: "cat", 1: "dog"}
BOX = "0.5 0.5 0.25 0.25"


def index(*files: str) -> ImageIndex:
    entries = [ImageEntry(file=file, split="val" if "val" in file else "train", width=8, height=8) for file in files]
    return ImageIndex(root="/data", images=tuple(entries))


def labels(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def read(folder: Path, images: ImageIndex) -> tuple[AnnotatorFacts, AnnotatorLabels]:
    return read_annotator("ada", folder, images, names=NAMES)


IMAGES = index("images/train/a.jpg", "images/train/b.png", "images/val/a.jpg", "images/val/c.v2.jpg")


def test_files_are_matched_by_their_path_below_the_split(tmp_path: Path) -> None:
    labels(tmp_path, train__a=f"0 {BOX}\n1 {BOX}\n", val__a=f"1 {BOX}\n", train__b="")
    (tmp_path / "val" / "c.v2.txt").write_text(f"0 {BOX}\n")
    facts, found = read(tmp_path, IMAGES)
    assert found.labels.image.tolist() == [0, 0, 2, 3]
    assert found.labels.cls.tolist() == [0, 1, 1, 0]
    assert found.annotated.tolist() == [0, 1, 2, 3]
    assert (facts.images, facts.labelled, facts.background, facts.not_annotated) == (4, 3, 1, 0)
    assert (facts.instances, facts.class_instances, facts.class_images) == (4, (2, 2), (2, 2))


@pytest.mark.parametrize("prefix", ["labels__", "labels__deep__", "export__obj__labels__", ""])
def test_other_layouts_too(tmp_path: Path, prefix: str) -> None:
    labels(tmp_path, **{f"{prefix}val__a": f"0 {BOX}"})
    assert read(tmp_path, IMAGES)[1].annotated.tolist() == [2]
    images = index("data/train/images/a.jpg", "data/val/images/a.jpg")
    assert read(tmp_path, images)[1].annotated.tolist() == [1]


def test_a_stem_that_only_one_image_has_is_enough(tmp_path: Path) -> None:
    labels(tmp_path, a=f"0 {BOX}", b=f"1 {BOX}", elsewhere=f"0 {BOX}", classes="cat\ndog\n")
    facts, found = read(tmp_path, IMAGES)
    # Two images are called a: nothing tells whose a.txt is.
    assert found.annotated.tolist() == [1]
    assert (facts.unmatched_files, facts.not_annotated) == (2, 3)


def test_another_splits_file_is_no_match(tmp_path: Path) -> None:
    labels(tmp_path, val__b=f"0 {BOX}", train__b=f"1 {BOX}")
    assert read(tmp_path, IMAGES)[1].labels.cls.tolist() == [1]
    (tmp_path / "train" / "b.txt").unlink()
    with pytest.raises(DatasetError):
        read(tmp_path, IMAGES)


def test_images_and_labels_may_be_called_images_and_labels(tmp_path: Path) -> None:
    labels(tmp_path, labels=f"0 {BOX}", images=f"1 {BOX}")
    assert read(tmp_path, index("images/images.jpg", "images/labels.jpg"))[1].labels.cls.tolist() == [1, 0]


def test_files_that_cannot_be_used_are_counted_with_their_line(tmp_path: Path) -> None:
    labels(tmp_path, train__a=f"0 {BOX}\n7 {BOX}\n", train__b="0 half of it", val__a=f"1 {BOX}")
    facts, found = read(tmp_path, IMAGES)
    assert (facts.images, facts.rejected, facts.not_annotated) == (1, 2, 1)
    assert found.annotated.tolist() == [2]
    assert [(note.code, note.place) for note in facts.notes] == [
        ("label_class_unknown", "ada/train/a.txt:2"),
        ("label_not_a_number", "ada/train/b.txt:1"),
    ]


def test_links_and_hidden_files_are_left_alone(tmp_path: Path) -> None:
    labels(tmp_path / "outside", secret=f"0 {BOX}")
    labels(tmp_path / "own", train__a=f"1 {BOX}", **{".hidden__b": f"0 {BOX}"})
    (tmp_path / "own" / "train" / "b.txt").symlink_to(tmp_path / "outside" / "secret.txt")
    assert read(tmp_path / "own", IMAGES)[1].annotated.tolist() == [0]


def test_labels_that_belong_to_nothing_are_an_error(tmp_path: Path) -> None:
    labels(tmp_path, other=f"0 {BOX}")
    with pytest.raises(DatasetError) as caught:
        read(tmp_path, IMAGES)
    assert (caught.value.error_code, caught.value.place) == ("labels_match_nothing", "ada")


def test_they_come_back_from_their_file(tmp_path: Path) -> None:
    labels(tmp_path, train__a=f"0 {BOX}", val__a="")
    found = read(tmp_path, IMAGES)[1]
    write_annotator(tmp_path / "labels.ada.safetensors", found)
    again = load_annotator(tmp_path / "labels.ada.safetensors")
    assert np.array_equal(again.annotated, found.annotated)
    for name in ("image", "cls", "box"):
        assert np.array_equal(getattr(again.labels, name), getattr(found.labels, name))


PATH = st.lists(st.sampled_from(["a", "b", "train", "val", "images", "labels", "x"]), min_size=1, max_size=4)


@given(st.lists(PATH, min_size=1, max_size=8, unique_by=tuple), st.lists(PATH, min_size=1, max_size=8, unique_by=tuple))
def test_a_file_is_never_given_to_two_images(images: list[list[str]], files: list[list[str]]) -> None:
    from runaudit.runs.annotators import _LabelFile, _matched, _parts  # noqa: PLC0415

    own = [_LabelFile(f"{'/'.join(file)}.txt", _parts(f"{'/'.join(file)}.txt")) for file in files]
    matched = _matched(own, index(*(f"{'/'.join(image)}.jpg" for image in images)))
    assert len(set(matched.values())) == len(matched)
    for number, file in matched.items():
        assert images[number][-1] == Path(file).stem
