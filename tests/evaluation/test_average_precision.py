"""Average precision, precision, recall and F1 against the framework's own function and against figures by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runaudit.evaluation.average_precision import area, detection_metrics
from runaudit.evaluation.framework import framework
from runaudit.evaluation.protocol import YOLOV5


def random_detections(seed: int, detections: int, labels: int, classes: int) -> tuple[NDArray[Any], ...]:
    """tp (n, 10), conf (n,) without ties, det_cls, gt_cls; never more true positives of a class than it has labels."""
    rng = np.random.default_rng(seed)
    gt_cls = rng.integers(0, classes, labels).astype(np.int32)
    det_cls = rng.integers(0, classes + 1, detections).astype(np.int32)
    conf = rng.permutation(np.linspace(0.001, 0.999, detections)).astype(np.float32)
    tp = np.zeros((detections, 10), dtype=bool)
    for class_id in range(classes):
        room = int((gt_cls == class_id).sum())
        mine = rng.permutation(np.flatnonzero(det_cls == class_id))[:room]
        tp[mine] = np.linspace(0.5, 0.95, 10) <= rng.uniform(0.3, 1.05, len(mine))[:, None]
    return tp, conf, det_cls, gt_cls


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    detections=st.integers(0, 400),
    labels=st.integers(1, 150),
    classes=st.integers(1, 12),
)
def test_equal_to_the_framework(seed: int, detections: int, labels: int, classes: int) -> None:
    tp, conf, det_cls, gt_cls = random_detections(seed, detections, labels, classes)
    ours = detection_metrics(tp, conf, det_cls, gt_cls)
    _, _, precision, recall, f1, ap, ids, *_ = framework().utils.metrics.ap_per_class(tp, conf, det_cls, gt_cls)
    assert ours.classes.tolist() == ids.tolist()
    np.testing.assert_allclose(ours.average_precision, ap, atol=1e-9, rtol=0)
    np.testing.assert_allclose(ours.precision, precision, atol=1e-9, rtol=0)
    np.testing.assert_allclose(ours.recall, recall, atol=1e-9, rtol=0)
    np.testing.assert_allclose(ours.f1, f1, atol=1e-9, rtol=0)


@pytest.mark.parametrize("labels", [100, 7, 50, 200, 1])
def test_recalls_that_fall_on_a_grid_point(labels: int) -> None:
    """A recall of exactly 0.29, say, must count the same hundredths as the framework's interpolation."""
    rng = np.random.default_rng(labels)
    tp = np.zeros((2 * labels, 10), dtype=bool)
    tp[rng.permutation(2 * labels)[:labels]] = True
    conf = np.linspace(0.9, 0.1, 2 * labels).astype(np.float32)
    zeros, gt = np.zeros(2 * labels, np.int32), np.zeros(labels, np.int32)
    _, _, _, _, _, ap, *_ = framework().utils.metrics.ap_per_class(tp, conf, zeros, gt)
    np.testing.assert_allclose(detection_metrics(tp, conf, zeros, gt).average_precision, ap, atol=1e-9, rtol=0)


def test_perfect_detections() -> None:
    """Labels given back as predictions: the trapezoid's end at recall 1 gives no credit, so AP is 0.995."""
    tp, conf = np.ones((10, 10), dtype=bool), np.linspace(0.99, 0.9, 10).astype(np.float32)
    cls = np.zeros(10, np.int32)
    metrics = detection_metrics(tp, conf, cls, cls)
    assert metrics.map50_95 == pytest.approx(0.995, abs=1e-12)
    assert metrics.recall.tolist() == pytest.approx([1.0])
    assert metrics.precision.tolist() == pytest.approx([1.0])


def test_half_of_the_labels_found() -> None:
    """Precision 1 up to recall 0.5: 49 hundredths after the first, whose interval counts half, so 0.495."""
    tp, conf = np.ones((5, 10), dtype=bool), np.linspace(0.99, 0.9, 5).astype(np.float32)
    metrics = detection_metrics(tp, conf, np.zeros(5, np.int32), np.zeros(10, np.int32))
    assert metrics.map50 == pytest.approx(0.495, abs=1e-12)


