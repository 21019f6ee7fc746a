"""Label files that stand where the framework doesn't look."""

from __future__ import annotations

from pathlib import Path

from tests.runs.test_dataset import image, label, read, sample

YAML = "names: [cat, dog]\ntrain: train/images\nval: val/images\n"


def test_labels_in_another_folder_are_counted_and_named(tmp_path: Path) -> None:
    for number in range(4):
        sample(tmp_path, "train", f"t{number}")
        image(tmp_path / "val/images" / f"v{number}.jpg")
    for number in range(3):
        label(tmp_path / "val/labels_new" / f"v{number}.txt", "0 0.5 0.5 0.1 0.1\n")
    facts, _, _ = read(tmp_path, YAML)
    val, train = facts.splits["val"], facts.splits["train"]
    assert (val.missing_labels, val.stray_labels, val.stray_folders) == (4, 3, ("val/labels_new/*.txt",))
    assert (train.missing_labels, train.stray_labels, train.stray_folders) == (0, 0, ())


def test_labels_that_were_never_converted_are_found_too(tmp_path: Path) -> None:
    image(tmp_path / "val/images/a.jpg")
    image(tmp_path / "val/images/b.jpg")
    label(tmp_path / "Annotations/a.xml", "<annotation/>")
    label(tmp_path / "val/images/b.json", "{}")
    val = read(tmp_path, YAML)[0].splits["val"]
    assert val.stray_labels == 2
    assert set(val.stray_folders) == {"Annotations/*.xml", "val/images/*.json"}


def test_a_label_of_the_same_name_that_another_split_uses_is_no_stray(tmp_path: Path) -> None:
    sample(tmp_path, "train", "0001")
    image(tmp_path / "val/images/0001.jpg")
    val = read(tmp_path, YAML)[0].splits["val"]
    assert (val.missing_labels, val.stray_labels) == (1, 0)


def test_an_image_with_two_strays_counts_once_and_links_are_not_followed(tmp_path: Path) -> None:
    image(tmp_path / "val/images/a.jpg")
    label(tmp_path / "one/a.txt", "")
    label(tmp_path / "two/a.txt", "")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    label(outside / "b.txt", "")
    image(tmp_path / "val/images/b.jpg")
    (tmp_path / "linked").symlink_to(outside, target_is_directory=True)
    assert read(tmp_path, YAML)[0].splits["val"].stray_labels == 1


def test_on_ones_own_machine_only_the_data_set_is_searched(tmp_path: Path) -> None:
    """Images outside of data.yaml's folder: a label beside the data set's folder is none of its own."""
    image(tmp_path / "set/images/a.jpg")
    image(tmp_path / "set/images/b.jpg")
    label(tmp_path / "set/lost/a.txt", "")
    label(tmp_path / "other/b.txt", "")
    (tmp_path / "configuration").mkdir()
    yaml = f"names: [a]\nval: {tmp_path}/set/images\n"
    (tmp_path / "configuration/data.yaml").write_text(yaml)
    facts, _, _ = read(tmp_path / "configuration", own_machine=True)
    assert facts.splits["val"].stray_labels == 1
