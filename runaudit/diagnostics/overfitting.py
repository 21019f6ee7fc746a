"""Is mAP on training images, under validation transforms, far above validation mAP, with nothing else to explain it?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics import learnt_by_heart
from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.history import History, history_of
from runaudit.diagnostics.interventions import named
from runaudit.diagnostics.origin import origin_of
from runaudit.diagnostics.overfitting_gap import GapThresholds, judge
from runaudit.diagnostics.robust import Series, noise_sigma, rolling_mean, theil_sen
from runaudit.diagnostics.stability import LIMITS as STABILITY
from runaudit.diagnostics.stability import stability_of
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.wording import metric_word
from runaudit.runs.facts import RunFacts

CAUSE: Final = "overfitting"

WEAK = (
    "This is weak evidence: curves can't tell overfitting from a validation split that differs from training. "
    "Scoring the model on its training images would, which takes weights and data."
)


@dataclass(frozen=True)
class Thresholds(GapThresholds):
    classifier_gap: float = threshold(
        learnt_by_heart.GAP,
        "Accuracy: the least on training images that a classifier's training loss allows, less validation's best. "
        "Of 21 public runs of classifiers 18 lie at 0.07 or below; 3, all of one data set and with a validation at "
        "chance, at 0.20, 0.32 and 0.48.",
    )
    decline: float = threshold(
        0.02,
        "diagnostics.md B4: 2 % of the best mAP. With the other conditions 2 of 300 simulated healthy runs "
        "alarm, and 299 "
        "of 300 that lose 15 to 40 % (benchmarks/curve_false_alarms.py).",
    )
    noise_multiple: float = threshold(
        3.0, "diagnostics.md B4: the decline in standard errors of a mean of k epochs, by the run's own noise."
    )
    val_rise: float = threshold(
        0.02,
        "diagnostics.md B4: the validation loss above its minimum. Alone it means nothing: 9 of 15 public runs "
        "with a rise of 5 % keep their mAP (A2(5)).",
    )
    peak_before: float = threshold(0.9, "diagnostics.md B4: the peak lies before this part of the run.")
    kept: float = threshold(
        0.5,
        "Share of the peak below which mAP has fallen whatever the validation loss does: the summed loss can go on "
        "falling while mAP is lost. A steep fall is rare: 1 of 179 public runs has it without a rise of the loss, and "
        "none of 300 simulated healthy ones (benchmarks/curve_false_alarms.py).",
    )
    learnt: float = threshold(
        0.05, "mAP50-95 below which there is nothing to decline from (numerical_divergence); a handful of detections."
    )
    rows: int = threshold(12, "Four windows of the smallest width (3 epochs); below that peak and end overlap.")


LIMITS = Thresholds()


@dataclass(frozen=True)
class _Decline:
    width: int
    peak_index: int
    peak: float
    end: float
    margin: float

    @property
    def drop(self) -> float:
        return self.peak - self.end


def examine(evidence: Evidence) -> CheckResult:
    """By mAP on training images where they were validated; else by the curves, never graver than minor."""
    gap = named(evidence, "training_images")
    curves = by_curves(evidence)
    return curves if gap is None else judge(evidence, gap, curves, remedies(evidence.run))


def by_curves(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    """Whether validation mAP declines while the training loss falls, or a classifier knows training by heart."""
    history = history_of(evidence.run)
    if history is None:
        return not_run(CAUSE, why_absent(evidence, "curves"))
    known = learnt_by_heart.judge(evidence, history, remedies(evidence.run))
    if known is not None:
        return known
    # Closing mosaic moves every curve at once (yolo.md A9). A best row in warm-up is one to decline from all the same:
    # what pretrained weights had, or an earlier training, was lost.
    usable = np.isfinite(history.metric) & ~history.mosaic_closed
    rows = np.flatnonzero(usable)
    if (usable & ~history.warmup).sum() < LIMITS.rows:
        return inconclusive(
            CAUSE,
            f"Only {rows.size} epochs lie between warm-up and the closing of mosaic; {LIMITS.rows} are needed to "
            "tell a "
            "decline from noise.",
            n=int(rows.size),
        )
    decline = _decline(history.metric[rows])
    word = metric_word(history, begins=True)
    if history.metric_name == "map50_95" and decline.peak < LIMITS.learnt:
        return inconclusive(
            CAUSE,
            f"{word} never rose above {float(history.metric[rows].max()):.3f}, which leaves nothing to decline from. "
            + WEAK,
            effect=decline.drop,
            n=int(rows.size),
        )
    if decline.drop <= decline.margin or decline.peak_index >= LIMITS.peak_before * rows.size:
        return passed(
            CAUSE,
            f"{word} doesn't decline after its peak (by {decline.drop:.4f}, of {decline.margin:.4f} that noise "
            f"allows). {WEAK}",
            effect=decline.drop,
            n=int(rows.size),
        )
    train_slope, val_rise = _late_train_slope(history, rows, decline), _val_rise(history, rows)
    if train_slope is None or val_rise is None:
        return inconclusive(
            CAUSE,
            f"{word} declines by {decline.drop:.4f} after its peak, but the losses in the curves (too few, or none "
            "above zero) can't explain it.",
            effect=decline.drop,
            n=int(rows.size),
        )
    # Where the training loss exploded as well the run diverged.
    exploded = (stability_of(history).loss_ratio or 0.0) > STABILITY.loss_ratio
    lost = decline.end < LIMITS.kept * decline.peak and not exploded
    if train_slope >= 0 or (val_rise < LIMITS.val_rise and not lost):
        return passed(
            CAUSE,
            f"{word} declines by {decline.drop:.4f} after its peak, but not as overfitting does: "
            + ("the training loss doesn't fall. " if train_slope >= 0 else "the validation loss stays at its minimum. ")
            + WEAK,
            effect=decline.drop,
            n=int(rows.size),
        )
    return _finding(history, rows, decline, val_rise, remedies(evidence.run))


def _decline(metric: Series) -> _Decline:
    """Best mean of k neighbouring epochs against the mean of the last k.

    k = max(3, E/20). Neighbours instead of B4's best k rows anywhere: those would pick the noise of a plateau.
    Two means of k epochs are compared, and the better of many, so that the margin is noise_multiple * sigma *
    sqrt(2/k).
    """
    width = max(3, metric.size // 20)
    means = rolling_mean(metric, width)
    start = int(np.argmax(means))
    noise = noise_sigma(metric) or 0.0
    margin = max(LIMITS.noise_multiple * noise * (2.0 / width) ** 0.5, LIMITS.decline * float(means[start]))
    return _Decline(width, start + width // 2, float(means[start]), float(means[-1]), margin)


def _late_train_slope(
    history: History, rows: np.ndarray[tuple[int], np.dtype[np.int64]], decline: _Decline
) -> float | None:
    """Theil-Sen slope of the training loss an epoch, from the peak of mAP to the end."""
    after = rows[decline.peak_index :]
    after = after[np.isfinite(history.train[after])]
    return theil_sen(history.epochs[after], history.train[after]) if after.size >= 3 else None


def _val_rise(history: History, rows: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float | None:
    """How far the last validation losses lie above the lowest mean of three, relative to it."""
    losses = history.val[rows]
    losses = losses[np.isfinite(losses)]
    if losses.size < LIMITS.rows:
        return None
    means = rolling_mean(losses, max(3, losses.size // 20))
    return float(means[-1] / means.min() - 1.0) if means.min() > 0 else None


def _finding(
    history: History,
    rows: np.ndarray[tuple[int], np.dtype[np.int64]],
    decline: _Decline,
    val_rise: float,
    remedies: tuple[Remedy, ...],
) -> CheckResult:
    peak_row = int(rows[decline.peak_index])
    best = int(history.epochs[peak_row])
    return found(
        CAUSE,
        "minor",
        f"{metric_word(history, begins=True)} declines after epoch {best} while the training loss goes on falling",
        f"Means of {decline.width} epochs: {decline.peak:.3f} at the peak, {decline.end:.3f} at the end; the "
        "validation loss "
        + (f"rose by {val_rise:.0%} from its minimum" if val_rise >= LIMITS.val_rise else "did not rise with it")
        + f". best.pt keeps the peak, last.pt does not. {WEAK}",
        evidence=(
            Measurement(
                f"decline of {metric_word(history)} after its peak",
                round(decline.drop, 4),
                threshold=round(decline.margin, 4),
                n=int(rows.size),
                source=history.place(peak_row),
            ),
            Measurement("rise of the validation loss", round(val_rise, 4), threshold=LIMITS.val_rise, n=int(rows.size)),
        ),
        # What best.pt would gain can't be read off the curves, and last.pt's loss is not the audited model's.
        impact=Impact("lowers", metric=history.metric_name or "map50_95"),
        remedies=remedies,
        effect=decline.drop,
        n=int(rows.size),
    )


def remedies(run: RunFacts) -> tuple[Remedy, ...]:
    """What there is against overfitting; random weights are not frozen."""
    if run.task == "classify":
        return _of_classifiers()
    if origin_of(run).start == "scratch":
        return REMEDIES
    return (*REMEDIES[:2], _FREEZE, *REMEDIES[2:])


def _of_classifiers() -> tuple[Remedy, ...]:
    """Their transforms know no mosaic and no mixup, and their head does drop out (ultralytics data/augment.py
    classify_augmentations, models/yolo/classify/train.py)."""
    augment = Remedy(
        "Augment more",
        "The cheapest new data. Classifiers take crops, colours, erasing and RandAugment; mosaic is for detection.",
        {"scale": 0.7, "hsv_s": 0.7, "hsv_v": 0.4, "erasing": 0.4, "auto_augment": "randaugment"},
    )
    return (
        augment,
        Remedy("Drop units of the head out", "Of the classifier's last layer only.", {"dropout": 0.2}),
        *REMEDIES[1:3],
        Remedy("Take a smaller model, or more data", "What it can't hold it can't learn by heart."),
    )


_FREEZE = Remedy("Freeze the backbone", "Fewer free parameters for a small data set.", {"freeze": 10})
REMEDIES = (
    Remedy(
        "Augment more",
        "The cheapest new data. Mixup and wider scale and colour ranges help small data sets most.",
        {"mosaic": 1.0, "mixup": 0.1, "scale": 0.7, "hsv_s": 0.7, "hsv_v": 0.4},
    ),
    Remedy("Raise weight decay (L2)", "Holds weights small, at little cost.", {"weight_decay": 0.001}),
    Remedy("Stop early", "Saves time; best.pt is the same.", {"patience": 30}),
    Remedy(
        "Take a smaller model, or more data",
        "Dropout is no remedy here: ultralytics ignores it for detection (diagnostics.md B4).",
    ),
)

CHECK = Check(
    cause=CAUSE,
    title="Overfitting",
    question=__doc__ or "",
    statistic=(
        "mAP50-95 on a random part of the training images, validated as the validation images are, less mAP50-95 of "
        "validation over the same classes, with a bootstrap interval of the difference, less what a shift of the "
        "images surely costs. Mending gains a part of that gap, as measured. Without weights or data, by the curves "
        "alone: the best mean of k = max(3, E/20) neighbouring epochs of mAP against the mean of the last k, with the "
        "rise of the validation loss above its minimum (or half of mAP lost) and the Theil-Sen slope of the training "
        "loss after the peak. mAP is the arbiter: a rising validation loss alone, or a gap between training and "
        "validation loss, is no sign (diagnostics.md A2(5), A2(7)). By the curves never graver than minor, "
        "but for classifiers: an image that is classified wrongly costs ln 2 of cross-entropy at least, so that the "
        "training loss / ln 2 bounds the share of training images that are wrong."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Closing mosaic moves all curves; those epochs are left out.",
        "A validation split so small that mAP wanders by more than its epoch-to-epoch noise.",
        "A validation split that differs from training, by images or by how it is labelled: the checks of those causes "
        "explain it away.",
        "Leakage hides it: validation images that stand in training are no new ones.",
    ),
    references=("Prechelt, Early stopping - but when?, in: Neural Networks: Tricks of the Trade, 1998",),
    examine=examine,
)
