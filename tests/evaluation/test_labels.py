"""Which labels of a split are used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runaudit.errors import DatasetError
from runaudit.evaluation.labels import labelled_images
from tests.evaluation.jobs import Picture, write_data

ROW = (0.5, 0.5, 0.2, 0.4)
PICTURES = [
    Picture("b.jpg", [(0, *ROW), (3, *ROW)], size=(10, 10)),
    Picture("train.jpg", [(1, *ROW)] * 5, split="train", size=(10, 10)),
    Picture("empty.jpg", size=(10, 10)),
    Picture("a.jpg", [(1, *ROW)], size=(10, 10)),
]


def test_labels_follow_the_images_in_the_order_of_paths(tmp_path: Path) -> None:
    index, labels = write_data(tmp_path, PICTURES)
    found = labelled_images(index, labels, "val", classes=4, single_cls=False)
    assert [entry.file for entry in found.entries] == ["a.jpg", "b.jpg", "empty.jpg"]
    assert found.entry.tolist() == [3, 0, 2]
    assert found.start.tolist() == [0, 1, 3, 3]
    assert found.cls.tolist() == [1, 0, 3]
    assert found.box[0] == pytest.approx([0.4, 0.3, 0.6, 0.7])
    assert (found.unknown, found.most_in_an_image) == (0, 2)


def test_classes_that_the_network_does_not_know_are_left_out_and_counted(tmp_path: Path) -> None:
    index, labels = write_data(tmp_path, PICTURES)
    found = labelled_images(index, labels, "val", classes=2, single_cls=False)
    assert found.cls.tolist() == [1, 0]
    assert found.unknown == 1


def test_single_cls_makes_all_classes_one(tmp_path: Path) -> None:
    index, labels = write_data(tmp_path, PICTURES)
    found = labelled_images(index, labels, "val", classes=1, single_cls=True)
    assert found.cls.tolist() == [0, 0, 0]
    assert found.cls.dtype == np.int32


@pytest.mark.parametrize(
    ("pictures", "classes"),
    [([], 4), ([PICTURES[1]], 4), ([PICTURES[2]], 4), ([Picture("b.jpg", [(7, *ROW)], size=(10, 10))], 4)],
    ids=["no images", "no validation images", "no labels", "only unknown classes"],
)
def test_nothing_to_measure_against(tmp_path: Path, pictures: list[Picture], classes: int) -> None:
    index, labels = write_data(tmp_path, pictures)
    with pytest.raises(DatasetError) as raised:
        labelled_images(index, labels, "val", classes=classes, single_cls=False)
    assert raised.value.error_code == "no_labelled_validation_images"
