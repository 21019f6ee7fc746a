"""The part of the report that is read off the matches: errors by type, calibration, sizes, thresholds and LRP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from runaudit.evaluation.detection_facts import (
    CalibrationErrorFacts,
    CalibrationFacts,
    ErrorTypesFacts,
    LrpFacts,
    SizeMetrics,
    ThresholdChoice,
    ThresholdFacts,
)
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.reports import schema
from runaudit.reports.plain_values import interval, text

E = TypeVar("E")
T = TypeVar("T")


def class_names(evaluation: EvaluationFacts) -> dict[int, str]:
    """A name for each class id; two classes of one name are told apart by their id, so that none is lost."""
    names: dict[int, str] = {}
    used: set[str] = set()
    for entry in evaluation.per_class:
        name = text(entry.name)
        names[entry.class_id] = name if name not in used else f"{name} ({entry.class_id})"
        used.add(names[entry.class_id])
    return names


def error_types(found: ErrorTypesFacts | None, names: dict[int, str]) -> schema.ErrorTypes:
    if found is None:
        return schema.ErrorTypes()
    return schema.ErrorTypes(
        foreground_iou=found.foreground,
        background_iou=found.background,
        confidence=found.confidence,
        max_detections=found.max_detections,
        threshold=found.threshold,
        ap50=found.map50,
        errors={
            cost.kind: schema.ErrorCost(
                d_ap50=cost.d_ap,
                d_ap50_ci95=interval(cost.d_ap_ci95),
                count=cost.count,
                count_at_threshold=cost.count_at_threshold,
            )
            for cost in found.errors
        },
        per_class=_by_name(found.per_class, lambda entry: entry.class_id, lambda entry: entry.d_ap, names),
        confusions=[
            schema.Confusion(
                labelled=names.get(pair.labelled, str(pair.labelled)),
                predicted=names.get(pair.detected, str(pair.detected)),
                boxes=pair.count,
            )
            for pair in found.confusions
        ],
    )


def _by_name(
    entries: Iterable[E], class_id: Callable[[E], int], value: Callable[[E], T], names: dict[int, str]
) -> dict[str, T]:
    return {names.get(class_id(entry), str(class_id(entry))): value(entry) for entry in entries}


def calibration(found: CalibrationFacts | None) -> schema.Calibration:
    if found is None:
        return schema.Calibration()
    return schema.Calibration(
        confidence=found.confidence,
        iou=found.iou,
        overconfidence=found.overconfidence,
        d_ece=_calibration_error(found.d_ece),
        la_ece=_calibration_error(found.la_ece),
        reliability=[schema.ReliabilityBin(**entry.model_dump()) for entry in found.reliability],
    )


def _calibration_error(found: CalibrationErrorFacts) -> schema.CalibrationError:
    return schema.CalibrationError(
        bins=found.bins,
        error=found.error,
        by_chance=found.by_chance,
        chance95=found.chance95,
        corrected=found.corrected,
        ci95=interval(found.ci95),
        detections=found.detections,
    )


def per_size(found: Iterable[SizeMetrics]) -> list[schema.SizeResult]:
    return [
        schema.SizeResult(
            size=entry.size,
            least_area=entry.least,
            most_area=entry.most,
            labels=entry.labels,
            ap=entry.map50_95,
            ap50=entry.map50,
            ap75=entry.map75,
            recall=entry.recall,
        )
        for entry in found
    ]


def thresholds(found: ThresholdFacts | None, names: dict[int, str]) -> schema.Thresholds | None:
    if found is None:
        return None
    return schema.Thresholds(
        default=found.default,
        overall=_choice(found.overall),
        per_class=_by_name(
            found.per_class,
            lambda entry: entry.class_id,
            lambda entry: _choice(entry.choice) if entry.choice is not None else None,
            names,
        ),
        cross_fitted_f1=found.cross_fitted,
        cross_fitted_f1_by_class=found.cross_fitted_by_class,
        cross_fitted_f1_default=found.cross_fitted_default,
    )


def _choice(choice: ThresholdChoice) -> schema.ThresholdChoice:
    return schema.ThresholdChoice(
        threshold=choice.threshold,
        threshold_ci95=interval(choice.threshold_ci95),
        f1=choice.f1,
        f1_ci95=interval(choice.f1_ci95),
        f1_default=choice.f1_default,
        lost=choice.lost,
        lost_ci95=interval(choice.lost_ci95),
    )


def lrp(found: LrpFacts | None, names: dict[int, str]) -> schema.LocalizationRecallPrecision | None:
    if found is None:
        return None
    return schema.LocalizationRecallPrecision(
        tau=found.tau,
        olrp=found.olrp,
        localization=found.localization,
        false_positive=found.false_positive,
        false_negative=found.false_negative,
        per_class=_by_name(found.per_class, lambda entry: entry.class_id, lambda entry: entry.olrp, names),
    )
