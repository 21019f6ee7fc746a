"""Batches and placements against the framework's own data set and letterbox."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.evaluation.batches import Batch, frames, place, rectangular_batches, rounded_size, within_memory
from runaudit.evaluation.framework import framework
from runaudit.evaluation.protocol import YOLOV5

SIDES = st.integers(10, 3000)


def by_the_framework(sizes: np.ndarray, imgsz: int, stride: int) -> list[Batch]:
    """The batches of the framework's `set_rectangle`."""
    framework()
    data_set: Any = object.__new__(import_module("ultralytics.data.base").BaseDataset)
    data_set.ni, data_set.batch_size, data_set.imgsz, data_set.stride, data_set.pad = len(sizes), 16, imgsz, stride, 0.5
    data_set.im_files = list(range(len(sizes)))
    data_set.labels = [{"shape": tuple(size)} for size in sizes.tolist()]
    data_set.set_rectangle()
    members = np.array(data_set.im_files)
    return [
        Batch(tuple(members[data_set.batch == number].tolist()), tuple(shape))
        for number, shape in enumerate(data_set.batch_shapes.tolist())
    ]


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=70),
    imgsz=st.sampled_from([32, 160, 320, 640, 1280]),
    stride=st.sampled_from([32, 64]),
)
def test_batches_are_the_framework_s(sizes: list[tuple[int, int]], imgsz: int, stride: int) -> None:
    array = np.array(sizes, dtype=np.int64)
    assert rectangular_batches(array, imgsz, stride) == by_the_framework(array, imgsz, stride)


@settings(max_examples=100, deadline=None)
@given(width=SIDES, height=SIDES, imgsz=st.sampled_from([32, 160, 640]), rect=st.booleans())
def test_placement_is_the_framework_s(width: int, height: int, imgsz: int, rect: bool) -> None:
    sizes = np.array([(height, width)])
    shape = rectangular_batches(sizes, imgsz, 32)[0].shape if rect else (imgsz // 2 + 16, imgsz)
    placement = place(width, height, imgsz, shape)
    framework()
    letterbox = import_module("ultralytics.data.augment").LetterBox(new_shape=imgsz, scaleup=False)
    resized = np.zeros((placement.resized[1], placement.resized[0], 3), np.uint8)
    theirs = letterbox.get_params({"img": resized, "rect_shape": np.array(shape)})
    assert (placement.left, placement.top) == (theirs["left"], theirs["top"])
    assert placement.inner == tuple(theirs["new_unpad"])
    assert placement.left + placement.inner[0] + theirs["right"] == shape[1]
    assert placement.top + placement.inner[1] + theirs["bottom"] == shape[0]


def test_a_large_batch_comes_in_parts_of_its_own_shape() -> None:
    large, small = Batch((4, 2, 0, 1, 3), (8192, 4096)), Batch(tuple(range(16)), (1312, 1312))
    parts = within_memory([large, small])
    assert parts == [Batch((4, 2), large.shape), Batch((0, 1), large.shape), Batch((3,), large.shape), small]
    assert within_memory([large], most_pixels=1) == [Batch((image,), large.shape) for image in large.images]


def test_placement_by_yolov5() -> None:
    """No cap on a side that rounding makes longer than imgsz, and margins that may be half pixels."""
    placement = place(100, 60, 64, (64, 96), YOLOV5)
    assert (placement.resized, placement.left, placement.top) == ((64, 39), 16, 12)
    assert (placement.offset_x, placement.offset_y) == (16, 12.5)
    assert frames((placement,))[1].tolist() == [[16, 12.5, 16, 12.5]]
    over = next(side for side in range(100, 5000) if side * (640 / side) > 640)
    assert place(over, 50, 640, (64, 672), YOLOV5).resized[0] == 641
    assert place(over, 50, 640, (64, 672)).resized[0] == 640


def test_frames_put_a_box_where_the_image_lies() -> None:
    placement = place(200, 100, 64, (64, 96))
    gains, offsets = frames((placement,))
    whole = np.array([[0, 0, 200, 100]]) * gains + offsets
    left, top = placement.left, placement.top
    assert whole.tolist() == [[left, top, left + placement.inner[0], top + placement.inner[1]]]


@pytest.mark.parametrize(("written", "used"), [(640, 640), (641, 672), (1, 32), (100, 128)])
def test_sizes_are_multiples_of_32(written: int, used: int) -> None:
    assert rounded_size(written) == used
    assert import_module("ultralytics.utils.checks").check_imgsz(written, max_dim=1) == used
