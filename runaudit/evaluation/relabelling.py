"""Matches with other labels or other classes: matched anew from the same detections, without inference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.matching import Boxes, Matches, true_positives, true_positives_by_best_label
from runaudit.evaluation.protocol import Protocol


def relabelled(
    matches: Matches,
    protocol: Protocol,
    *,
    gt_image: NDArray[Any] | None = None,
    gt_cls: NDArray[Any] | None = None,
    gt_box: NDArray[Any] | None = None,
    det_cls: NDArray[Any] | None = None,
) -> Matches:
    """The matches with the columns that are given, matched by the protocol's rule in pixels of the image.

    The pass itself may have matched in pixels of its batch, which differ by rounding: what is compared has to be
    matched here before and after. Labels are put into the order of their images. Only upright boxes are matched: masks,
    keypoints and rotated boxes are left behind.
    """
    image = matches.gt_image if gt_image is None else gt_image.astype(np.int32)
    cls = matches.gt_cls if gt_cls is None else gt_cls.astype(np.int32)
    box = matches.gt_box if gt_box is None else gt_box.astype(np.float32)
    detected = matches.det_cls if det_cls is None else det_cls.astype(np.int32)
    order = np.argsort(image, kind="stable")
    image, cls, box = image[order], cls[order], box[order]
    rule = true_positives if protocol.matching == "by_confidence" else true_positives_by_best_label
    tp = rule(Boxes(matches.det_image, detected, matches.det_box), Boxes(image, cls, box))
    return replace(
        matches,
        det_cls=detected,
        tp=tp,
        gt_image=image,
        gt_cls=cls,
        gt_box=box,
        tp_further=None,
        det_rotated=None,
        gt_rotated=None,
    )
