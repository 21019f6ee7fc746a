"""Matching against the framework's own matching, image by image, and on cases by hand."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from runaudit.evaluation.framework import framework
from runaudit.evaluation.matching import IOU_THRESHOLDS, Boxes, box_iou, true_positives, true_positives_by_best_label


def boxes(rng: np.random.Generator, count: int, spread: float) -> NDArray[np.float32]:
    """Boxes around a few centres, so that many overlap."""
    centre = rng.choice([20.0, 60.0, 100.0], size=(count, 2)) + rng.normal(0, spread, (count, 2))
    size = rng.uniform(15, 30, (count, 2))
    return np.hstack([centre - size / 2, centre + size / 2]).astype(np.float32)


def by_the_framework(
    det_cls: NDArray[np.int32], det_box: NDArray[np.float32], gt_cls: NDArray[np.int32], gt_box: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """`match_predictions` of a validator, on one image."""
    framework_iou = framework().utils.metrics.box_iou
    validator_class = import_module("ultralytics.models.yolo.detect.val").DetectionValidator
    validator = validator_class.__new__(validator_class)
    validator.iouv = torch.linspace(0.5, 0.95, 10)
    if not len(det_cls) or not len(gt_cls):
        return np.zeros((len(det_cls), 10), dtype=bool)
    iou = framework_iou(torch.from_numpy(gt_box), torch.from_numpy(det_box))
    found = validator.match_predictions(torch.from_numpy(det_cls), torch.from_numpy(gt_cls), iou)
    return np.asarray(found.numpy(), dtype=bool)


def test_thresholds_are_the_framework_s_to_the_bit() -> None:
    assert np.array_equal(IOU_THRESHOLDS, torch.linspace(0.5, 0.95, 10).numpy())


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    images=st.integers(1, 5),
    most_detections=st.integers(0, 60),
    most_labels=st.integers(0, 25),
    classes=st.integers(1, 3),
    spread=st.floats(0.2, 8),
)
def test_equal_to_the_framework(
    seed: int, images: int, most_detections: int, most_labels: int, classes: int, spread: float
) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for image in range(images):
        detections, labels = rng.integers(0, most_detections + 1), rng.integers(0, most_labels + 1)
        det_box, gt_box = boxes(rng, detections, spread), boxes(rng, labels, spread)
        if labels and detections:
            copies = rng.integers(0, min(labels, detections) + 1)
            det_box[:copies] = gt_box[:copies]
        det_cls = rng.integers(0, classes, detections).astype(np.int32)
        gt_cls = rng.integers(0, classes, labels).astype(np.int32)
        parts.append((np.full(detections, image), det_cls, det_box, np.full(labels, image), gt_cls, gt_box))
    joined = [np.concatenate([part[column] for part in parts]) for column in range(6)]
    ours = true_positives(Boxes(*joined[:3]), Boxes(*joined[3:]))
    theirs = np.concatenate([by_the_framework(part[1], part[2], part[4], part[5]) for part in parts])
    assert np.array_equal(ours, theirs)


def match_one_image(
    det_box: list[list[float]], gt_box: list[list[float]], det_cls: list[int], gt_cls: list[int]
) -> NDArray[np.bool_]:
    def of_one_image(cls: list[int], box: list[list[float]]) -> Boxes:
        return Boxes(np.zeros(len(cls), int), np.array(cls), np.array(box, np.float32).reshape(-1, 4))

    return true_positives(of_one_image(det_cls, det_box), of_one_image(gt_cls, gt_box))


def test_too_little_overlap_is_no_match() -> None:
    """The fixture of TIDE's Loc error: IoU 0.4."""
    det, gt = [[0, 0, 80, 50]], [[0, 0, 100, 100]]
    assert box_iou(np.array(det, np.float32), np.array(gt, np.float32)) == pytest.approx([0.4])
    assert not match_one_image(det, gt, [0], [0]).any()


def test_labels_given_back_all_match() -> None:
    gt = [[0, 0, 10, 10], [20, 0, 40, 10], [5, 5, 30, 30]]
    assert match_one_image(gt, gt, [0, 1, 0], [0, 1, 0]).all()


def test_permuted_classes_never_match() -> None:
    gt = [[0, 0, 10, 10], [20, 0, 40, 10]]
    assert not match_one_image(gt, gt, [1, 0], [0, 1]).any()


def test_a_second_detection_of_a_label_is_false_and_may_take_another_label() -> None:
    gt = [[0, 0, 100, 100], [0, 20, 100, 120]]
    twice = [[0, 0, 100, 100], [0, 1, 100, 101], [0, 2, 100, 102]]
    found = match_one_image(twice, gt, [0, 0, 0], [0, 0])
    assert found[0].all()
    assert found[1, 0]
    assert not found[1, -1]
    assert not found[2].any()


def test_images_are_apart() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    assert not true_positives(Boxes(np.array([0]), np.array([0]), box), Boxes(np.array([1]), np.array([0]), box)).any()


def by_best_label(
    det_cls: NDArray[np.int32], det_box: NDArray[np.float32], gt_cls: NDArray[np.int32], gt_box: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """YOLOv5's rule on one image, detection by detection: a label's first suitor that reaches the threshold wins it."""
    correct = np.zeros((len(det_cls), 10), dtype=bool)
    for column, threshold in enumerate(IOU_THRESHOLDS):
        won: set[int] = set()
        for number in range(len(det_cls)):
            overlaps = box_iou(gt_box, np.repeat(det_box[number][None], len(gt_box), axis=0))
            suitable = [label for label in range(len(gt_cls)) if gt_cls[label] == det_cls[number]]
            if not suitable:
                continue
            best = max(suitable, key=lambda label: overlaps[label])
            if overlaps[best] >= threshold and best not in won:
                won.add(best)
                correct[number, column] = True
    return correct


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    images=st.integers(1, 4),
    most_detections=st.integers(0, 40),
    most_labels=st.integers(0, 15),
    spread=st.floats(0.2, 8),
)
def test_rule_of_yolov5(seed: int, images: int, most_detections: int, most_labels: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    parts = []
    for image in range(images):
        detections, labels = rng.integers(0, most_detections + 1), rng.integers(0, most_labels + 1)
        det_box, gt_box = boxes(rng, detections, spread), boxes(rng, labels, spread)
        det_cls = rng.integers(0, 2, detections).astype(np.int32)
        gt_cls = rng.integers(0, 2, labels).astype(np.int32)
        parts.append((np.full(detections, image), det_cls, det_box, np.full(labels, image), gt_cls, gt_box))
    joined = [np.concatenate([part[column] for part in parts]) for column in range(6)]
    ours = true_positives_by_best_label(Boxes(*joined[:3]), Boxes(*joined[3:]))
    assert np.array_equal(ours, np.concatenate([by_best_label(part[1], part[2], part[4], part[5]) for part in parts]))


def test_by_yolov5_s_rule_a_second_detection_takes_no_other_label() -> None:
    """The second detection overlaps both labels by 0.5 and more, but the first label most, which is taken."""
    gt = Boxes(np.zeros(2, int), np.zeros(2, int), np.array([[0, 0, 100, 100], [0, 20, 100, 120]], np.float32))
    twice = Boxes(np.zeros(2, int), np.zeros(2, int), np.array([[0, 0, 100, 100], [0, 1, 100, 101]], np.float32))
    assert true_positives(twice, gt)[1, 0]
    assert true_positives_by_best_label(twice, gt).tolist() == [[True] * 10, [False] * 10]
