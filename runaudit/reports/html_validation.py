"""The HTML report's part on validation: metrics, classes, errors, calibration, thresholds, and the review of labels."""

from __future__ import annotations

from collections.abc import Mapping

from runaudit.reports import phrases
from runaudit.reports.elements import Markup, element, joined
from runaudit.reports.html_parts import definitions, folded, section, settings, table, titled
from runaudit.reports.phrases import between, number
from runaudit.reports.schema import (
    CalibrationError,
    ClassResult,
    ErrorKind,
    LabelReview,
    Report,
    ThresholdChoice,
    Validation,
)

_ERRORS: Mapping[ErrorKind, str] = phrases.ERROR_TITLES | {
    "false_positives": "all wrong boxes",
    "false_negatives": "all lost labels",
}


def validation_section(report: Report, figures: Markup) -> Markup:
    """All that was measured; says so where nothing was."""
    validation = report.validation
    if validation is None:
        why = report.provenance.not_available.get("evaluation", "Validation was not run again.")
        return section("validation", "Validation", element("p", why))
    return section(
        "validation",
        "Validation",
        table("Metrics", ("metric", "re-validated (95 %)", "reported", "difference"), phrases.metric_rows(report)),
        definitions(_reproduction(validation)),
        figures,
        _classes(validation),
        _errors(validation),
        _confusions(validation),
        _calibration(validation),
        _thresholds(validation),
        _sizes(validation),
        _lrp(validation),
        _labels(validation.labels) if validation.labels is not None else Markup(""),
        folded("Settings of this validation", settings(validation.settings)),
        folded("All that the run reported", settings(validation.reported)),
        folded("What this checkpoint is compared with instead", settings(validation.compared))
        if validation.compared
        else Markup(""),
    )


def _reproduction(validation: Validation) -> list[tuple[str, str]]:
    said = {True: "yes", False: "no", None: "can't be told"}[validation.reproduced]
    return [
        ("reported metrics reproduced", said),
        *([("compared with", validation.compared_source)] if validation.compared_source is not None else []),
        ("confidence threshold of precision and recall", number(validation.confidence_threshold)),
    ]


def _classes(validation: Validation) -> Markup:
    if validation.metrics.top1 is not None:
        return table(
            "Classes",
            ("class", "id", "images", "recall (95 %)", "precision", "F1"),
            [
                (
                    entry.name,
                    str(entry.class_id),
                    str(entry.images),
                    _recall(entry),
                    number(entry.precision),
                    number(entry.f1),
                )
                for entry in validation.per_class
            ],
        )
    return table(
        "Classes",
        (
            *("class", "id", "images", "instances", "mAP50-95 (95 %)", "mAP50", "precision", "recall", "F1"),
            "further mAP50-95",
        ),
        [
            (
                entry.name,
                str(entry.class_id),
                str(entry.images),
                str(entry.instances),
                f"{number(entry.map50_95)}{between(entry.map50_95_ci95)}",
                number(entry.map50),
                number(entry.precision),
                _recall(entry),
                number(entry.f1),
                number(entry.further_map50_95),
            )
            for entry in validation.per_class
        ],
    )


def _recall(entry: ClassResult) -> str:
    return f"{number(entry.recall)}{between(entry.recall_ci95)}"


def _errors(validation: Validation) -> Markup:
    found = validation.error_types
    rows = [
        (
            title,
            f"{number(cost.d_ap50)}{between(cost.d_ap50_ci95)}",
            str(cost.count),
            str(cost.count_at_threshold),
        )
        for kind, title in _ERRORS.items()
        if (cost := found.errors.get(kind)) is not None
    ]
    context = definitions(
        (name, number(value))
        for name, value in (
            ("AP at IoU 0.5 (101 points)", found.ap50),
            ("least confidence kept", found.confidence),
            ("confidence of the best F1", found.threshold),
            ("IoU of a right place", found.foreground_iou),
            ("IoU of the background", found.background_iou),
        )
        if value is not None
    )
    kinds = [kind for kind in _ERRORS if any(kind in costs for costs in found.per_class.values())]
    by_class = table(
        "AP50 that mending one kind of error would add, by class",
        ("class", *(_ERRORS[kind] for kind in kinds)),
        [(name, *(number(costs.get(kind)) for kind in kinds)) for name, costs in found.per_class.items()],
    )
    header = ("error", "AP50 that mending it adds (95 %)", "detections", "of them at the threshold")
    return titled("Error types", table("Error types (TIDE)", header, rows), context, folded("By class", by_class))


def _confusions(validation: Validation) -> Markup:
    rows = [
        (pair.labelled, pair.predicted, number(pair.boxes if pair.boxes is not None else pair.images))
        for pair in validation.error_types.confusions
    ]
    return table("Classes taken for others", ("labelled", "taken for", "boxes or images"), rows)


def _calibration(validation: Validation) -> Markup:
    found = validation.calibration
    rows = [
        (name, *_calibration_error(error))
        for name, error in (("D-ECE", found.d_ece), ("LaECE", found.la_ece))
        if error is not None
    ]
    bins = [
        (
            f"{entry.lower:.2f} to {entry.upper:.2f}",
            str(entry.detections),
            number(entry.confidence),
            number(entry.precision),
        )
        for entry in found.reliability
    ]
    header = (
        "error",
        "without chance (95 %)",
        "as measured",
        "by chance",
        "exceeded by chance in 5 of 100",
        "detections",
    )
    over = definitions((("overconfidence", number(found.overconfidence)),) if found.overconfidence is not None else ())
    return titled(
        "Calibration",
        table("Errors of confidence", header, rows),
        over,
        table("Reliability", ("confidence", "detections", "mean confidence", "precision"), bins),
    )


