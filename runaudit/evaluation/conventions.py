"""mAP of one pass by the conventions of different versions: how detections are matched, and AP integrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from runaudit.evaluation.average_precision import detection_metrics
from runaudit.evaluation.facts import STRICT, Tolerance
from runaudit.evaluation.matching import Boxes, Matches, true_positives_by_best_label
from runaudit.evaluation.protocol import YOLOV5, Protocol
from runaudit.evaluation.rotated_boxes import similarity_of
from runaudit.runs.facts import RunFacts

Convention = Literal["current", "older"]
"""`current`: the canonical protocol's own. `older`: what YOLOv5 does, and ultralytics did up to 8.4.0 at least."""

_OLDER_UP_TO: Final = (8, 4, 0)
_CURRENT_FROM: Final = (8, 4, 190)
"""the versions that were read for it (research page yolo.md, A6); what lies between may do either"""


@dataclass(frozen=True)
class Figures:
    """mAP50 (None where it is not known) and mAP50-95, in [0, 1]."""

    map50: float | None
    map50_95: float

    def reproduces(self, other: Figures, tolerance: Tolerance = STRICT) -> bool:
        """Whether both agree within the tolerances."""
        if abs(self.map50_95 - other.map50_95) > tolerance.map50_95:
            return False
        return self.map50 is None or other.map50 is None or abs(self.map50 - other.map50) <= tolerance.map50

    def closes(self, sought: Figures, measured: Figures, tolerance: Tolerance = STRICT) -> bool:
        """Whether these reproduce what was sought, and leave at most half of each gap that `measured` left.

        Without the second, any setting that moves figures a little would explain a gap that is just beyond tolerance.
        """
        if not self.reproduces(sought, tolerance):
            return False
        pairs = [(self.map50_95, sought.map50_95, measured.map50_95, tolerance.map50_95)]
        if self.map50 is not None and sought.map50 is not None and measured.map50 is not None:
            pairs.append((self.map50, sought.map50, measured.map50, tolerance.map50))
        return all(
            abs(before - aim) <= allowed or abs(now - aim) <= abs(before - aim) / 2
            for now, aim, before, allowed in pairs
        )

    def moved(self, start: Figures, end: Figures) -> Figures:
        """These figures and the step from `start` to `end`."""
        known = self.map50 is not None and start.map50 is not None and end.map50 is not None
        return Figures(
            (self.map50 or 0) + (end.map50 or 0) - (start.map50 or 0) if known else None,
            self.map50_95 + end.map50_95 - start.map50_95,
        )


def conventions(run: RunFacts) -> tuple[Convention, ...]:
    """By which conventions the run may have computed what it reported."""
    version = run.release()
    if run.framework != "ultralytics":
        return ("current",)
    if version is None:
        return ("current", "older")
    if version >= _CURRENT_FROM:
        return ("current",)
    return ("older",) if version <= _OLDER_UP_TO else ("current", "older")


def figures(matches: Matches, protocol: Protocol, convention: Convention = "current") -> Figures:
    """mAP of a pass. By the older convention detections are matched again, in pixels of the image."""
    tp, kind = matches.tp, protocol.average_precision
    if convention == "older":
        tp = true_positives_by_best_label(
            Boxes(matches.det_image, matches.det_cls, matches.det_box),
            Boxes(matches.gt_image, matches.gt_cls, matches.gt_box),
            similarity_of(matches),
        )
        kind = YOLOV5.average_precision
    metrics = detection_metrics(tp, matches.det_conf, matches.det_cls, matches.gt_cls, kind=kind)
    return Figures(metrics.map50, metrics.map50_95)
