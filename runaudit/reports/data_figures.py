"""Figures of data and labels: what label files lack, which labels look wrong, and what one thing changed brings."""

from __future__ import annotations

from typing import Final

from runaudit.reports.charts import Bar, bar_chart
from runaudit.reports.schema import EvidenceItem, Report

MOST_BARS: Final = 40
"""rows of a picture"""
FOUND, LIMIT = 1, 0
"""colours of what was found and of what is allowed"""


def label_files(report: Report) -> str | None:
    """Images of each split by what was found of their labels; nothing where every image has usable ones."""
    splits = report.dataset.splits if report.dataset is not None else {}
    if not any(split.missing_labels or split.rejected for split in splits.values()):
        return None
    bars = [
        Bar(f"{name}: {what}", count, colour=colour)
        for name, split in splits.items()
        for what, count, colour in (
            ("labelled", split.labelled, LIMIT),
            ("background", split.background, LIMIT),
            ("without a label file", split.missing_labels, FOUND),
            ("rejected", split.rejected, FOUND),
        )
    ]
    return bar_chart("Images by their label files", bars[:MOST_BARS], x_title="images")


def label_errors(report: Report) -> str | None:
    """The estimated share of labels that are wrong in each way."""
    review = report.validation.labels if report.validation is not None else None
    bars = [
        Bar(f"{rate.kind} (n = {rate.n})", rate.rate, rate.ci95)
        for rate in (review.rates if review is not None else ())
        if rate.rate is not None
    ]
    return bar_chart("Labels that look wrong", bars, x_title="share of labels (95 % interval)") if bars else None


def class_ids(report: Report) -> str | None:
    """mAP50-95 with class ids as they stand, blind to them, and with the best permutation of them."""
    review = report.validation.labels if report.validation is not None else None
    if review is None or review.permutation is None:
        return None
    found = review.permutation
    bars = [
        Bar("as labelled", found.map50_95),
        Bar("blind to classes", found.agnostic_map50_95),
        Bar("ids mapped at best", found.mapped_map50_95),
    ]
    return bar_chart("mAP50-95 by how class ids are read", bars, x_title="mAP50-95", most=1.0)


def sizes(report: Report) -> str | None:
    """COCO's AP and recall of small, medium and large labels."""
    found = report.validation.per_size if report.validation is not None else []
    bars = [
        Bar(f"{entry.size} (n = {entry.labels}): {what}", value, colour=colour)
        for entry in found
        if entry.size != "all" and entry.labels
        for what, value, colour in (("AP", entry.ap, 0), ("recall", entry.recall, 1))
        if value is not None
    ]
    return bar_chart("AP and recall by size of the labels", bars, x_title="AP50-95, recall", most=1.0) if bars else None


def interventions(report: Report) -> str | None:
    """What the metric changes by where validation is done again with one thing changed."""
    bars = [
        Bar(entry.name.replace("_", " "), entry.difference, entry.ci95)
        for entry in report.interventions
        if entry.metric == "map50_95"
    ]
    if not bars:
        return None
    return bar_chart("mAP50-95 gained with one thing changed", bars[:MOST_BARS], x_title="mAP50-95 (95 % interval)")


def shares(report: Report) -> str | None:
    """The shares that findings state, each beside the threshold that it is held against."""
    bars: list[Bar] = []
    for finding in report.findings:
        for item in finding.evidence:
            pair = _share(item)
            if pair is not None:
                bars += [Bar(item.name, pair[0], item.ci95, FOUND), Bar("threshold", pair[1], colour=LIMIT)]
    return (
        bar_chart("Shares found, and their thresholds", bars[:MOST_BARS], x_title="share", most=1.0) if bars else None
    )


def _share(item: EvidenceItem) -> tuple[float, float] | None:
    """Value and threshold as shares in [0, 1]: of what is called one, or of `n` that are counted."""
    value, limit = item.value, item.threshold
    if isinstance(value, (bool, str)) or isinstance(limit, (bool, str)) or value is None or limit is None:
        return None
    if item.name.startswith("share ") and 0 <= value <= 1 and 0 <= limit <= 1:
        return float(value), float(limit)
    if isinstance(value, int) and item.n and item.ci95 is None and 0 <= limit <= value <= item.n:
        return value / item.n, limit / item.n
    return None
