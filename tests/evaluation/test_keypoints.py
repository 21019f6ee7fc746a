"""Object keypoint similarity against the framework's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from runaudit.evaluation import keypoints
from runaudit.evaluation.framework import framework
from runaudit.evaluation.keypoints import by_keypoints, scales, visible


def some(number: int, points: int, seed: int) -> Any:
    return np.random.default_rng(seed).uniform(0, 60, (number, points, 3)).astype(np.float32)


@pytest.mark.parametrize("block", [2**22, 50])
@pytest.mark.parametrize("points", [1, 5, 17])
def test_similarity_is_the_framework_s(points: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keypoints, "_BLOCK_VALUES", block)
    labels, detections = some(9, points, 0), some(30, points, 1)
    labels[..., 2] = np.random.default_rng(2).integers(0, 3, labels.shape[:2])
    labels[3, :, 2] = 0
    box = np.random.default_rng(3).uniform(10, 300, (9, 4)).astype(np.float32)
    box[:, 2:] += box[:, :2]
    sigma = scales((points, 3), ())
    area = torch.from_numpy((box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1])) * 0.53
    expected = (
        framework()
        .utils.metrics.kpt_iou(torch.from_numpy(labels), torch.from_numpy(detections), area=area, sigma=sigma)
        .numpy()
    )
    label, detection = np.indices(expected.shape).reshape(2, -1)
    similarity = by_keypoints(detections, labels[..., :2], visible(labels), box, sigma)
    found = similarity(detection, label).reshape(expected.shape)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not found[3].any()


def test_scales_are_the_data_set_s_own_cocos_or_equal() -> None:
    assert scales((4, 3), (0.1, 0.2, 0.3, 0.4)).tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert scales((17, 3), ())[0] == pytest.approx(0.026)
    assert scales((17, 2), ()).tolist() == pytest.approx([1 / 17] * 17)


def test_without_visibility_a_negative_coordinate_hides_a_point() -> None:
    two = np.array([[[0.5, 0.5], [-0.001, 0.5], [0.5, -0.001], [0, 0]]], dtype=np.float32)
    assert visible(two).tolist() == [[True, False, False, True]]
    three = np.array([[[0.5, 0.5, 2], [0.5, 0.5, 0], [0, 0, 1]]], dtype=np.float32)
    assert visible(three).tolist() == [[True, False, True]]
