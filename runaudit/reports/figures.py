"""The figures of a report: each a pure function from the report to SVG, so that none has to be stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from runaudit.causes import CauseId
from runaudit.reports import data_figures
from runaudit.reports.charts import Band, Bar, Dot, Line, bar_chart, line_chart, reliability
from runaudit.reports.phrases import ERROR_TITLES
from runaudit.reports.schema import CurvesTable, Finding, Interval, Report, Validation

MOST_BARS: Final = 40
"""classes of a picture; beyond, the worst ones"""
_METRICS: Final = {"map50_95": "mAP50-95", "map50": "mAP50", "top1": "top-1 accuracy", "top5": "top-5 accuracy"}
"""Columns of the picture of the metric, and their names."""


def figure(report: Report, name: str) -> str | None:
    """One figure as SVG; None if there is none of that name, or the report has nothing to draw it from."""
    drawn = _FIGURES[name](report) if name in _FIGURES else None
    return None if drawn is None else str(drawn)


def figures(report: Report) -> dict[str, str]:
    """Every figure that this report has something for, by name, in the order in which a person reads them."""
    return {name: str(drawn) for name, draw in _FIGURES.items() if (drawn := draw(report)) is not None}


def with_figures(report: Report) -> Report:
    """The report with each finding naming those figures that show what it says."""
    drawn = figures(report)
    findings = [finding.model_copy(update={"figures": _shown(finding, drawn)}) for finding in report.findings]
    return report.model_copy(update={"findings": findings})


def _shown(finding: Finding, drawn: Mapping[str, str]) -> list[str]:
    return [name for name in _OF_CAUSE[finding.cause] if name in drawn]


def _losses(report: Report) -> str | None:
    """Training losses as lines, validation losses dashed in the same colours."""
    curves = report.curves
    if curves is None:
        return None
    names = sorted({name.partition("/")[2] for name in curves.columns if name.startswith(("train/", "val/"))})
    lines = [
        Line(f"{split} {name}", curves.epochs, curves.columns[f"{split}/{name}"], colour, dashed=split == "val")
        for colour, name in enumerate(names)
        for split in ("train", "val")
        if _has_values(curves, f"{split}/{name}")
    ]
    if not lines:
        return None
    return line_chart("Losses over epochs", lines, x_title="epoch", marked=_best_epoch(report), may_be_logarithmic=True)


def _metric(report: Report) -> str | None:
    """The metric that training reported, and what was measured again."""
    curves = report.curves
    if curves is None:
        return None
    lines = [
        Line(f"reported {title}", curves.epochs, curves.columns[f"metrics/{name}"], colour)
        for colour, (name, title) in enumerate(_METRICS.items())
        if _has_values(curves, f"metrics/{name}")
    ]
    if not lines:
        return None
    title = "Validation metric over epochs"
    band = _measured(report)
    return line_chart(title, lines, x_title="epoch", marked=_best_epoch(report), band=band, least=0.0)


def _learning_rate(report: Report) -> str | None:
    curves = report.curves
    if curves is None:
        return None
    names = [name for name in curves.columns if name.startswith("lr/") and _has_values(curves, name)]
    if not names:
        return None
    lines = [
        Line(name.partition("/")[2], curves.epochs, curves.columns[name], colour) for colour, name in enumerate(names)
    ]
    return line_chart("Learning rate over epochs", lines, x_title="epoch", marked=_best_epoch(report), least=0.0)


def _classes(report: Report) -> str | None:
    """mAP50-95 of each class (of a classifier: recall) with its interval, the worst first."""
    validation = report.validation
    if validation is None:
        return None
    classifier = validation.metrics.top1 is not None
    measured: list[tuple[str, float | None, Interval | None]] = [
        (entry.name, entry.recall, entry.recall_ci95)
        if classifier
        else (entry.name, entry.map50_95, entry.map50_95_ci95)
        for entry in validation.per_class
    ]
    bars = sorted(
        (Bar(name, value, ci95) for name, value, ci95 in measured if value is not None), key=lambda bar: bar.value
    )
    if not bars:
        return None
    what = "Recall" if classifier else "mAP50-95"
    title = f"{what} by class" if len(bars) <= MOST_BARS else f"{what}, the worst {MOST_BARS} of {len(bars)} classes"
    return bar_chart(title, bars[:MOST_BARS], x_title=f"{what} (95 % interval)", most=1.0)


def _impacts(report: Report) -> str | None:
    """What each finding takes away; what is not real in another colour."""
    bars = [
        Bar(
            finding.cause.replace("_", " "),
            finding.impact.value,
            finding.impact.ci95,
            colour=1 if finding.impact.direction == "inflates" else 0,
        )
        for finding in report.findings
        if finding.impact.value is not None and finding.impact.metric == "map50_95"
    ]
    if not bars:
        return None
    return bar_chart("mAP50-95 at stake by finding", bars, x_title="mAP50-95 (95 % interval); orange: not real")


def _errors(report: Report) -> str | None:
    """What mending each kind of error would add to AP at IoU 0.5."""
    found = report.validation.error_types.errors if report.validation is not None else {}
    bars = [
        Bar(title, found[kind].d_ap50, found[kind].d_ap50_ci95) for kind, title in ERROR_TITLES.items() if kind in found
    ]
    return bar_chart("AP50 that mending one kind of error would add", bars, x_title="AP50 (TIDE)") if bars else None


def _calibration(report: Report) -> str | None:
    bins = report.validation.calibration.reliability if report.validation is not None else []
    total = sum(entry.detections for entry in bins)
    if not total:
        return None
    dots = [Dot(entry.confidence, entry.precision, entry.detections / total) for entry in bins if entry.detections]
    return reliability("Precision by confidence", dots, x_title="confidence", y_title="precision")


def _has_values(curves: CurvesTable, column: str) -> bool:
    return any(cell is not None for cell in curves.columns.get(column, ()))


def _best_epoch(report: Report) -> tuple[float, str] | None:
    best = report.run.best_epoch
    return None if best is None else (float(best), f"best epoch {best}")


def _measured(report: Report) -> Band | None:
    """The re-validated metric that the curves show too."""
    validation: Validation | None = report.validation
    if validation is None:
        return None
    if validation.metrics.top1 is not None:
        return Band("re-validated top-1", validation.metrics.top1, validation.ci95.get("top1"))
    metrics = validation.metrics.box or validation.metrics.obb
    if metrics is None or metrics.map50_95 is None:
        return None
    return Band("re-validated mAP50-95", metrics.map50_95, validation.ci95.get("map50_95"))


_FIGURES: Final[dict[str, Callable[[Report], str | None]]] = {
    "impacts.svg": _impacts,
    "losses.svg": _losses,
    "metric.svg": _metric,
    "learning_rate.svg": _learning_rate,
    "classes.svg": _classes,
    "class_ids.svg": data_figures.class_ids,
    "sizes.svg": data_figures.sizes,
    "errors.svg": _errors,
    "calibration.svg": _calibration,
    "label_files.svg": data_figures.label_files,
    "label_errors.svg": data_figures.label_errors,
    "interventions.svg": data_figures.interventions,
    "shares.svg": data_figures.shares,
}
NAMES: Final = tuple(_FIGURES)
"""the names that figures can have"""

_CURVES: Final = ("losses.svg", "metric.svg")
_OF_CAUSE: Final[dict[CauseId, tuple[str, ...]]] = {
    "class_imbalance": ("classes.svg",),
    "distribution_shift": ("interventions.svg", "metric.svg"),
    "annotation_errors": ("label_errors.svg", "errors.svg"),
    "data_leakage": ("interventions.svg", "metric.svg"),
    "label_files": ("label_files.svg", "shares.svg"),
    "class_mapping": ("class_ids.svg", "classes.svg"),
    "validation_set_too_small": ("classes.svg",),
    "image_format": ("shares.svg",),
    "overfitting": _CURVES,
    "underfitting": _CURVES,
    "learning_rate": (*_CURVES, "learning_rate.svg"),
    "batch_size": _CURVES,
    "model_architecture": ("sizes.svg", "errors.svg"),
    "augmentation": ("classes.svg", *_CURVES),
    "insufficient_epochs": _CURVES,
    "hardware_limits": _CURVES,
    "weight_initialization": _CURVES,
    "numerical_divergence": ("losses.svg",),
    "checkpoint_integrity": ("shares.svg", *_CURVES),
    "metric_mismatch": ("metric.svg",),
    "confidence_threshold": ("calibration.svg",),
}
"""cause -> the figures that show it"""
