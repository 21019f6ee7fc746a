"""Agreement of two label sets, by hand and against the published examples of kappa and alpha."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.evaluation.annotator_agreement import LabelSet, agreements, cohens_kappa, krippendorffs_alpha, one_to_one
from runaudit.evaluation.box_pairs import overlapping
from runaudit.runs.facts import ImageEntry, ImageIndex
from runaudit.runs.label_arrays import LabelArrays


def label_set(rows: list[tuple[int, int, float, float]], images: int = 2) -> LabelSet:
    """Squares of 20 pixels: image, class, left, top."""
    table = np.array(rows, dtype=float).reshape(-1, 4)
    box = np.hstack([table[:, 2:], table[:, 2:] + 20]).astype(np.float32)
    return LabelSet(table[:, 0].astype(np.int32), table[:, 1].astype(np.int32), box, np.arange(images))


def test_equal_sets_agree_in_everything():
    rows = [(0, 0, 0.0, 0.0), (0, 1, 40.0, 0.0), (1, 1, 5.0, 5.0)]
    overall = agreements({"a": label_set(rows), "b": label_set(rows)}, 2)[0]
    assert (overall.matched, overall.only_first, overall.only_second) == (3, 0, 0)
    assert overall.found == overall.same_class == overall.kappa == overall.alpha == 1
    assert overall.mean_iou == pytest.approx(1) and overall.found_ci95 == (1, 1)


def test_objects_classes_and_places_are_counted_apart():
    first = label_set([(0, 0, 0, 0), (0, 0, 40, 0), (1, 1, 0, 0), (1, 1, 50, 50)])
    second = label_set([(0, 0, 4, 0), (0, 1, 40, 0), (1, 1, 0, 0), (1, 0, 80, 80)])
    overall, of_0, of_1 = agreements({"first": first, "second": second}, 2)
    assert (overall.first, overall.second, overall.images) == ("first", "second", 2)
    assert (overall.matched, overall.only_first, overall.only_second) == (3, 1, 1)
    assert overall.found == pytest.approx(6 / 8) and overall.same_class == pytest.approx(2 / 3)
    assert overall.mean_iou == pytest.approx((16 / 24 + 1 + 1) / 3)
    assert (of_0.class_id, of_0.matched, of_0.only_first, of_0.only_second) == (0, 1, 1, 1)
    assert (of_1.class_id, of_1.matched, of_1.only_first, of_1.only_second) == (1, 1, 1, 1)


def test_only_images_that_both_annotated_count():
    first = label_set([(0, 0, 0, 0), (1, 0, 0, 0)])
    second = LabelSet(*(getattr(label_set([(0, 0, 0, 0)]), name) for name in ("image", "cls", "box")), np.array([0]))
    overall = agreements({"first": first, "second": second}, 1)[0]
    assert (overall.images, overall.matched, overall.only_first) == (1, 1, 0)
    nowhere = LabelSet(second.image, second.cls, second.box, np.array([], dtype=int))
    assert agreements({"first": first, "second": nowhere}, 1) == ()


def test_kappa_of_cohens_kind():
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, expected 0.5.
    assert cohens_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert cohens_kappa(np.array([[7, 0], [0, 0]])) is None
    assert cohens_kappa(np.zeros((2, 2), dtype=int)) is None


def test_alpha_of_krippendorffs_published_example():
    """Computing Krippendorff's alpha-reliability (2011), part B: nominal data, two observers, 12 units: 0.692."""
    first = ["a", "a", "b", "b", "d", "c", "c", "c", "e", "d", "d", "a"]
    second = ["b", "a", "b", "b", "b", "c", "c", "c", "e", "d", "d", "d"]
    values = sorted(set(first + second))
    table = np.zeros((len(values), len(values)), dtype=int)
    for one, other in zip(first, second, strict=True):
        table[values.index(one), values.index(other)] += 1
    assert krippendorffs_alpha(table) == pytest.approx(0.692, abs=0.0005)
    assert krippendorffs_alpha(np.array([[4, 0], [0, 0]])) is None


@given(seed=st.integers(0, 2**31), first=st.integers(0, 12), second=st.integers(0, 12))
def test_matching_is_that_of_falling_iou(seed: int, first: int, second: int):
    rng = np.random.default_rng(seed)

    def some(count: int) -> LabelSet:
        corner = rng.uniform(0, 25, (count, 2))
        box = np.hstack([corner, corner + rng.uniform(10, 20, (count, 2))]).astype(np.float32)
        return LabelSet(np.zeros(count, int), np.zeros(count, int), box, np.array([0]))

    one, other = some(first), some(second)
    pairs = overlapping(one.image, one.box, other.image, other.box, 0.5)
    chosen: set[tuple[int, int]] = set()
    for row in np.argsort(-pairs.iou, kind="stable"):
        mine, theirs = int(pairs.first[row]), int(pairs.second[row])
        if all(mine != taken[0] and theirs != taken[1] for taken in chosen):
            chosen.add((mine, theirs))
    found = one_to_one(pairs, one, other)
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == chosen


def test_labels_are_put_into_pixels():
    index = ImageIndex(root="/", images=(ImageEntry(file="a.jpg", split="val", width=200, height=100),))
    arrays = LabelArrays(np.array([0], np.int32), np.array([0], np.int32), np.array([[0.5, 0.5, 0.2, 0.4]]))
    assert LabelSet.of(arrays, [0], index).box.tolist() == [[80, 30, 120, 70]]