def _calibration_error(error: CalibrationError) -> tuple[str, ...]:
    return (
        f"{number(error.corrected)}{between(error.ci95)}",
        number(error.error),
        number(error.by_chance),
        number(error.chance95),
        str(error.detections),
    )


def _thresholds(validation: Validation) -> Markup:
    found = validation.thresholds
    if found is None:
        return Markup("")
    chosen: list[tuple[str, ThresholdChoice | None]] = [("all classes", found.overall), *found.per_class.items()]
    rows = [
        (
            name,
            f"{number(choice.threshold)}{between(choice.threshold_ci95)}",
            f"{number(choice.f1)}{between(choice.f1_ci95)}",
            number(choice.f1_default),
            f"{number(choice.lost)}{between(choice.lost_ci95)}",
        )
        for name, choice in chosen
        if choice is not None
    ]
    header = ("class", "best threshold (95 %)", "F1 there (95 %)", f"F1 at {found.default:g}", "lost (95 %)")
    crossed = definitions(
        (
            ("F1 at one threshold, on other images", number(found.cross_fitted_f1)),
            ("F1 at a threshold a class, on other images", number(found.cross_fitted_f1_by_class)),
            ("F1 at the default, on the same", number(found.cross_fitted_f1_default)),
        )
    )
    return titled("Thresholds of confidence", table("Best F1 at IoU 0.5", header, rows), crossed)


def _sizes(validation: Validation) -> Markup:
    rows = [
        (
            entry.size,
            f"{entry.least_area:.0f} to {'any' if entry.most_area is None else f'{entry.most_area:.0f}'}",
            str(entry.labels),
            number(entry.ap),
            number(entry.ap50),
            number(entry.ap75),
            number(entry.recall),
        )
        for entry in validation.per_size
    ]
    header = ("size", "area in square pixels", "labels", "AP", "AP50", "AP75", "recall")
    return titled("Sizes", table("COCO's AP by size of the labels", header, rows))


def _lrp(validation: Validation) -> Markup:
    found = validation.lrp
    if found is None:
        return Markup("")
    parts = definitions(
        (
            (f"oLRP at IoU {found.tau:g} (0 is the best)", number(found.olrp)),
            ("its part of places", number(found.localization)),
            ("its part of wrong detections", number(found.false_positive)),
            ("its part of missed objects", number(found.false_negative)),
        )
    )
    rows = [(name, number(value)) for name, value in found.per_class.items()]
    by_class = folded("By class", table("oLRP by class", ("class", "oLRP"), rows))
    return titled("Localization recall precision", parts, by_class)


def _labels(review: LabelReview) -> Markup:
    rates = [
        (
            rate.kind,
            f"{number(rate.rate)}{between(rate.ci95)}",
            str(rate.n),
            str(rate.candidates),
            ", ".join(f"{name} {count}" for name, count in rate.classes.items()) or "-",
            rate.why or "",
        )
        for rate in review.rates
    ]
    suspects = [
        (
            entry.image,
            entry.kind,
            entry.label or "-",
            entry.suggested or "-",
            number(entry.score),
            number(entry.at_stake),
            _box(entry.box),
        )
        for entry in review.suspects
    ]
    habits = [
        (
            habit.label or "all classes",
            str(habit.boxes),
            f"{number(habit.width)}{between(habit.width_ci95)}",
            f"{number(habit.height)}{between(habit.height_ci95)}",
            f"{number(habit.right)}{between(habit.right_ci95)}",
            f"{number(habit.down)}{between(habit.down_ci95)}",
        )
        for habit in review.habits
    ]
    more = review.total_suspects - len(review.suspects)
    return titled(
        "Labels",
        table(
            "Label errors", ("error", "share (95 %)", "n", "candidates", "by class", "why nothing was estimated"), rates
        ),
        folded(
            f"{review.total_suspects} suspect labels",
            table(
                "Labels to look at",
                ("image", "error", "label", "the model sees", "score", "mAP at stake", "box"),
                suspects,
            ),
            element("p", f"{more} more are not listed.") if more > 0 else "",
        ),
        table("Label over detection", ("class", "boxes", "width", "height", "right", "down"), habits),
        _permutation(review),
    )


def _permutation(review: LabelReview) -> Markup:
    found = review.permutation
    if found is None:
        return Markup("")
    moves = ", ".join(f"{model} to {label}" for model, label in found.mapping.items()) or "none"
    return joined(
        definitions(
            (
                ("mAP50-95 as the ids stand", number(found.map50_95)),
                ("blind to classes", number(found.agnostic_map50_95)),
                ("mapped by the best permutation", number(found.mapped_map50_95)),
                ("gain (95 %)", f"{number(found.gain)}{between(found.ci95)}"),
                ("ids that move", moves),
            )
        )
    )


def _box(box: list[float] | None) -> str:
    return "-" if box is None else ", ".join(f"{side:.0f}" for side in box)
