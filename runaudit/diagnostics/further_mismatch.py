"""Reported against re-validated mAP50-95 by masks or keypoints, for `metric_mismatch` of runs that have them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from runaudit.diagnostics.answers import found
from runaudit.diagnostics.evidence import CheckResult, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import EvaluationFacts, FurtherGeometry, Interval

CAUSE: Final = "metric_mismatch"
_WORDS: Final[dict[FurtherGeometry, str]] = {"mask": "masks", "pose": "keypoints"}
_REASONS: Final[dict[FurtherGeometry, str]] = {
    "mask": "other polygons, overlap_mask or mask_ratio, or masks compared at another size",
    "pose": "other keypoints, another kpt_shape or kpt_oks_sigmas, or visibilities that were edited",
}


@dataclass(frozen=True)
class Thresholds:
    map50_95: float = threshold(
        0.01,
        "Twice that of boxes: no settings are tried for masks and keypoints, and the convention of AP of the run's "
        "version alone is worth up to 0.01 (yolo.md A6).",
    )


LIMITS = Thresholds()


@dataclass(frozen=True)
class FurtherGap:
    """The two figures of one geometry, each in [0, 1], on `images`. `source` is where the run reported its own."""

    geometry: FurtherGeometry
    measured: float
    reported: float
    interval: Interval | None
    source: str
    reproduced: bool
    images: int

    @property
    def difference(self) -> float:
        return self.measured - self.reported

    @property
    def spread(self) -> Interval | None:
        """The interval of the difference: the reported figure is a fixed number."""
        if self.interval is None:
            return None
        return self.interval[0] - self.reported, self.interval[1] - self.reported

    @property
    def beyond(self) -> bool:
        """Whether the reported figure lies outside the interval too."""
        return self.interval is None or not self.interval[0] <= self.reported <= self.interval[1]

    @property
    def sentence(self) -> str:
        return f"mAP50-95 by {_WORDS[self.geometry]}: {self.measured:.4f} measured, {self.reported:.4f} reported"

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        name = f"mAP50-95 by {_WORDS[self.geometry]}"
        return (
            Measurement(f"{name}, re-validated", round(self.measured, 5), ci95=self.interval, n=self.images),
            Measurement(f"{name}, reported", round(self.reported, 5), source=self.source),
            Measurement(
                f"difference of {name}",
                round(self.difference, 5),
                threshold=LIMITS.map50_95,
                ci95=self.spread,
                n=self.images,
            ),
        )


def further_gaps(
    evaluation: EvaluationFacts, reported: dict[str, float], source: str, *, small: bool
) -> tuple[FurtherGap, ...]:
    """The gaps of the geometries that were both measured and reported; on a `small` set the interval is enough."""
    gaps = []
    for geometry, measured in evaluation.further.items():
        figure = reported.get(f"{geometry}/map50_95")
        if figure is None:
            continue
        interval = evaluation.ci95.get(f"{geometry}_map50_95")
        gap = FurtherGap(geometry, measured.map50_95, figure, interval, source, True, evaluation.images)
        close = abs(gap.difference) <= LIMITS.map50_95 or (small and not gap.beyond)
        gaps.append(gap if close else replace(gap, reproduced=False))
    return tuple(gaps)


def further_finding(gap: FurtherGap, evaluation: EvaluationFacts, severity: Severity) -> CheckResult:
    """The answer where boxes agree with what was reported, and masks or keypoints don't."""
    words, inflates, spread = _WORDS[gap.geometry], gap.difference < 0, gap.spread
    ends = None if spread is None else sorted(max(0.0, -end if inflates else end) for end in spread)
    return found(
        CAUSE,
        severity,
        f"Re-validation gives mAP50-95 {gap.measured:.3f} by {words}, the run reported {gap.reported:.3f}",
        f"The boxes agree, so it is the same checkpoint on the same images; {_REASONS[gap.geometry]} do this.",
        evidence=gap.measurements,
        impact=Impact(
            "inflates" if inflates else "lowers",
            abs(gap.difference),
            (ends[0], ends[1]) if ends else None,
            "observational",
            metric=f"{gap.geometry}_map50_95",
        ),
        remedies=(
            Remedy(
                f"Validate by {words} again with the labels of the training",
                f"Only the boxes are reproduced: the figures by {words} belong to other labels or settings.",
            ),
        ),
        effect=gap.difference,
        ci95=spread,
        n=evaluation.instances,
    )
