"""Labels detected as two classes are counted once for each other class, and only where their own is detected too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.evaluation.relabelling import relabelled
from runaudit.evaluation.second_opinions import second_opinions
from tests.evaluation.planted_labels import World, simulated


def test_only_sure_second_classes_on_labels_that_are_found_count():
    matches = simulated(World(images=1))
    box = np.array([[10, 10, 50, 50], [100, 100, 150, 150]], dtype=np.float32)
    detections = np.array([box[0], box[0], box[0] + 1, box[0], box[1], box[1] + 40], dtype=np.float32)
    matches = replace(
        matches,
        det_image=np.zeros(6, dtype=np.int32),
        # The first label is seen as 0, twice as 1 and unsurely as 2; the second, of class 2, as 1 only.
        det_cls=np.array([0, 1, 1, 2, 1, 0], dtype=np.int32),
        det_conf=np.array([0.9, 0.5, 0.3, 0.2, 0.9, 0.9], dtype=np.float32),
        det_box=detections,
        gt_image=np.zeros(2, dtype=np.int32),
        gt_cls=np.array([0, 2], dtype=np.int32),
        gt_box=box,
    )
    found = second_opinions(relabelled(matches, ULTRALYTICS), 4, confidence=0.25)
    assert found.tolist() == [[0, 1, 0, 0], [0] * 4, [0] * 4, [0] * 4]


def test_nothing_detected_is_no_second_opinion():
    matches = simulated(World(images=3))
    assert not second_opinions(matches, 4, confidence=1.1).any()
