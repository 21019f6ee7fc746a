"""Was the learning rate too high, too low, without a scheduler, or not the one that was asked for?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import found, inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.fitted import fits_training_images
from runaudit.diagnostics.history import History, history_of
from runaudit.diagnostics.more_epochs import Gain, gain_of_a_usual_rate, last_doubling
from runaudit.diagnostics.optimizer_steps import steps_seen
from runaudit.diagnostics.remedies import (
    cosine_annealing,
    longer_warmup,
    lower_rate,
    proposed_rate,
    reduce_on_plateau,
)
from runaudit.diagnostics.robust import noise_sigma
from runaudit.diagnostics.schedule import DEFAULT_RATE, Schedule, schedule_of
from runaudit.diagnostics.stability import LIMITS as STABILITY
from runaudit.diagnostics.stability import Stability, stability_of
from runaudit.diagnostics.stability import Thresholds as StabilityThresholds
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.wording import metric_word
from runaudit.runs.facts import RunFacts

CAUSE: Final = "learning_rate"


@dataclass(frozen=True)
class Thresholds:
    too_high: float = threshold(
        5.0,
        "Times the optimizer's usual rate. Adam at SGD's 0.01 is 10 times its usual rate and fails to converge "
        "(ultralytics PR 23244; diagnostics.md B6); 5 lies between that and the 2 to 3 that people tune within.",
    )
    too_low: float = threshold(0.01, "Times the optimizer's usual rate: update/weight ratios far below 1e-4 (B6).")
    low_unfitted: float = threshold(
        0.1,
        "Times the usual rate from which it is named for a model that doesn't do well on its training images, or whose "
        "curve tells that it cost 2 points (then as minor): a tenth is the least of what people tune within (B6).",
    )
    by_half: float = threshold(
        0.55,
        "Share of its best mAP that a run at far too high a rate had in the first half of its epochs; the rest came as "
        "the rate fell. 0.12, 0.40 and 0.47 in three at 30 times the usual rate, 0.60 and more in all clean ones, even "
        "at twice the usual rate (benchmarks/planted).",
    )
    rising: float = threshold(
        3.0,
        "Standard deviations of the epoch-to-epoch noise by which a run at too low a rate must still have risen in its "
        "second half for what a usual rate would bring to be told: 12 to 44 in six runs.",
    )
    differs: float = threshold(0.1, "Relative difference of logged and asked lr0; csv rounding is below 1e-4.")
    constant_rows: int = threshold(10, "Rows after warm-up before a flat learning rate counts as one (B6: CV < 1 %).")
    spikes: int = threshold(
        3,
        "Spikes of the training loss (Hampel, 5 deviations, 20 %). Of 300 simulated healthy runs none had three; a "
        "single one is often a bad batch or a resumption (benchmarks/curve_false_alarms.py). Not counted where an "
        "epoch is fewer images than a step: 2 of 23 such public runs have three, 1 of 254 others.",
    )
    oscillation: float = threshold(
        0.12,
        "Noise of mAP relative to its best: three times the 90th percentile of 35 public runs, 4 % "
        "(diagnostics.md A2(8), B6).",
    )
    patience: int = threshold(
        50, "Epochs without any mAP at a usual rate: the fewest of a usual fine-tune (diagnostics.md B8(c))."
    )
    unlearnt: float = threshold(
        0.01, "mAP50-95 below which a model has learnt nothing; a usual first epoch exceeds it (B10)."
    )
    costly: float = threshold(0.02, "The report contract's 2 points: the lower end of what a usual rate would bring.")
    stability: StabilityThresholds = STABILITY


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:  # noqa: PLR0911 - one answer a case
    run = evidence.run
    history = history_of(run)
    if history is None:
        return not_run(CAUSE, why_absent(evidence, "curves"))
    schedule = schedule_of(run, history)
    stability = stability_of(history)
    unfitted = fits_training_images(evidence) is False
    if stability.diverged or (stability.lost and (_too_high(schedule) or history.size >= LIMITS.patience)):
        return _diverged(run, history, schedule, stability)
    if _too_high(schedule):
        return _too_high_finding(run, history, schedule, stability, unfitted=unfitted)
    if _too_low_asked(schedule, LIMITS.low_unfitted if unfitted or _costly(history, schedule) else LIMITS.too_low):
        return _too_low(run, history, schedule, stability, unfitted=unfitted)
    if _spiky(history, stability) or (stability.oscillation or 0.0) > LIMITS.oscillation:
        return _unstable(run, history, schedule, stability)
    if schedule.constant and schedule.rows >= LIMITS.constant_rows and schedule.asked_final < 0.99:
        return _no_scheduler(run, history, schedule)
    if _ignored(schedule):
        return _ignored_finding(history, schedule)
    return _quiet(history, schedule, stability)


def _too_high(schedule: Schedule) -> bool:
    return schedule.times_usual is not None and schedule.times_usual >= LIMITS.too_high


def _too_low_asked(schedule: Schedule, limit: float) -> bool:
    """By the rate that was asked for: a short run that never left its warm-up logs low rates as well.

    Rates above it in the log are those of the training, and the arguments of another (a run that was taken up again).
    """
    if schedule.automatic or schedule.asked_rate is None or schedule.usual is None:
        return False
    # 1e-4 over 0.01 is a hair more than 0.01 in floating point.
    limit *= 1 + 1e-9
    used = schedule.times_usual if schedule.peak is not None else None
    return schedule.asked_rate / schedule.usual <= limit and (used is None or used <= limit * (1 + LIMITS.differs))


def _ignored(schedule: Schedule) -> bool:
    """optimizer=auto replaced an lr0 that somebody chose: one that is not the default."""
    asked, used = schedule.asked_rate, schedule.peak
    if not schedule.automatic or asked is None or used is None or asked == DEFAULT_RATE:
        return False
    return abs(used / asked - 1.0) > LIMITS.differs


def _quiet(history: History, schedule: Schedule, stability: Stability) -> CheckResult:
    if not np.isfinite(history.train).any() and schedule.peak is None:
        return inconclusive(
            CAUSE, "The curves hold neither learning rates after warm-up nor training losses.", n=history.size
        )
    if schedule.peak is None:
        return inconclusive(
            CAUSE,
            "The curves are stable, but no learning rate after warm-up was logged, so that the schedule can't be "
            "checked.",
            n=history.size,
        )
    usual = f", {schedule.times_usual:.2g} times the usual rate of {schedule.effective}" if schedule.times_usual else ""
    noise = (
        f"; {metric_word(history)}'s noise is {stability.oscillation:.1%} of its best"
        if stability.oscillation is not None
        else ""
    )
    auto = " (optimizer=auto chose it)" if schedule.automatic else ""
    return passed(
        CAUSE,
        f"The rate started at {schedule.peak:.3g}{usual}{auto} and fell to {schedule.last:.3g}; the training loss had "
        f"{stability.spikes} spikes and didn't diverge{noise}.",
        effect=schedule.times_usual,
        n=history.size,
    )


def _rate_evidence(history: History, schedule: Schedule) -> tuple[Measurement, ...]:
    rate = schedule.peak if schedule.peak is not None else schedule.asked_rate
    items = [Measurement("learning rate after warm-up", _short(rate), n=schedule.rows, source=_rate_place(history))]
    if schedule.times_usual is not None:
        name = f"times the usual rate of {schedule.effective}"
        items.append(Measurement(name, _short(schedule.times_usual), threshold=LIMITS.too_high))
    return tuple(items)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


def _rate_place(history: History) -> str:
    after = np.flatnonzero(~history.warmup & np.isfinite(history.rate))
    return history.place(int(after[0]) if after.size else 0)


def _remedies(run: RunFacts, schedule: Schedule) -> tuple[Remedy, ...]:
    anneal = (
        ()
        if schedule.cosine
        else (cosine_annealing(proposed_rate(schedule), run.epochs_planned or 100, schedule.effective),)
    )
    return (lower_rate(schedule), *anneal, longer_warmup(5.0), reduce_on_plateau())


def _diverged(run: RunFacts, history: History, schedule: Schedule, stability: Stability) -> CheckResult:
    high = _too_high(schedule)
    severity: Severity = ("critical" if stability.best_metric < LIMITS.unlearnt else "major") if high else "minor"
    what = "The model learnt nothing" if stability.lost else "Training diverged"
    if high:
        title = f"{what} at a learning rate {schedule.times_usual:.3g} times the usual one of {schedule.effective}"
        why = "The rate lies far above what this optimizer trains stably with, which is the usual cause."
    else:
        title = f"{what} at a usual learning rate"
        why = (
            "The rate isn't far from its optimizer's usual one, so that labels, precision or batch may be the "
            "cause as well; "
            "a lower rate is the cheapest to try."
        )
    # What a run that never learnt would have reached can't be read off its own curves; the little it lost says nothing.
    drop = None if stability.lost else stability.drop
    return found(
        CAUSE,
        severity,
        title,
        f"{why} {stability.sentence()}",
        evidence=(*_rate_evidence(history, schedule), *stability.measurements(history)),
        impact=Impact("lowers", drop, None, "observational" if drop is not None else "none", _metric(history)),
        remedies=_remedies(run, schedule),
        effect=schedule.times_usual,
        n=history.size,
    )


def _metric(history: History) -> str:
    return history.metric_name or "map50_95"


_LATE: Final = "Most of what the model learnt came only as the rate fell: while it was high, it learnt little."
_UNFITTED: Final = "The model doesn't do well even on the images that it was trained on, as after such a rate."


def _too_high_finding(
    run: RunFacts, history: History, schedule: Schedule, stability: Stability, *, unfitted: bool
) -> CheckResult:
    half = _share_by_half(history)
    late = half is not None and half < LIMITS.by_half and stability.best_metric >= LIMITS.unlearnt
    cost = _UNFITTED if unfitted else _LATE if late else "The cost of the rate can't be read off the curves."
    return found(
        CAUSE,
        "major" if unfitted or late else "minor",
        f"The learning rate is {schedule.times_usual:.3g} times the usual one of {schedule.effective}",
        f"Training didn't diverge. {cost} Such a rate usually ends in a worse optimum. {stability.sentence()}",
        evidence=(
            *_rate_evidence(history, schedule),
            *(
                (
                    Measurement(
                        "share of the best mAP in the first half", round(half, 4), LIMITS.by_half, n=history.size
                    ),
                )
                if half
                else ()
            ),
            *stability.measurements(history),
        ),
        remedies=_remedies(run, schedule),
        effect=schedule.times_usual,
        n=history.size,
    )


def _share_by_half(history: History) -> float | None:
    """The best mAP of the first half of the rows over that of all; None where there is none."""
    metric = history.metric[np.isfinite(history.metric)]
    if metric.size < LIMITS.constant_rows or metric.max() <= 0:
        return None
    return float(metric[: metric.size // 2].max() / metric.max())


def _gain(history: History, schedule: Schedule) -> Gain | None:
    """What the usual rate would have brought; None where the curve doesn't tell, because it is level or too short."""
    metric = history.metric[np.isfinite(history.metric)]
    if metric.size < LIMITS.constant_rows or schedule.usual is None or schedule.asked_rate is None:
        return None
    if schedule.automatic or schedule.asked_rate >= schedule.usual:
        return None
    noise = noise_sigma(metric[-max(6, metric.size // 2) :]) or 0.0
    if last_doubling(metric) <= LIMITS.rising * noise:
        return None
    return gain_of_a_usual_rate(metric, schedule.asked_rate / schedule.usual)


def _costly(history: History, schedule: Schedule) -> bool:
    gain = _gain(history, schedule)
    return gain is not None and gain.ci95[0] >= LIMITS.costly


def _too_low(
    run: RunFacts, history: History, schedule: Schedule, stability: Stability, *, unfitted: bool
) -> CheckResult:
    unlearnt = stability.best_metric < LIMITS.unlearnt
    usual = schedule.usual or DEFAULT_RATE
    gain, costly = _gain(history, schedule), _costly(history, schedule)
    far = _too_low_asked(schedule, LIMITS.too_low)
    return found(
        CAUSE,
        "major" if unlearnt or unfitted or (costly and far) else "minor",
        f"The learning rate is {schedule.times_usual:.2g} times the usual one of {schedule.effective}",
        "With so low a rate the weights hardly move in the epochs that there were. "
        + (
            "The model learnt nothing."
            if unlearnt
            else _UNFITTED
            if unfitted
            else "The curve is level, so that it doesn't tell what that costs."
            if gain is None
            else f"{metric_word(history, begins=True)} still rose at the end."
        ),
        evidence=(
            *_rate_evidence(history, schedule)[:1],
            Measurement(
                "times the usual rate",
                _short(schedule.times_usual),
                threshold=LIMITS.too_low if far else LIMITS.low_unfitted,
            ),
            Measurement(f"best {_metric(history)}", _short(stability.best_metric), n=history.size),
        ),
        impact=Impact("lowers", gain.value, gain.ci95, "observational", _metric(history))
        if gain is not None and not unlearnt
        else Impact("lowers"),
        remedies=(
            Remedy(
                f"Start from lr0={usual:g}",
                "The optimizer's usual rate.",
                {"lr0": usual, **({"optimizer": schedule.effective} if schedule.automatic else {})},
            ),
        ),
        effect=schedule.times_usual,
        n=history.size,
    )


def _spiky(history: History, stability: Stability) -> bool:
    """Not where an epoch is a handful of images, whose mean loss jumps by itself."""
    return stability.spikes >= LIMITS.spikes and steps_seen(history) is None


def _unstable(run: RunFacts, history: History, schedule: Schedule, stability: Stability) -> CheckResult:
    spiky = _spiky(history, stability)
    what = (
        f"{stability.spikes} spikes of the training loss"
        if spiky
        else f"{metric_word(history)} oscillates from epoch to epoch"
    )
    falls = stability.noise_follows_rate
    return found(
        CAUSE,
        "minor",
        f"Training was unstable: {what}",
        (
            "The noise falls as the learning rate falls, which points to the rate."
            if falls
            else "The noise doesn't follow the learning rate; a small batch or a small validation split does the same."
        )
        + f" {stability.sentence()}",
        evidence=(*_rate_evidence(history, schedule), *stability.measurements(history)),
        remedies=_remedies(run, schedule),
        effect=stability.oscillation,
        n=history.size,
    )


def _no_scheduler(run: RunFacts, history: History, schedule: Schedule) -> CheckResult:
    rate = schedule.peak or schedule.usual or DEFAULT_RATE
    return found(
        CAUSE,
        "minor",
        "The learning rate never fell: no scheduler took effect",
        f"It stayed at {rate:.3g} for {schedule.rows} epochs, though lrf={schedule.asked_final:g} asks for a decay.",
        evidence=(
            *_rate_evidence(history, schedule)[:1],
            Measurement("last learning rate", _short(schedule.last), threshold=_short(rate * schedule.asked_final)),
        ),
        remedies=(cosine_annealing(rate, run.epochs_planned or 100, schedule.effective), reduce_on_plateau()),
        effect=1.0,
        n=schedule.rows,
    )


def _ignored_finding(history: History, schedule: Schedule) -> CheckResult:
    return found(
        CAUSE,
        "minor",
        f"lr0={schedule.asked_rate:g} was ignored: optimizer=auto used {schedule.peak:.3g}",
        "optimizer=auto chooses optimizer, rate and momentum by itself, and says so only on the console.",
        evidence=(
            Measurement(
                "learning rate after warm-up",
                _short(schedule.peak),
                threshold=schedule.asked_rate,
                n=schedule.rows,
                source=_rate_place(history),
            ),
        ),
        remedies=(
            Remedy(
                "Name the optimizer",
                "lr0 counts only with a named one.",
                {"optimizer": "SGD", "lr0": schedule.asked_rate},
                reference="https://github.com/ultralytics/ultralytics/issues/8400",
            ),
        ),
        effect=schedule.peak,
        n=schedule.rows,
    )


CHECK = Check(
    cause=CAUSE,
    title="Learning rate and scheduler",
    question=__doc__ or "",
    statistic=(
        "The logged rate of the weights, divided by the shape of the schedule that was asked for, against the "
        "optimizer's usual rate; spikes of the log training loss (Hampel); divergence as the last training losses over "
        "their minimum together with the fall of mAP; noise of mAP (MAD of second differences) over its best. What a "
        "rate far too low cost: what the second half of the epochs brought, a share of it for each halving below the "
        "usual rate. What one far too high did: the share of the best mAP that the first half of the epochs had. "
        "Warm-up, closed mosaic and the rows next to a resumption are left out."
    ),
    thresholds=LIMITS,
    false_positives=(
        "A small batch or a small validation split makes the same noise.",
        "The step of the losses when mosaic is closed, or where a run was resumed.",
        "A fine-tune with a deliberately low rate.",
    ),
    references=(
        "Hampel, The influence curve and its role in robust estimation, JASA 69, 1974",
        "ultralytics cfg/default.yaml; ultralytics issue 8400 and pull request 23244",
    ),
    examine=examine,
)
