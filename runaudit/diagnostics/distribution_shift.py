"""Do validation images differ from training images, and does the difference cost mAP?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Severity
from runaudit.diagnostics.interventions import named, surely, why_failed
from runaudit.diagnostics.shift_remedies import remedies
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import Interval, PropertyShift, ShiftFacts

CAUSE: Final = "distribution_shift"

SAID: Final = {
    "brightness": ("darker", "brighter"),
    "contrast": ("of less contrast", "of more contrast"),
    "saturation": ("less saturated", "more saturated"),
    "green_red": ("greener", "redder"),
    "blue_yellow": ("bluer", "yellower"),
    "sharpness": ("less sharp", "sharper"),
    "noise": ("less noisy", "noisier"),
    "blockiness": ("less blocky", "blockier, as strong JPEG compression makes them"),
    "pixels": ("smaller", "larger"),
    "aspect": ("narrower", "wider"),
    "objects": ("emptier", "fuller of objects"),
    "object_size": ("of smaller objects", "of larger objects"),
}


@dataclass(frozen=True)
class Thresholds:
    images: int = threshold(
        50,
        "diagnostics.md A2(1), B2: with 50 images a side chance alone passes a distance of 0.2 in one of five "
        "properties; "
        "below, nothing is said.",
    )
    area: float = threshold(
        0.65,
        "diagnostics.md B2. Of 300 random splits of four rendered data sets and three of the corpus, with 65 to 120 "
        "images a side, none passes it, and a property shifts in 4 (benchmarks/shift_false_alarms.py).",
    )
    significance: float = threshold(0.05, "Of the permutation test, adjusted over properties by Holm's method.")
    cost: float = threshold(
        0.02, "The report contract: 2 points of mAP50-95 make a finding major. The interval must lie above 0 too."
    )


LIMITS = Thresholds()


@dataclass(frozen=True)
class _Cost:
    value: float
    ci95: Interval | None
    said: str
    sure: bool


def examine(evidence: Evidence) -> CheckResult:
    shift = evidence.shift
    if shift is None:
        return not_run(CAUSE, evidence.absent.get("shift") or why_absent(evidence, "training"))
    smaller = min(shift.training_images, shift.validation_images)
    if smaller < LIMITS.images:
        return inconclusive(
            CAUSE,
            f"{shift.training_images} training and {shift.validation_images} validation images were compared; "
            f"{LIMITS.images} of each are needed to tell a shift from chance.",
            effect=shift.area,
            n=smaller,
        )
    shifted = tuple(sorted((one for one in shift.properties if one.shifted), key=lambda one: -one.distance))
    together = shift.area >= LIMITS.area and shift.p_value < LIMITS.significance
    if not shifted and not together:
        return passed(
            CAUSE,
            "No property of the images differs by more than chance and by enough to matter, and a classifier tells the "
            f"splits apart with an area of {shift.area:.2f} only (0.5 is guessing).",
            effect=shift.area,
            n=smaller,
        )
    return _finding(evidence, shift, shifted)


def _finding(evidence: Evidence, shift: ShiftFacts, shifted: tuple[PropertyShift, ...]) -> CheckResult:
    cost = _cost(evidence)
    severity: Severity = "major" if cost is not None and cost.sure and cost.value >= LIMITS.cost else "minor"
    words = _words(shifted)
    title = f"Validation images are {words} than training images" if words else "Validation images look different"
    return found(
        CAUSE,
        severity,
        title,
        f"A classifier that sees light, colours, sharpness and layout tells the splits apart with an area of "
        f"{shift.area:.2f} (0.5 is guessing, chance reaches {_null(shift)}). "
        + (cost.said if cost is not None else _not_measured(evidence))
        + _half(evidence),
        evidence=(
            *(
                Measurement(
                    f"distance of {one.name} (means {one.training:.3g} in training, {one.validation:.3g} in "
                    "validation)",
                    round(one.distance, 4),
                    0.2,
                    one.ci95,
                    shift.validation_images,
                )
                for one in shifted[:5]
            ),
            Measurement(
                "area by which a classifier tells the splits apart",
                round(shift.area, 4),
                LIMITS.area,
                n=shift.training_images + shift.validation_images,
            ),
        ),
        impact=Impact("lowers", max(0.0, cost.value), cost.ci95, "intervention")
        if cost is not None
        else Impact("lowers"),
        remedies=remedies(shifted, evidence.run),
        effect=shift.area,
        n=min(shift.training_images, shift.validation_images),
    )


def _cost(evidence: Evidence) -> _Cost | None:
    """The larger of what changed validation images gain and what training images lose when changed alike.

    Darkened pixels can't be brightened without loss, and blurred ones not at all; the second way is exact there.
    """
    gained, lost = named(evidence, "match_photometry"), named(evidence, "training_images_like_validation")
    costs = []
    if gained is not None:
        costs.append(
            _Cost(
                gained.difference,
                gained.ci95,
                f"With the colours of training, validation gains {gained.difference:+.3f} of mAP50-95. ",
                surely(gained, LIMITS.cost),
            )
        )
    if lost is not None:
        ends = (-lost.ci95[1], -lost.ci95[0]) if lost.ci95 is not None else None
        costs.append(
            _Cost(
                -lost.difference,
                ends,
                f"Training images that are changed to look like validation lose {-lost.difference:.3f} of mAP50-95. ",
                -lost.difference >= LIMITS.cost and ends is not None and ends[0] > 0,
            )
        )
    return max(costs, key=lambda cost: (cost.sure, cost.value), default=None)


def _not_measured(evidence: Evidence) -> str:
    why = why_failed(evidence, "match_photometry", "training_images_like_validation")
    said = "What the difference costs could not be measured by changing the images. "
    return said if why is None else f"{said}{why.replace('It ', 'That ', 1)} "


def _half(evidence: Evidence) -> str:
    like = named(evidence, "images_like_training")
    if like is None:
        return ""
    return f"The half of validation that looks most like training differs by {like.difference:+.3f} from all of it."


def _null(shift: ShiftFacts) -> str:
    return f"{shift.null_area:.2f}" if shift.null_area is not None else "not known"


def _words(shifted: tuple[PropertyShift, ...]) -> str:
    words = [SAID[one.name][int(one.validation > one.training)] for one in shifted[:3]]
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1] if words else ""


CHECK = Check(
    cause=CAUSE,
    title="Distribution shift",
    question=__doc__ or "",
    statistic=(
        "Kolmogorov and Smirnov's distance of each property (brightness, contrast, saturation, colour cast, sharpness, "
        "noise, blockiness, size, aspect, objects and their size), at least 0.2 with an interval above 0.1, with a "
        "permutation p-value over groups of images and Holm's adjustment; and the area under the ROC curve of a linear "
        "classifier on photometric properties and colour layout, cross-fitted, beside the area that training images "
        "parted at random reach. The cost is a pass over validation images with the colours of training, and one over "
        "training images with the colours, sharpness, noise and compression of validation. Where validation images "
        "of the "
        "example were altered, the larger of the two was 0.042, 0.022, 0.020, 0.074, 0.369, 0.036 and 0.327 of "
        "mAP50-95 for "
        "what cost 0.059 (darkened), 0.025 (gamma), 0.037 (blurred), 0.075 (noise), 0.340 (made grey), 0.027 (warm "
        "light) "
        "and 0.295 (compressed)."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Splits by scene, film or day differ by more than chance, and are meant to.",
        "A difference that costs nothing is reported as minor: augmentation may cover it.",
        "An overfitted model loses more by changed training images than it would lose on new ones.",
    ),
    references=(
        "Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR 2017",
        "Rabanser, Guennemann and Lipton, Failing loudly, NeurIPS 2019",
        "Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979",
    ),
    examine=examine,
)
