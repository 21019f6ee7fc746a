"""The census of box sizes: bins, ends, odd boxes, and that it costs little."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.runs.box_census import ASPECT_BINS, FULLEST, SAMPLE, SIZE_BINS, box_census
from runaudit.runs.facts import ImageEntry
from runaudit.runs.label_arrays import LabelArrays


def entries(count: int, width: int = 640, height: int = 480) -> tuple[ImageEntry, ...]:
    return tuple(ImageEntry(file=f"{n}.jpg", split="val", width=width, height=height) for n in range(count))


def labels(image: list[int], sides: list[tuple[float, float]]) -> LabelArrays:
    box = np.asarray([(0.5, 0.5, *side) for side in sides], np.float64).reshape(-1, 4)
    return LabelArrays(np.asarray(image, np.int32), np.zeros(len(image), np.int32), box)


def test_a_box_stands_in_the_bin_of_its_side_over_the_longer_side() -> None:
    # 80 x 80 pixels of an image of 640 x 480: an eighth of the longer side, 2^-3.
    census = box_census(labels([0], [(80 / 640, 80 / 480)]), entries(1))
    assert census.sizes[(12 - 3) * 8] == 1 and sum(census.sizes) == 1
    assert census.aspects[ASPECT_BINS // 2] == 1
    assert census.sample == ((0.125, 0.125),)
    assert census.longer_sides == (640, 640, 640)


def test_images_are_counted_by_their_boxes_the_fullest_first() -> None:
    census = box_census(labels([0, 0, 2, 2, 2], [(0.1, 0.1)] * 5), entries(4))
    assert census.fullest == (3, 2)
    assert len(box_census(labels(list(range(1500)), [(0.1, 0.1)] * 1500), entries(1500)).fullest) == FULLEST


def test_boxes_without_an_area_are_the_smallest_and_in_no_sample() -> None:
    census = box_census(labels([0, 0], [(0.0, 0.5), (1e-300, 1e-300)]), entries(1))
    assert census.sizes[0] == 2 and census.boxes == 2
    assert len(census.sample) == 1
    assert sum(census.aspects) == 1


def test_a_box_beyond_its_image_is_as_large_as_the_image() -> None:
    census = box_census(labels([0], [(1.01, 1.0)]), entries(1, 500, 500))
    assert census.sample == ((1.0, 1.0),)
    assert census.sizes[-1] == 1


def test_the_sample_is_bounded_and_the_same_each_time() -> None:
    rng = np.random.default_rng(3)
    many = labels([0] * 20_000, [tuple(side) for side in rng.uniform(0.01, 0.5, (20_000, 2))])
    first, second = box_census(many, entries(1)), box_census(many, entries(1))
    assert len(first.sample) == SAMPLE
    assert first == second
    assert np.mean(first.sample) == pytest.approx(np.mean(many.box[:, 2] + many.box[:, 3] * 0.75) / 2, rel=0.02)


def test_counting_in_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    sides = [tuple(side) for side in rng.uniform(0, 1.01, (300, 2))]
    some = labels(sorted(rng.integers(0, 20, 300).tolist()), sides)
    at_once = box_census(some, entries(20))
    monkeypatch.setattr("runaudit.runs.box_census.CHUNK", 7)
    assert box_census(some, entries(20)) == at_once


def test_no_images_no_quantiles() -> None:
    census = box_census(labels([], []), ())
    assert (census.boxes, census.longer_sides, census.fullest) == (0, None, ())


@given(
    sides=st.lists(st.tuples(st.floats(0, 1.01), st.floats(0, 1.01)), max_size=30),
    width=st.integers(1, 10_000),
    height=st.integers(1, 10_000),
)
def test_every_box_is_counted_once(sides: list[tuple[float, float]], width: int, height: int) -> None:
    census = box_census(labels([0] * len(sides), sides), entries(1, width, height))
    assert sum(census.sizes) == census.boxes == len(sides)
    assert sum(census.aspects) <= len(sides)
    assert (len(census.sizes), len(census.aspects)) == (SIZE_BINS, ASPECT_BINS)
    assert all(0 <= side <= 1 for pair in census.sample for side in pair)
