"""COCO's AP and recall by size: against pycocotools, and on cases by hand."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runaudit.evaluation.coco import AREAS, CocoMetrics, coco_metrics
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import overlaps
from tests.evaluation.scenes import as_sides, by_chance, by_hand, images_permuted

WHOLE = (0, 0, 100, 100)


def measured(matches: Matches) -> CocoMetrics:
    return coco_metrics(matches, overlaps(matches))


def by_pycocotools(matches: Matches) -> Any:
    """Precision (10, 101, k, 4) and recall (10, k, 4) of pycocotools, the classes with labels or detections."""
    coco = pytest.importorskip("pycocotools.coco")
    evaluation = pytest.importorskip("pycocotools.cocoeval")
    labels, sides = coco.COCO(), as_sides(matches.gt_box)
    classes = np.unique(np.r_[matches.gt_cls, matches.det_cls]).tolist()
    labels.dataset = {
        "images": [{"id": int(image) + 1} for image in matches.image],
        "categories": [{"id": int(class_id)} for class_id in classes],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(matches.gt_image[row]) + 1,
                "category_id": int(matches.gt_cls[row]),
                "bbox": sides[row].tolist(),
                "area": float(sides[row, 2] * sides[row, 3]),
                "iscrowd": 0,
            }
            for row in range(len(sides))
        ],
    }
    results = [
        {"image_id": int(image) + 1, "category_id": int(class_id), "bbox": box, "score": float(score)}
        for image, class_id, score, box in zip(
            matches.det_image, matches.det_cls, matches.det_conf, as_sides(matches.det_box).tolist(), strict=True
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        labels.createIndex()
        run = evaluation.COCOeval(labels, labels.loadRes(results), "bbox")
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][..., 2], run.eval["recall"][..., 2]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    images=st.integers(1, 12),
    per_image=st.integers(1, 130),
    classes=st.integers(1, 4),
    labels=st.floats(1, 12),
)
def test_equal_to_pycocotools(seed: int, images: int, per_image: int, classes: int, labels: float) -> None:
    matches = by_chance(seed, images, per_image, classes, labels)
    if not len(matches.det_cls):
        return
    ours = measured(matches)
    precision, recall = by_pycocotools(matches)
    for number, name in enumerate(AREAS):
        theirs = precision[..., number].mean(axis=1).T
        expected = np.where(theirs < 0, np.nan, theirs)
        np.testing.assert_allclose(ours.areas[name].average_precision, expected, atol=1e-9, rtol=0)
        expected = np.where(recall[..., number] < 0, np.nan, recall[..., number]).T
        np.testing.assert_allclose(ours.areas[name].recall, expected, atol=1e-9, rtol=0)


def test_labels_given_back_have_an_ap_of_one() -> None:
    matches = by_hand([(0, 0, WHOLE), (0, 1, (0, 0, 20, 20))], [(0, 0, 0.9, WHOLE), (0, 1, 0.8, (0, 0, 20, 20))])
    areas = measured(matches).areas
    assert areas["all"].map50_95 == areas["all"].average_recall == 1.0
    assert areas["small"].labels.tolist() == [0, 1]
    assert areas["small"].map50_95 == areas["large"].map50_95 == 1.0
    assert areas["medium"].map50_95 is None


def test_a_detection_of_another_size_counts_nowhere_unless_it_takes_a_label() -> None:
    """Of the small label's two detections the large one is ignored among small ones, though it ranks first."""
    small = (0, 0, 20, 20)
    matches = by_hand([(0, 0, small)], [(0, 0, 0.9, (300, 300, 500, 500)), (0, 0, 0.8, small)])
    areas = measured(matches).areas
    assert areas["small"].map50_95 == 1.0
    assert areas["all"].map50_95 == 0.5


def test_the_area_of_a_limit_belongs_to_both_sizes() -> None:
    areas = measured(by_hand([(0, 0, (0, 0, 32, 32))], [])).areas
    assert areas["small"].labels.tolist() == areas["medium"].labels.tolist() == [1]


def test_detections_beyond_a_hundred_of_a_class_do_not_count() -> None:
    wrong = [(0, 0, 0.9 - row / 1000, (300 + row, 300, 310 + row, 310)) for row in range(100)]
    hundred_and_first = [*wrong, (0, 0, 0.1, WHOLE)]
    assert measured(by_hand([(0, 0, WHOLE)], hundred_and_first)).areas["all"].map50_95 == 0.0
    assert measured(by_hand([(0, 0, WHOLE)], hundred_and_first[1:])).areas["all"].map50_95 == pytest.approx(0.01)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), images=st.integers(2, 15))
def test_the_order_of_images_changes_nothing(seed: int, images: int) -> None:
    matches = by_chance(seed, images, 20, 3)
    first, second = measured(matches), measured(images_permuted(matches, seed))
    for name in AREAS:
        assert first.areas[name].map50_95 == pytest.approx(second.areas[name].map50_95, abs=1e-12)
    assert first.areas["all"].labels.tolist() == second.areas["all"].labels.tolist()


def test_no_detection() -> None:
    result = measured(by_hand([(0, 3, WHOLE)], []))
    assert result.areas["all"].map50_95 == 0.0
    assert not len(result.label_taken)
