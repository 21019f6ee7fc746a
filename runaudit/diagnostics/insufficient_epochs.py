"""Was training cut short: killed, ended within its warm-up, or still improving before the learning rate decayed?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.batch_remedies import fewer_images_a_step
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.history import FURTHER_METRICS, History, history_of, judged_by, number, warmup_epochs
from runaudit.diagnostics.learning import best_metric, has_learnt
from runaudit.diagnostics.more_epochs import LIMITS as MORE_EPOCHS
from runaudit.diagnostics.more_epochs import Thresholds as MoreEpochs
from runaudit.diagnostics.more_epochs import (
    gain_of_few,
    gain_of_more,
    gain_of_rising,
    gain_of_the_rest,
    last_doubling,
    rises,
)
from runaudit.diagnostics.optimizer_steps import steps_of, steps_seen
from runaudit.diagnostics.origin import origin_of
from runaudit.diagnostics.remedies import longer_schedule, resume_interrupted
from runaudit.diagnostics.robust import PowerLaw, Series, fit_power_law, noise_sigma
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.wording import counted, metric_word
from runaudit.runs.facts import RunFacts

CAUSE: Final = "insufficient_epochs"


@dataclass(frozen=True)
class Thresholds:
    gain: float = threshold(
        0.02,
        "The report contract's 2 points of mAP50-95; diagnostics.md B8(b). Major only where the lower end of the "
        "interval reaches it: of four clean runs that still improved (benchmarks/planted) twice the epochs brought "
        "0.013 to 0.054.",
    )
    more: MoreEpochs = MORE_EPOCHS
    short_rows: int = threshold(
        20, "Below this a power law of three parameters is not fitted: its interval is empty talk."
    )
    rows_to_judge: int = threshold(
        10,
        "Rows below which medians of three at the end and in the middle overlap warm-up or each other. Of 4 runs of 5 "
        "epochs in benchmarks/planted, which 40 epochs lifted by 0.08 to 0.14, 2 showed no gain between them.",
    )
    noise: float = threshold(
        3.0, "Standard deviations of the epoch-to-epoch noise that the last doubling's gain must stand out by."
    )
    best_within: float = threshold(
        0.15,
        "The best epoch must lie in this last part of the run. A run that still improves has its best row at the end, "
        "or ends within its own noise of it (yolo.md C8, row 43).",
    )
    interrupted_share: float = threshold(
        0.9,
        "An interrupted run that did this share of its schedule has annealed its rate to a tenth of lr0 under a "
        "linear decay (yolo.md A9), and lost little.",
    )
    steps: int = threshold(
        300,
        "Optimizer steps below which runs were seen to validate near 0 (yolo.md A4). Not for the moving average of the "
        "weights, which is a fraction of a step behind then: see batch_size.",
    )
    unlearnt: float = threshold(0.05, "mAP50-95 below which a run of so few steps has not shown what its data can do.")
    few_epochs: int = threshold(50, "diagnostics.md B8(c): the fewest epochs of a usual fine-tune.")
    from_scratch: int = threshold(
        300, "Epochs that YOLOv5 and ultralytics train their own models for, and YOLOv5 advises without weights."
    )


LIMITS = Thresholds()
WARM_UPS: Final = 10
"""Times the warm-up that a schedule should have, so that the rate is up for most of it."""


def examine(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    run = evidence.run
    history = history_of(run)
    if history is None:
        return not_run(CAUSE, why_absent(evidence, "curves"))
    measured = bool(np.isfinite(history.metric).any())
    steps = steps_of(evidence)
    if steps is None:
        steps = steps_seen(history)
    unlearnt_in_few = measured and steps is not None and steps < LIMITS.steps and _unlearnt(run, history)
    if run.status == "interrupted" and history.epochs[-1] < (run.epochs_planned or 0):
        # Where the whole schedule would have been too few steps as well, going on is not what it lacks.
        whole = (steps or 0) * (run.epochs_planned or 0) / history.epochs[-1]
        if not (unlearnt_in_few and steps is not None and whole < LIMITS.steps and _most_is_done(run, history)):
            return _interrupted(run, history)
    if history.epochs[-1] <= warmup_epochs(run):
        return _within_warmup(run, history)
    if _still_warming(history):
        return _warmed_throughout(run, history)
    if unlearnt_in_few and steps is not None:
        return _few_steps(evidence, history, steps)
    if _unlearnt_so_far(run, history):
        return _beginning(run, history)
    if np.isfinite(history.metric).sum() < 3 or not history.metric_name:
        return inconclusive(
            CAUSE, "The curves hold fewer than three values of mAP, so that no trend can be told.", n=history.size
        )
    return _of_any_head(run, history)


def _most_is_done(run: RunFacts, history: History) -> bool:
    """More than half of the schedule: what was seen of it stands for the rest."""
    return bool(2 * history.epochs[-1] > (run.epochs_planned or 0))


def _interrupted(run: RunFacts, history: History) -> CheckResult:
    planned = run.epochs_planned or 0
    reached = history.epochs[-1]
    share = reached / planned
    rest = gain_of_the_rest(_best(history), share) if history.metric_name == "map50_95" else None
    # A metric that is all but 1 has no 2 points left to lose.
    nothing_left = bool(np.isfinite(history.metric).any()) and 1.0 - _best(history) < LIMITS.gain
    severity: Severity = "minor" if share >= LIMITS.interrupted_share or nothing_left else "major"
    # A start that is broken off may have been restarted elsewhere; even so this model is not what was asked for.
    return found(
        CAUSE,
        severity,
        f"Training was interrupted after {reached:g} of {counted(planned, 'epoch')}",
        "The run has fewer rows than epochs were asked for, and early stopping by its own rule doesn't explain that. "
        "The learning rate was still on its way down, and the largest gains often come at its end.",
        evidence=(
            Measurement("epochs run", int(reached), threshold=planned, source=history.place(history.size - 1)),
            Measurement("share of the schedule", round(share, 4), threshold=LIMITS.interrupted_share, n=history.size),
        ),
        impact=Impact("lowers", rest.value, rest.ci95, "observational") if rest is not None else Impact("lowers"),
        remedies=(resume_interrupted(planned), longer_schedule(planned)),
        effect=share,
        n=history.size,
    )


def _within_warmup(run: RunFacts, history: History) -> CheckResult:
    warm = warmup_epochs(run)
    return found(
        CAUSE,
        "major",
        f"The run ended within its warm-up, after {counted(history.epochs[-1], 'epoch')}",
        f"Warm-up takes {counted(warm, 'epoch')}, in most versions at least 100 batches. The learning rate never "
        "reached the value that was asked for, and nothing about the model or its data can be concluded from such a "
        "run.",
        evidence=(
            Measurement(
                "epochs run", int(history.epochs[-1]), threshold=warm, n=history.size, source=history.place(-1)
            ),
        ),
        remedies=(longer_schedule(max(LIMITS.few_epochs, WARM_UPS * math.ceil(warm))),),
        effect=float(history.epochs[-1]),
        n=history.size,
    )


def _still_warming(history: History) -> bool:
    """The learning rate still rose in the last row: most versions warm up for 100 batches at least (yolo.md A9)."""
    rate = history.rate
    return history.size >= 2 and bool(np.isfinite(rate).all()) and bool((np.diff(rate) > 0).all())


def _warmed_throughout(run: RunFacts, history: History) -> CheckResult:
    """Epochs of a few batches, which the 100 batches of warm-up last for, however many epochs were asked for."""
    epochs = max(LIMITS.few_epochs, WARM_UPS * history.size)
    shorter = (
        (
            Remedy(
                "Warm up for less, with smaller batches",
                "More batches make an epoch, and more steps with nbs; versions from 8.4 on warm up by epochs alone.",
                {"batch": 4, "nbs": 4, "warmup_epochs": 1.0},
            ),
        )
        if run.framework == "ultralytics"
        else ()
    )
    return found(
        CAUSE,
        "major",
        f"The run ended within its warm-up: after {counted(history.epochs[-1], 'epoch')} the learning rate still rose",
        "Most versions warm up for at least 100 batches, which takes many epochs of a small data set. The learning "
        "rate never reached the value that was asked for, and nothing about the model or its data can be concluded "
        "from such a run.",
        evidence=(
            Measurement(
                "last learning rate", float(f"{history.rate[-1]:.4g}"), n=history.size, source=history.place(-1)
            ),
            Measurement("epochs run", int(history.epochs[-1]), n=history.size),
        ),
        remedies=(longer_schedule(epochs, _patience(run, epochs)), *shorter),
        effect=float(history.epochs[-1]),
        n=history.size,
    )


def _patience(run: RunFacts, epochs: int) -> int | None:
    """For a run that early stopping ended: half of the new schedule, or twice what it had; None for all others."""
    if run.status != "early_stopped":
        return None
    return max(epochs // 2, int(2 * number(run.argument("patience"), 0.0)))


def _few_steps(evidence: Evidence, history: History, steps: int) -> CheckResult:
    run = evidence.run
    # YOLOv5 adds up 64 images whatever is asked for.
    shorter = (fewer_images_a_step(evidence, 4, None),) if run.framework == "ultralytics" else ()
    epochs = max(100, 100 * math.ceil(history.size * 2 * LIMITS.steps / max(steps, 1) / 100))
    return found(
        CAUSE,
        "major",
        f"The run took only about {steps} optimizer steps",
        "The frameworks add up gradients of 64 images for a step, so that a small data set makes few of them, however "
        "many epochs it is shown. So few don't move a new head far from where it began.",
        evidence=(
            Measurement("optimizer steps", steps, threshold=LIMITS.steps, source=history.place(-1)),
            Measurement("best mAP50-95", _best(history), threshold=LIMITS.unlearnt, n=history.size),
        ),
        remedies=(
            longer_schedule(epochs, _patience(run, epochs)),
            *shorter,
        ),
        effect=float(steps),
        n=history.size,
    )


def _unlearnt_so_far(run: RunFacts, history: History) -> bool:
    """Few epochs and a mAP near 0: the run has hardly begun to learn, if it can."""
    if history.size >= LIMITS.few_epochs or not np.isfinite(history.metric).any():
        return False
    return _unlearnt(run, history)


def _unlearnt(run: RunFacts, history: History) -> bool:
    """A metric near 0, or a classifier that does no better than guessing."""
    return _best(history) < LIMITS.unlearnt or has_learnt(run, history) is False


def _beginning(run: RunFacts, history: History) -> CheckResult:
    return found(
        CAUSE,
        "major",
        f"After {counted(history.size, 'epoch')} the model has hardly begun to learn",
        (
            f"No {metric_word(history)} to speak of."
            if _best(history) < LIMITS.unlearnt
            else f"Its {metric_word(history)} is that of guessing."
        )
        + " A network with a new head, and all the more one from scratch, needs more epochs than this before anything "
        "can be said about it.",
        evidence=(
            Measurement("epochs run", history.size, threshold=LIMITS.few_epochs, source=history.place(-1)),
            *best_metric(run, history),
        ),
        remedies=(longer_schedule(100, _patience(run, 100)),),
        effect=float(history.size),
        n=history.size,
    )


def _few_rows(history: History, target: int) -> CheckResult:
    more = (
        gain_of_few(_best(history), target / float(history.epochs[-1])) if history.metric_name == "map50_95" else None
    )
    return found(
        CAUSE,
        "minor",
        f"The run had only {counted(history.size, 'epoch')}",
        "So few rows can't show whether the model has finished learning, and few trainings have by then.",
        evidence=(
            Measurement("epochs run", history.size, threshold=LIMITS.rows_to_judge, source=history.place(-1)),
            Measurement(f"best {history.metric_name}", round(_best(history), 5), n=history.size),
        ),
        impact=Impact("lowers", more.value, more.ci95, "observational") if more is not None else Impact("lowers"),
        remedies=(longer_schedule(target),),
        effect=float(history.size),
        n=history.size,
        basis="extrapolated",
    )


def _rises(history: History) -> bool:
    """Whether the few rows of mAP50-95 rise steadily, by as much as counts. Rows without a value tell nothing."""
    return bool(
        history.metric_name == "map50_95" and np.isfinite(history.metric).all() and rises(history.metric, LIMITS.gain)
    )


def _few_rising_rows(history: History, target: int) -> CheckResult:
    more = gain_of_rising(_best(history), target / float(history.epochs[-1]))
    reached = counted(history.size, "epoch")
    return found(
        CAUSE,
        "major" if more.ci95[0] >= LIMITS.gain else "minor",
        f"The model was still improving when training ended, after only {reached}",
        f"mAP50-95 rose from {history.metric[0]:.3f} to {history.metric[-1]:.3f}, steadily and to the end. {target} "
        f"epochs are projected to add {more.value:.3f} (by the share of the headroom that runs of as few were seen to "
        "use up). This is an extrapolation, not a measurement.",
        evidence=(
            Measurement("epochs run", history.size, threshold=LIMITS.rows_to_judge, source=history.place(-1)),
            Measurement(
                f"projected gain of {target} epochs", round(more.value, 4), LIMITS.gain, more.ci95, history.size
            ),
        ),
        impact=Impact("lowers", more.value, more.ci95, "observational"),
        remedies=(longer_schedule(target),),
        effect=more.value,
        ci95=more.ci95,
        n=history.size,
        basis="extrapolated",
    )


def _best(history: History) -> float:
    finite = history.metric[np.isfinite(history.metric)]
    return float(finite.max()) if finite.size else 0.0


def _law(history: History) -> PowerLaw | None:
    """The power law of the part of the curve that the end of the schedule doesn't bend: not warm-up, not closed mosaic,
    and, where enough rows are left, not below half of the peak learning rate."""
    usable = np.isfinite(history.metric) & ~history.warmup & ~history.mosaic_closed
    known = np.isfinite(history.rate)
    if (usable & known).any():
        high = usable & known & (history.rate >= 0.5 * history.rate[usable & known].max())
        if high.sum() >= LIMITS.short_rows:
            usable = high
    if usable.sum() < LIMITS.short_rows:
        return None
    return fit_power_law(history.epochs[usable], history.metric[usable])


def _of_any_head(run: RunFacts, history: History) -> CheckResult:
    """By the boxes; where they have levelled off, by the masks or keypoints that the model is trained for as well."""
    boxes = _trend(run, history)
    if boxes.finding is not None:
        return boxes
    for name in FURTHER_METRICS:
        further = judged_by(history, name)
        if further is not None and np.isfinite(further.metric).sum() >= 3:
            result = _trend(run, further)
            if result.finding is not None:
                return result
    return boxes


def _trend(run: RunFacts, history: History) -> CheckResult:
    finite = np.isfinite(history.metric)
    epochs, metric = history.epochs[finite], history.metric[finite]
    reached = float(epochs[-1])
    best_at = float(epochs[int(np.argmax(metric))])
    last = last_doubling(metric)
    law = _law(history)
    target = 2 * max(int(reached), run.epochs_planned or 0)
    target = max(target, LIMITS.from_scratch if origin_of(run).start == "scratch" else LIMITS.few_epochs)
    if metric.size < LIMITS.rows_to_judge and run.status != "early_stopped" and _rises(history):
        return _few_rising_rows(history, target)
    more = gain_of_more(metric, target / reached)
    # What has levelled off before the decay promises nothing, whatever the decay then brought.
    gain = min(more.value, law.gain(reached, target)) if law is not None else more.value
    interval = (min(more.ci95[0], gain), max(more.ci95[1], gain))
    method = "share of the last doubling's gain that further ones were seen to bring"
    # The noise of the rows that the gain was taken from; the first ones, with warm-up among them, are noisier.
    noise = noise_sigma(metric[-max(6, metric.size // 2) :]) or 0.0
    late_best = best_at > reached * (1.0 - LIMITS.best_within) or _ends_at_its_best(metric, noise)
    if gain >= LIMITS.gain and last > LIMITS.noise * noise and late_best:
        return found(
            CAUSE,
            "major" if interval[0] >= LIMITS.gain else "minor",
            f"The model was still improving when training ended{_of_what(history)}",
            f"The second half of the epochs brought {last:.3f}, and the best row is epoch {best_at:g} of {reached:g}. "
            f"{target} epochs are projected to add {gain:.3f} (by the {method}). This is an extrapolation, not a "
            "measurement.",
            evidence=(
                Measurement(
                    f"projected gain of {target} epochs", round(gain, 4), LIMITS.gain, interval, int(metric.size)
                ),
                Measurement(
                    "best epoch", int(best_at), source=history.place(int(np.flatnonzero(finite)[metric.argmax()]))
                ),
            ),
            impact=Impact("lowers", gain, interval, "observational", _metric(history)),
            remedies=(longer_schedule(target, _patience(run, target)),),
            effect=gain,
            ci95=interval,
            n=int(metric.size),
            basis="extrapolated",
        )
    if metric.size < LIMITS.rows_to_judge and run.status != "early_stopped":
        return _few_rows(history, target)
    untold = ""
    if gain >= LIMITS.gain:
        untold = (
            f" That doesn't stand out from the noise of {noise:.3f} from epoch to epoch, so that it is not counted."
            if last <= LIMITS.noise * noise
            else " The end lies below an earlier best, so that it is not counted."
        )
    ended = "ended by its early-stopping rule" if run.status == "early_stopped" else "ran its schedule"
    return passed(
        CAUSE,
        f"The run {ended} ({reached:g} epochs); {target} epochs are projected to add {gain:.3f} "
        f"(by the {method}), with the best row at epoch {best_at:g}.{untold}",
        effect=gain,
        ci95=interval,
        n=int(metric.size),
    )


def _metric(history: History) -> str:
    """As the report names it: `pose_map50_95` of keypoints."""
    return (history.metric_name or "map50_95").replace("/", "_")


def _of_what(history: History) -> str:
    part = (history.metric_name or "").partition("/")
    return f", by its {'keypoints' if part[0] == 'pose' else 'masks'}" if part[1] else ""


def _ends_at_its_best(metric: Series, noise: float) -> bool:
    """The median of the last rows, as many as the best one must lie in, is no further below it than noise."""
    rows = max(3, round(LIMITS.best_within * metric.size))
    return float(np.median(metric[-rows:])) >= float(metric.max()) - noise


CHECK = Check(
    cause=CAUSE,
    title="Too few epochs",
    question=__doc__ or "",
    statistic=(
        "Epochs run against epochs planned and against warm-up; optimizer steps; the gain of twice the epochs, as the "
        "share of the gain m(E) - m(E/2) that further doublings were measured to bring, and no more than a power law "
        "m(t) = c - a t^-b of the rows before the learning rate fell below half of its peak promises; of runs of 14 "
        "rows and fewer, as a share of the headroom 1 - m. Its interval is that of trainings that were really made "
        "again for longer, and the finding is major only where the lower end reaches 2 points. A trend test "
        "alone is not used: the decaying learning rate makes nearly every run improve to its end (26 of 35 public "
        "runs, diagnostics.md A2(9))."
    ),
    thresholds=LIMITS,
    false_positives=(
        "The gain at the end of a linear decay, which a longer schedule would only move.",
        "A run that was resumed into another folder looks interrupted in the first.",
        "A smoke test is meant to be short.",
    ),
    references=(
        "Viering and Loog, The shape of learning curves: a review, TPAMI 2022",
        "Kuensch, The jackknife and the bootstrap for general stationary observations, Annals of Statistics 17, 1989",
    ),
    examine=examine,
)
