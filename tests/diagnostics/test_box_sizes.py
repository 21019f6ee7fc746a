"""Shares of boxes by size at an input, anchors' recall, and what a limit of detections leaves out."""

from __future__ import annotations

import pytest

from runaudit.diagnostics.box_sizes import best_possible_recall, input_size, share_beyond, share_smaller, size_for
from runaudit.runs.facts import LogFacts
from tests.diagnostics import cases


def test_boxes_below_a_side_are_counted_at_the_size_of_the_input():
    census = cases.boxes([(10, 10), (40, 40)], longer=1280)
    assert share_smaller(census, 10, 1280) == pytest.approx(0.0, abs=1e-9)
    assert share_smaller(census, 10 * 2 ** (1 / 8), 1280) == pytest.approx(0.5, abs=1e-9)
    assert share_smaller(census, 10, 640) == pytest.approx(0.5)
    assert share_smaller(census, 1e9, 640) == 1.0
    assert share_smaller(census, 0, 640) == 0.0


def test_the_share_within_a_bin_is_interpolated():
    census = cases.boxes([(64, 64)])
    edge = 64 * 2 ** (1 / 8)
    assert 0 < share_smaller(census, (64 + edge) / 2, 640) < 1


def test_the_size_for_a_share_is_a_multiple_of_the_largest_stride():
    census = cases.boxes([(8, 8), (64, 64)], longer=1280)
    size = size_for(census, 6.0, 0.05)
    assert size is not None and size % 32 == 0
    assert share_smaller(census, 6.0, size) <= 0.05
    assert share_smaller(census, 6.0, size - 64) > 0.05


def test_boxes_without_an_area_can_t_be_helped_by_any_size():
    assert size_for(cases.boxes([(0, 0)]), 6.0, 0.05) is None
    assert size_for(cases.boxes([]), 6.0, 0.05) is None


def test_boxes_beyond_a_limit():
    census = cases.boxes(crowd=(400, 350, 10))
    assert share_beyond(census, 300) == pytest.approx(150 / (760 + 200))
    assert share_beyond(census, 400) == 0.0


def test_anchors_fit_within_a_factor_in_width_and_in_height():
    anchors = (((10.0, 10.0),), ((100.0, 50.0),))
    census = cases.boxes([(39, 39), (41, 41), (12, 2), (399, 199)])
    found = best_possible_recall(census, anchors, 640, 4.0)
    # 41 x 41 is more than four times the first, but fits the second; 12 x 2 fits neither in height.
    assert found == (pytest.approx(0.75), 400)
    assert best_possible_recall(census, anchors, 1280, 4.0) == (pytest.approx(0.75), 400)
    assert best_possible_recall(census, (), 640, 4.0) is None
    assert best_possible_recall(cases.boxes([]), anchors, 640, 4.0) is None


@pytest.mark.parametrize(
    ("written", "expected"), [(416, 416), ([640, 480], 640), ("512", 512), (None, None), (1, None)]
)
def test_the_input_s_size_as_arguments_state_it(written, expected):
    found = input_size(cases.run(arguments={"imgsz": written}))
    assert (found[0] if found is not None else None) == expected


def test_the_log_tells_the_size_where_arguments_don_t():
    run = cases.run(arguments={"imgsz": None})
    run = run.model_copy(
        update={"log": LogFacts(sources=("train.log",), image_size=320, places={"image_size": "train.log:9"})}
    )
    assert input_size(run) == (320.0, "train.log:9")
