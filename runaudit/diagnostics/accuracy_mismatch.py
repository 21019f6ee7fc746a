"""A classifier's reported top-1 accuracy against the re-validated one, as `metric_mismatch` answers for such runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, passed
from runaudit.diagnostics.evidence import CheckResult, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import ClassificationFacts, Interval

CAUSE: Final = "metric_mismatch"


@dataclass(frozen=True)
class Thresholds:
    top1: float = threshold(
        0.005,
        "As for mAP50-95. Measured: three runs of strangers (8.3.92 and 8.4.21, 80 and 505 images) are reproduced to "
        "all digits that results.csv has.",
    )
    large_set: int = threshold(
        500, "Images from which the tolerance holds as it stands: 0.005 are then 2 images or more."
    )
    major: float = threshold(0.02, "The report contract's 2 points.")
    critical: float = threshold(0.1, "As for mAP50-95: other images or other weights are likelier than a setting.")


LIMITS = Thresholds()
WITHIN_INTERVAL: Final = "within the interval"


def compare_accuracy(measured: ClassificationFacts, reported: float, source: str) -> CheckResult:
    """The answer for a classifier that reported top-1 accuracy `reported`, in [0, 1], at `source`."""
    difference = measured.top1 - reported
    interval = measured.ci95.get("top1")
    within = interval is not None and interval[0] <= reported <= interval[1]
    spread = None if interval is None else (interval[0] - reported, interval[1] - reported)
    figures = f"{measured.top1:.4f} measured on {measured.images} images, {reported:.4f} reported in {source}"
    how = reproduces(measured, reported)
    if how == WITHIN_INTERVAL and abs(difference) >= LIMITS.critical:
        reason = f"{figures}: so large a gap is within the interval, and the images are too few to tell."
        return inconclusive(CAUSE, reason, effect=difference, ci95=spread, n=measured.images)
    if how is not None:
        reason = f"Re-validation reproduces the reported top-1 accuracy ({figures}: {how})."
        return passed(CAUSE, reason, effect=difference, ci95=spread, n=measured.images)
    explained = _explained(measured, reported)
    severity = "minor" if explained else _severity(abs(difference), beyond=not within)
    return found(
        CAUSE,
        severity,
        f"Re-validation gives a top-1 accuracy of {measured.top1:.3f}, the run reported {reported:.3f}"
        + (f" ({explained.title} explains it)" if explained else ""),
        explained.explanation if explained else _OTHERWISE[difference < 0] + _UNEXPLAINED,
        evidence=(
            Measurement("top-1 accuracy, re-validated", round(measured.top1, 5), ci95=interval, n=measured.images),
            Measurement("top-1 accuracy, reported", round(reported, 5), source=source),
            Measurement(
                "difference of top-1 accuracy",
                round(difference, 5),
                threshold=LIMITS.top1,
                ci95=spread,
                n=measured.images,
            ),
            *_trials(measured),
        ),
        impact=Impact(
            "inflates" if difference < 0 else "lowers",
            abs(difference),
            _size(spread, inflates=difference < 0),
            "intervention" if explained else "observational",
            "top1",
        ),
        remedies=(explained.remedy if explained else _SAME,),
        effect=difference,
        ci95=spread,
        n=measured.images,
    )


def reproduces(measured: ClassificationFacts, reported: float) -> str | None:
    """How the reported top-1 accuracy is reproduced, in words; None if it isn't."""
    # One image more or less is no difference on a set so small that it is more than the tolerance.
    if abs(measured.top1 - reported) <= max(LIMITS.top1, 1.0 / measured.images + 1e-5):
        return "within tolerance"
    interval = measured.ci95.get("top1")
    within = interval is not None and interval[0] <= reported <= interval[1]
    return WITHIN_INTERVAL if within and measured.images < LIMITS.large_set else None


@dataclass(frozen=True)
class _Explanation:
    """What the reported figure was measured with, as the finding says it."""

    title: str
    explanation: str
    remedy: Remedy


def _explained(measured: ClassificationFacts, reported: float) -> _Explanation | None:
    """The first of what was tried that gives what was reported."""
    if measured.own_order_top1 is not None and abs(measured.own_order_top1 - reported) <= LIMITS.top1:
        return _SHIFTED
    close = any(abs(trial.top1 - reported) <= LIMITS.top1 for trial in measured.trials)
    return _OTHER_FOLDER if close else None


def _trials(measured: ClassificationFacts) -> tuple[Measurement, ...]:
    """Top-1 accuracy measured in other ways."""
    own = measured.own_order_top1
    tried = [] if own is None else [Measurement(_TRIED["own_order"], round(own, 5), n=measured.images)]
    tried += [Measurement(_TRIED[trial.name], round(trial.top1, 5), n=trial.images) for trial in measured.trials]
    return tuple(tried)


_TRIED: Final = {
    "own_order": "top-1 accuracy with ids counted in the split's own folders",
    "test": "top-1 accuracy on the test split",
    "test_own_order": "top-1 accuracy on the test split with ids counted in its own folders",
}


def _severity(size: float, *, beyond: bool) -> Severity:
    """Graver than minor only beyond the bootstrap interval as well."""
    if not beyond or size < LIMITS.major:
        return "minor"
    return "critical" if size >= LIMITS.critical else "major"


def _size(spread: Interval | None, *, inflates: bool) -> Interval | None:
    """The interval of the gap's size, cut off at 0."""
    if spread is None:
        return None
    low, high = sorted(max(0.0, -end if inflates else end) for end in spread)
    return low, high


_OTHERWISE: Final = {
    True: "The reported figure is higher than the checkpoint and these images give. ",
    False: "The checkpoint is better on these images than the run reported. ",
}
"""by whether the reported figure is the higher one"""
_UNEXPLAINED: Final = (
    "Other images, another checkpoint or another imgsz do this, and so does another val folder: versions up to 8.3.92 "
    "at least don't know `valid`, and validate on `test` where there is no `val`. Versions up to 8.0.200 at least cut "
    "a square out before resizing it."
)
"""the versions named are those that were read"""
_SAME: Final = Remedy(
    "Validate with the run's own settings and data",
    "Compare imgsz, the folder and the row of the best epoch with what validation.settings of this report names.",
)
_FOLDERS: Final = Remedy(
    "Give each split a folder for each class, an empty one if need be, or update ultralytics",
    "The installed version brings folders and classes together by name.",
)
_SHIFTED: Final = _Explanation(
    "the order of the class folders",
    "The validation split lacks a class folder that training had. Versions of ultralytics up to 8.4.21 at least number "
    "the classes of each split by its own folders, so that all classes behind the missing one were compared with the "
    "wrong name; counted like that, re-validation gives what was reported.",
    _FOLDERS,
)
_OTHER_FOLDER: Final = _Explanation(
    "the test folder",
    "On the test split re-validation gives what was reported. Versions of ultralytics up to 8.3.92 at least don't know "
    "a folder `valid`, and validate on `test` where there is no `val` or `validation`; the best epoch was then chosen "
    "by the test images, so that they are no independent test any more.",
    Remedy(
        "Rename `valid` to `val`, or update ultralytics, and train again",
        "Only then is the test split one that nothing was chosen by.",
    ),
)
