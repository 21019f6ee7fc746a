"""All that is read off one pass's matches beside mAP, as facts: each statistic's module computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.bootstrap import FEW_IMAGES, difference_interval, metric_interval
from runaudit.evaluation.calibration import (
    LOCALIZATION_BINS,
    PRECISION_BINS,
    Calibration,
    CalibrationError,
    calibration,
)
from runaudit.evaluation.coco import AREAS, CocoMetrics, coco_metrics
from runaudit.evaluation.detection_facts import (
    CalibrationBin,
    CalibrationErrorFacts,
    CalibrationFacts,
    ClassConfusion,
    ClassErrors,
    ClassLrp,
    ClassThreshold,
    ErrorCost,
    ErrorTypesFacts,
    LrpFacts,
    SizeMetrics,
    ThresholdChoice,
    ThresholdFacts,
)
from runaudit.evaluation.distinct_images import independent_by_class, independent_images
from runaudit.evaluation.error_fixes import FIXES, KINDS
from runaudit.evaluation.error_types import BACKGROUND, FOREGROUND, MOST_DETECTIONS, ErrorTypes, error_types
from runaudit.evaluation.facts import Interval
from runaudit.evaluation.localization_recall_precision import FOREGROUND as TAU
from runaudit.evaluation.localization_recall_precision import OptimalError, optimal_error
from runaudit.evaluation.matching import Matches, Similarity
from runaudit.evaluation.overlaps import overlaps
from runaudit.evaluation.thresholds import DEFAULT, GRID, Choice, Thresholds, thresholds

MOST_CONFUSIONS: Final = 100
"""pairs of classes kept, the most frequent ones"""


@dataclass(frozen=True)
class Statistics:
    """The facts of one pass; `calibration` is None where no detection reaches the confidence from which it is told."""

    error_types: ErrorTypesFacts
    per_size: tuple[SizeMetrics, ...]
    thresholds: ThresholdFacts
    calibration: CalibrationFacts | None
    lrp: LrpFacts


def statistics(
    matches: Matches, *, confidence: float, replicates: int, seed: int, similarity: Similarity | None = None
) -> Statistics:
    """Compute all of them; there must be a label.

    Args:
        matches: of the pass.
        confidence: the least that detections were kept with.
        replicates, seed: of the bootstrap over images, or groups of them.
        similarity: how alike detections and labels are, where it is not the IoU of upright boxes.

    Errors are counted at the threshold of the best F1. Calibration is told of detections that a user would be given:
    from the default threshold on, or from the best one where that is lower.
    """
    pairs, distinct = overlaps(matches, similarity), independent_images(matches)
    coco = coco_metrics(matches, pairs)
    chosen = thresholds(matches, replicates=replicates, seed=seed)
    calibrated = calibration(
        matches,
        coco,
        least_confidence=min(DEFAULT, chosen.overall.threshold),
        replicates=replicates,
        seed=seed,
    )
    return Statistics(
        error_types=_error_types(
            matches,
            error_types(matches, pairs, coco),
            confidence=confidence,
            threshold=chosen.overall.threshold,
            replicates=replicates,
            seed=seed,
            distinct=distinct,
        ),
        per_size=_per_size(coco),
        thresholds=_thresholds(chosen, matches),
        calibration=_calibration(calibrated, distinct) if calibrated is not None else None,
        lrp=_lrp(optimal_error(matches, coco)),
    )


def _error_types(
    matches: Matches,
    found: ErrorTypes,
    *,
    confidence: float,
    threshold: float,
    replicates: int,
    seed: int,
    distinct: int,
) -> ErrorTypesFacts:
    intervals = found.fixes.gain_intervals(replicates=replicates, seed=seed)
    counts, at_threshold = found.counts(matches.det_conf), found.counts(matches.det_conf, threshold)
    wrong = np.flatnonzero((found.kind == KINDS.index("cls")) & (matches.det_conf >= np.float32(threshold)))
    confused, count = np.unique(
        np.stack([matches.gt_cls[found.target[wrong]], matches.det_cls[wrong]]), axis=1, return_counts=True
    )
    most = np.argsort(-count, kind="stable")[:MOST_CONFUSIONS]
    gains = np.maximum(found.fixed - found.average_precision[:, None], 0.0)
    return ErrorTypesFacts(
        foreground=FOREGROUND,
        background=BACKGROUND,
        max_detections=MOST_DETECTIONS,
        confidence=confidence,
        threshold=threshold,
        map50=found.map50,
        errors=tuple(
            ErrorCost(
                kind=kind,
                d_ap=found.d_ap(kind),
                d_ap_ci95=_gain_interval(intervals.get(kind), found.d_ap(kind), distinct),
                count=counts[kind],
                count_at_threshold=at_threshold[kind],
            )
            for kind in FIXES
        ),
        per_class=tuple(
            ClassErrors(
                class_id=int(class_id),
                map50=float(found.average_precision[row]),
                d_ap={kind: _number(gains[row, column]) for column, kind in enumerate(FIXES)},
            )
            for row, class_id in enumerate(found.classes)
        ),
        confusions=tuple(
            ClassConfusion(labelled=int(confused[0, row]), detected=int(confused[1, row]), count=int(count[row]))
            for row in most
        ),
        confused=len(wrong),
    )


def _gain_interval(ends: Interval | None, gain: float, distinct: int) -> Interval | None:
    """The interval of a gain, which is never below 0."""
    widened = difference_interval(ends, gain, distinct)
    return None if widened is None else (max(0.0, widened[0]), widened[1])


def _number(value: float | np.floating[Any]) -> float | None:
    """The number, or None for NaN."""
    return None if np.isnan(value) else float(value)


def _per_size(coco: CocoMetrics) -> tuple[SizeMetrics, ...]:
    return tuple(
        SizeMetrics(
            size=cast(Any, size),
            least=AREAS[size][0],
            most=AREAS[size][1] if AREAS[size][1] < AREAS["all"][1] else None,
            labels=int(area.labels.sum()),
            map50_95=area.map50_95,
            map50=area.map50,
            map75=area.map75,
            recall=area.average_recall,
        )
        for size, area in coco.areas.items()
    )


def _thresholds(chosen: Thresholds, matches: Matches) -> ThresholdFacts:
    instances = np.bincount(np.searchsorted(chosen.classes, matches.gt_cls))
    distinct = independent_by_class(matches, chosen.classes)
    return ThresholdFacts(
        default=DEFAULT,
        overall=_choice(chosen.overall, independent_images(matches)),
        per_class=tuple(
            ClassThreshold(
                class_id=int(class_id),
                instances=int(count),
                choice=_choice(best, int(images)) if best.f1 > 0 else None,
            )
            for class_id, count, images, best in zip(chosen.classes, instances, distinct, chosen.by_class, strict=True)
        ),
        cross_fitted=chosen.cross_fitted,
        cross_fitted_by_class=chosen.cross_fitted_by_class,
        cross_fitted_default=chosen.cross_fitted_default,
    )


def _choice(best: Choice, distinct: int) -> ThresholdChoice:
    """With intervals for so many images that differ; few of them leave any threshold open."""
    return ThresholdChoice(
        threshold=best.threshold,
        threshold_ci95=best.threshold_ci95 if distinct >= FEW_IMAGES else (float(GRID[0]), float(GRID[-1])),
        f1=best.f1,
        f1_ci95=metric_interval(best.f1_ci95, best.f1, distinct),
        f1_default=best.f1_default,
        lost=best.lost,
        lost_ci95=difference_interval(best.lost_ci95, best.lost, distinct),
    )


def _calibration(found: Calibration, distinct: int) -> CalibrationFacts:
    return CalibrationFacts(
        confidence=found.least_confidence,
        iou=FOREGROUND,
        overconfidence=found.overconfidence,
        d_ece=_calibration_error(found.precision, PRECISION_BINS, distinct),
        la_ece=_calibration_error(found.localization, LOCALIZATION_BINS, distinct),
        reliability=tuple(
            CalibrationBin(
                lower=entry.lower,
                upper=entry.upper,
                detections=entry.detections,
                confidence=float(entry.confidence),
                precision=float(entry.precision),
            )
            for entry in found.bins
        ),
    )


def _calibration_error(found: CalibrationError, bins: int, distinct: int) -> CalibrationErrorFacts:
    return CalibrationErrorFacts(
        bins=bins,
        error=found.error,
        by_chance=found.by_chance,
        chance95=found.chance95,
        corrected=found.corrected,
        ci95=metric_interval(found.ci95, found.corrected, distinct),
        detections=found.detections,
    )


def _lrp(found: OptimalError) -> LrpFacts:
    return LrpFacts(
        tau=TAU,
        olrp=float(found.error.mean()),
        localization=_mean(found.localization),
        false_positive=_mean(found.false_positive),
        false_negative=float(found.false_negative.mean()),
        per_class=tuple(
            ClassLrp(
                class_id=int(class_id),
                olrp=float(found.error[row]),
                localization=_number(found.localization[row]),
                false_positive=_number(found.false_positive[row]),
                false_negative=float(found.false_negative[row]),
                confidence=_number(found.confidence[row]),
            )
            for row, class_id in enumerate(found.classes)
        ),
    )


def _mean(values: NDArray[np.float64]) -> float | None:
    """The mean without NaN; None if nothing is left."""
    left = values[~np.isnan(values)]
    return float(left.mean()) if len(left) else None