def test_a_class_without_detections_counts_as_zero_and_one_without_labels_not_at_all() -> None:
    tp, conf = np.ones((4, 10), dtype=bool), np.linspace(0.9, 0.8, 4).astype(np.float32)
    tp[2:] = False
    metrics = detection_metrics(tp, conf, np.array([0, 0, 5, 5]), np.array([0, 0, 3]))
    assert metrics.classes.tolist() == [0, 3]
    assert metrics.average_precision[1].tolist() == [0.0] * 10
    assert metrics.map50 == pytest.approx(0.995 / 2)


def test_nothing_detected() -> None:
    metrics = detection_metrics(
        np.zeros((0, 10), bool), np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(3, np.int32)
    )
    assert (metrics.map50, metrics.map50_95, float(metrics.f1.mean())) == (0.0, 0.0, 0.0)


def test_rows_behind_the_last_true_positive_change_nothing() -> None:
    hits = np.array([1, 0, 1, 0, 0, 0], dtype=float)
    counted = np.arange(1, 7, dtype=float)
    whole = area(hits.cumsum()[:, None], counted[:, None], 4)
    pruned = area(hits.cumsum()[:3, None], counted[:3, None], 4)
    only_hits = area(hits.cumsum()[[0, 2], None], counted[[0, 2], None], 4)
    assert whole == pytest.approx(pruned, abs=1e-15)
    assert whole == pytest.approx(only_hits, abs=1e-15)


def with_a_ramp(tp: NDArray[Any], labels: int) -> float:
    """YOLOv5's average precision of one class and threshold, point by point.

    The precision at a recall is the greatest from there on; past the last recall a line leads to (1, 0).
    """
    found, precision, recall = 0, [1.0], [0.0]
    for number, hit in enumerate(tp, start=1):
        found += bool(hit)
        precision.append(found / number)
        recall.append(found / labels)
    precision.append(0.0)
    recall.append(1.0)
    envelope = [max(precision[position:]) for position in range(len(precision))]
    heights = np.interp(np.linspace(0, 1, 101), recall, envelope)
    return float(((heights[1:] + heights[:-1]) / 2 * np.diff(np.linspace(0, 1, 101))).sum())


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    detections=st.integers(0, 200),
    labels=st.integers(1, 100),
    classes=st.integers(1, 5),
)
def test_average_precision_of_yolov5(seed: int, detections: int, labels: int, classes: int) -> None:
    tp, conf, det_cls, gt_cls = random_detections(seed, detections, labels, classes)
    ours = detection_metrics(tp, conf, det_cls, gt_cls, kind=YOLOV5.average_precision)
    order = np.argsort(-conf)
    for row, class_id in enumerate(ours.classes):
        mine = order[det_cls[order] == class_id]
        expected = [with_a_ramp(tp[mine, column], int(ours.instances[row])) for column in range(10)]
        if not len(mine):
            expected = [0.0] * 10
        np.testing.assert_allclose(ours.average_precision[row], expected, atol=1e-9, rtol=0)
    plain = detection_metrics(tp, conf, det_cls, gt_cls)
    np.testing.assert_array_equal(ours.precision, plain.precision)
    np.testing.assert_array_equal(ours.recall, plain.recall)


def test_the_ramp_credits_recall_that_was_never_reached() -> None:
    """Half of the labels found without a mistake: 0.495 up to there, then the hundredths of a triangle of 0.5 by 1."""
    tp, conf = np.ones((5, 10), dtype=bool), np.linspace(0.99, 0.9, 5).astype(np.float32)
    metrics = detection_metrics(tp, conf, np.zeros(5, np.int32), np.zeros(10, np.int32), kind=YOLOV5.average_precision)
    assert metrics.map50 == pytest.approx(0.495 + 2 * sum(range(51)) / 1e4, abs=1e-12)
