"""Labels that the model finds and gives a second class beside their own: it was taught both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.box_pairs import overlapping
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.sightings import ON


def second_opinions(matches: Matches, classes: int, *, confidence: float) -> NDArray[np.int64]:
    """How many labels of a class (row) are detected as such and as another (column), both at `confidence` or more.

    Detections lie on a label with an IoU of ON or more. Returns (classes, classes) with zeros on the diagonal.
    """
    sure = np.flatnonzero(matches.det_conf >= confidence)
    pairs = overlapping(matches.det_image[sure], matches.det_box[sure], matches.gt_image, matches.gt_box, ON)
    detected = matches.det_cls[sure[pairs.first]].astype(np.int64)
    labelled = matches.gt_cls[pairs.second].astype(np.int64)
    right = np.zeros(len(matches.gt_cls), dtype=bool)
    right[pairs.second[detected == labelled]] = True
    other = right[pairs.second] & (detected != labelled)
    seen = np.unique(np.stack([pairs.second[other], detected[other]]), axis=1)
    cell = matches.gt_cls[seen[0]].astype(np.int64) * classes + seen[1]
    return np.bincount(cell, minlength=classes**2).reshape(classes, classes)
