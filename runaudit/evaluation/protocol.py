"""The settings of canonical validation, family by family: what each framework's own standalone validation does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal


@dataclass(frozen=True)
class AveragePrecision:
    """How precision and recall become one number; `convention` says it in words.

    Both frameworks interpolate the envelope of precision at recalls 0, 0.01, ..., 1 and integrate by trapezoids. They
    differ past the last recall reached: nothing is credited there, or, with `ramp`, the straight line from the
    precision of all detections together down to 0 at recall 1 (research page yolo.md, A6).
    """

    convention: str
    ramp: bool


@dataclass(frozen=True)
class Protocol:
    """Everything that a validation of one family does in its own way.

    name: for the report.
    confidence, iou: thresholds of NMS.
    max_detections: kept per image; `raises_max_detections` lets the fullest image's labels raise it.
    batch, pad: images per batch, and strides added to each side of a batch's shape; batches are rectangular.
    capped_sides: no side of a resized image is longer than imgsz, though rounding up may ask for one pixel more.
    shrinks_by_area: images are made smaller by averaging areas instead of interpolating linearly.
    whole_margins: boxes are shifted by the margin in whole pixels at which the image was pasted, instead of by the half
        of what is left, which may be half a pixel off.
    matched_in: boxes are compared in pixels of the batch, or of the image, cut to it, with one scale for both axes.
    matching: `by_confidence`: each detection in its turn takes the best label still free. `best_label`: each detection
        stands for its best label only, and a label counts for the first detection that does.
    """

    name: Literal["ultralytics", "yolov5"]
    confidence: float
    iou: float
    max_detections: int
    raises_max_detections: bool
    batch: int
    pad: float
    capped_sides: bool
    shrinks_by_area: bool
    whole_margins: bool
    matched_in: Literal["batch", "image"]
    matching: Literal["by_confidence", "best_label"]
    average_precision: AveragePrecision


ULTRALYTICS: Final = Protocol(
    name="ultralytics",
    confidence=0.001,
    iou=0.7,
    max_detections=300,
    raises_max_detections=True,
    batch=16,
    pad=0.5,
    capped_sides=True,
    shrinks_by_area=False,
    whole_margins=True,
    matched_in="batch",
    matching="by_confidence",
    average_precision=AveragePrecision(
        "ultralytics 8.4.190: 101 points of recall, trapezoid, no credit past the last recall", ramp=False
    ),
)
"""`yolo val` of ultralytics 8.4.190: cfg/default.yaml, engine/validator.py, models/yolo/detect/val.py, data/base.py,
data/augment.py (LetterBox), utils/metrics.py."""

ULTRALYTICS_ROTATED: Final = replace(ULTRALYTICS, confidence=0.01)
"""The same for rotated boxes (engine/validator.py of 8.4.190; older versions had 0.001 for them too)."""

YOLOV5: Final = Protocol(
    name="yolov5",
    confidence=0.001,
    iou=0.6,
    max_detections=300,
    raises_max_detections=False,
    batch=32,
    pad=0.5,
    capped_sides=False,
    shrinks_by_area=True,
    whole_margins=False,
    matched_in="image",
    matching="best_label",
    average_precision=AveragePrecision(
        "YOLOv5 of 2026-08-21 (5081342): 101 points of recall, trapezoid, a ramp from the last recall down to (1, 0)",
        ramp=True,
    ),
)
"""`val.py` of YOLOv5's master at 5081342 (2026-08-21): val.py, utils/dataloaders.py, utils/augmentations.py
(letterbox), utils/general.py, utils/metrics.py; research page yolo.md, A6 and B."""
