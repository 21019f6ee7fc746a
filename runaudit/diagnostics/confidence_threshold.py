"""Does the default confidence threshold cost F1, and does confidence say how often a detection is right?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.detection_facts import CalibrationFacts, ThresholdFacts
from runaudit.evaluation.facts import EvaluationFacts

CAUSE: Final = "confidence_threshold"


@dataclass(frozen=True)
class Thresholds:
    lost: float = threshold(
        0.03,
        "diagnostics.md D3, but of the lower end of the interval: trained models that nobody had tampered with lose "
        "-0.003 to 0.051 at the default anyway (9 validations: the healthy example, two checkpoints of the benchmark's "
        "shapes on two validation sets each, four checkpoints of strangers), with lower ends up to 0.025.",
    )
    lost_major: float = threshold(
        0.1, "Lower end: a model of 0.75 shows itself as one of 0.65, so that a user would decide otherwise."
    )
    calibration: float = threshold(
        0.2,
        "Lower end of D-ECE without what chance adds. The same 9 validations have 0.067 to 0.185, lower ends up to "
        "0.153: YOLO says too little of its confident detections. With the class layers' bias lowered by 1.5 it is "
        "0.4.",
    )
    instances: int = threshold(
        30, "diagnostics.md A2(4): with fewer, replicates hold the same few boxes and their interval is too narrow."
    )
    class_gain: float = threshold(
        0.01,
        "F1 that a threshold for each class adds on images it was not chosen on (cross-fitted), from which it is worth "
        "the trouble; a third of what is told of at all.",
    )


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    evaluation = evidence.evaluation
    if evaluation is None:
        return not_run(CAUSE, why_absent(evidence, "evaluation"))
    measured = evaluation.thresholds
    if measured is None:
        return not_run(CAUSE, "Thresholds are measured for tasks that detect objects only.")
    best, interval = measured.overall, measured.overall.lost_ci95
    if interval is None:
        return inconclusive(CAUSE, "What the default threshold costs has no interval.", n=evaluation.images)
    if evaluation.instances < LIMITS.instances:
        return inconclusive(
            CAUSE,
            f"The validation split has {evaluation.instances} instances; {LIMITS.instances} are needed to choose a "
            "threshold.",
            n=evaluation.images,
        )
    if best.f1 == 0:
        return inconclusive(CAUSE, "No threshold finds any object: it is not the threshold.", n=evaluation.images)
    severity = _severity(interval[0], evaluation.calibration)
    said = _said(measured) + _calibration_said(evaluation.calibration)
    if severity is not None:
        return _finding(evaluation, measured, severity, said)
    if interval[1] < LIMITS.lost_major:
        return passed(CAUSE, said, effect=best.lost, ci95=interval, n=evaluation.images)
    vague = f"What the default costs is not known well enough: {interval[0]:.2f} to {interval[1]:.2f} of F1. {said}"
    return inconclusive(CAUSE, vague, effect=best.lost, ci95=interval, n=evaluation.images)


def _severity(least_lost: float, calibration: CalibrationFacts | None) -> Severity | None:
    """By the lower end of what is lost, else by calibration."""
    if least_lost >= LIMITS.lost_major:
        return "major"
    return "minor" if least_lost >= LIMITS.lost or _miscalibrated(calibration) else None


def _miscalibrated(calibration: CalibrationFacts | None) -> bool:
    error = calibration.d_ece if calibration is not None else None
    return (
        error is not None
        and error.ci95 is not None
        and error.ci95[0] >= LIMITS.calibration
        and error.error > error.chance95
    )


def _said(measured: ThresholdFacts) -> str:
    best = measured.overall
    if best.threshold == measured.default:
        return f"F1 is best at the default threshold itself, {best.threshold:.2f} ({best.f1:.3f}). "
    return (
        f"F1 is best at confidence {best.threshold:.2f} ({best.f1:.3f}); at the default {measured.default:g} it is "
        f"{best.f1_default:.3f}. "
    )


def _calibration_said(calibration: CalibrationFacts | None) -> str:
    if calibration is None:
        return "No detection reaches the threshold from which calibration is judged."
    direction = "over" if calibration.overconfidence > 0 else "under"
    error = calibration.d_ece
    if error.error <= error.chance95:
        return "Confidence agrees with precision as far as chance lets one see."
    return (
        f"Confidence is off from precision by {error.corrected:.3f} (D-ECE without chance), {direction}confident by "
        f"{abs(calibration.overconfidence):.3f} on average."
    )


def _finding(evaluation: EvaluationFacts, measured: ThresholdFacts, severity: Severity, said: str) -> CheckResult:
    best, interval = measured.overall, measured.overall.lost_ci95
    costs = interval is not None and interval[0] >= LIMITS.lost
    evidence = [
        Measurement("F1 lost at the default threshold", round(best.lost, 4), LIMITS.lost, interval, evaluation.images),
        Measurement(
            "threshold of the best F1", best.threshold, measured.default, best.threshold_ci95, evaluation.images
        ),
        Measurement(
            "F1 lost, thresholds chosen on other images",
            round(measured.cross_fitted - measured.cross_fitted_default, 4),
            n=evaluation.images,
        ),
    ]
    calibration = evaluation.calibration
    if calibration is not None:
        error = calibration.d_ece
        evidence.append(
            Measurement(
                "calibration error (D-ECE without chance)",
                round(error.corrected, 4),
                LIMITS.calibration,
                error.ci95,
                error.detections,
            )
        )
    if not costs:
        evidence.insert(0, evidence.pop())
    title = (
        f"The default threshold {measured.default:g} costs {best.lost:.2f} F1; {best.threshold:.2f} is best"
        if costs
        else "Confidence does not say how often a detection is right"
    )
    return found(
        CAUSE,
        severity,
        title,
        said,
        evidence=tuple(evidence),
        impact=Impact("lowers", max(0.0, best.lost), _not_below_zero(interval), "intervention", "f1")
        if costs
        else Impact("lowers", metric="f1"),
        remedies=_remedies(evaluation, measured, costs=costs),
        classes=_classes(evaluation, measured),
        effect=best.lost,
        ci95=interval,
        n=evaluation.images,
    )


def _not_below_zero(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    return None if interval is None else (max(0.0, interval[0]), max(0.0, interval[1]))


def _classes(evaluation: EvaluationFacts, measured: ThresholdFacts) -> tuple[str, ...]:
    """The classes that lose by themselves, of those with enough instances."""
    names = {entry.class_id: entry.name for entry in evaluation.per_class}
    return tuple(
        names.get(entry.class_id, str(entry.class_id))
        for entry in measured.per_class
        if entry.choice is not None
        and entry.instances >= LIMITS.instances
        and entry.choice.lost_ci95 is not None
        and entry.choice.lost_ci95[0] >= LIMITS.lost
    )


def _remedies(evaluation: EvaluationFacts, measured: ThresholdFacts, *, costs: bool) -> tuple[Remedy, ...]:
    remedies = []
    best = measured.overall
    if costs:
        remedies.append(
            Remedy(
                f"Predict with conf={best.threshold:g}",
                "Nothing has to be trained again: the threshold is an argument of prediction and of export.",
                patch={"conf": best.threshold},
                code=f'model = YOLO("best.pt")\nresults = model.predict(source, conf={best.threshold:g})\n',
                reference="https://docs.ultralytics.com/modes/predict/#inference-arguments",
            )
        )
    if measured.cross_fitted_by_class - max(measured.cross_fitted, measured.cross_fitted_default) >= LIMITS.class_gain:
        remedies.append(_by_class(evaluation, measured))
    if _miscalibrated(evaluation.calibration):
        remedies.append(_RECALIBRATION)
    return tuple(remedies)


def _by_class(evaluation: EvaluationFacts, measured: ThresholdFacts) -> Remedy:
    """A threshold for each class that has one, read by its id."""
    gain = measured.cross_fitted_by_class - measured.cross_fitted
    chosen = {entry.class_id: entry.choice.threshold for entry in measured.per_class if entry.choice is not None}
    listed = ", ".join(f"{class_id}: {value:g}" for class_id, value in chosen.items())
    lowest = min(chosen.values(), default=measured.default)
    return Remedy(
        "Use a threshold for each class",
        f"It adds {gain:.3f} F1 to one threshold for all, measured on images that the thresholds were not chosen on.",
        code=f"threshold = {{{listed}}}\n"
        f"result = model.predict(source, conf={lowest:g})[0]\n"
        f"least = [threshold.get(int(cls), {measured.overall.threshold:g}) for cls in result.boxes.cls]\n"
        "keep = result.boxes.conf >= torch.tensor(least, device=result.boxes.conf.device)\n"
        "boxes = result.boxes[keep]\n",
    )


_RECALIBRATION: Final = Remedy(
    "Recalibrate the confidences",
    "A monotone map from confidence to precision, learnt on labelled images that are not used to judge it; mAP stays "
    "as it is. Isotonic regression or a temperature does better than training for calibration.",
    code="import numpy as np\n"
    "from sklearn.isotonic import IsotonicRegression\n"
    "from sklearn.linear_model import LogisticRegression\n"
    "\n"
    "# conf (n,) of detections of at least conf 0.05, right (n,) whether each has IoU 0.5 with a label of its own\n"
    "isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds='clip').fit(conf, right)\n"
    "calibrated = isotonic.predict(conf)\n"
    "# with fewer than a thousand detections: a temperature and a shift of the logit instead of a free curve\n"
    "logit = np.log(conf / (1 - conf)).reshape(-1, 1)\n"
    "calibrated = LogisticRegression(C=1e6).fit(logit, right).predict_proba(logit)[:, 1]\n",
    reference="Kuzucu et al., On calibration of object detectors: pitfalls, evaluation and baselines, ECCV 2024",
)

CHECK = Check(
    cause=CAUSE,
    title="Confidence threshold",
    question=__doc__ or "",
    statistic=(
        "F1 at IoU 0.5, the mean over classes with labels, at the best of 99 thresholds (chosen on a curve smoothed "
        "over 10 % of its length, as the framework does) less F1 at the default 0.25, with the percentile interval of "
        "1000 replicates that resample images, at the same two thresholds; the same again with thresholds chosen on "
        "other images. Calibration: D-ECE with 10 bins over the detections of at least the lower of both thresholds, "
        "less what chance adds, which a wild cluster bootstrap over images measures."
    ),
    thresholds=LIMITS,
    false_positives=(
        "A use that wants recall before precision, or the reverse, has another best threshold than F1 has.",
        "A model that has not learnt enough is unsure of everything: then the threshold is a symptom.",
        "Objects without labels count as false detections: they push the best threshold up and precision down.",
        "A validation split that is not like the images in use: its best threshold is not theirs.",
    ),
    references=(
        "diagnostics.md D3: F1-optimal confidence, D-ECE, LaECE and their pitfalls",
        "Kueppers et al., Multivariate confidence calibration for object detection, CVPR workshops 2020",
        "Kuzucu et al., On calibration of object detectors: pitfalls, evaluation and baselines, ECCV 2024",
    ),
    examine=examine,
)
