"""Is the batch too small (noise, batch norm) or too large (too few steps)? What was the effective batch?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.batch_remedies import LEAST, against_large_batch, against_small_batch, fewer_images_a_step
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Impact, Measurement, Severity
from runaudit.diagnostics.history import History, history_of
from runaudit.diagnostics.learning_rate import LIMITS as RATE
from runaudit.diagnostics.more_epochs import Gain, gain_of_more
from runaudit.diagnostics.optimizer_steps import NOMINAL, UNCHANGED, Batch, average_lag, batch_of, unchanged_epochs
from runaudit.diagnostics.parts import Part, joined, present
from runaudit.diagnostics.robust import PowerLaw, fit_power_law
from runaudit.diagnostics.schedule import schedule_of
from runaudit.diagnostics.stability import stability_of
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.wording import counted, metric_word

CAUSE: Final = "batch_size"


@dataclass(frozen=True)
class Thresholds:
    normalised: float = threshold(
        4.0,
        "Images a device below which batch norm's statistics are unreliable (diagnostics.md B7). On ImageNet the error "
        "rises from 23.6 % at 32 images to 24.8 at 8, 27.3 at 4 and 34.7 at 2 (Wu and He 2018, table 2).",
    )
    single: float = threshold(
        2.0,
        "Images below which it is major whatever the noise: one at a time. Two already cost 11 points of accuracy.",
    )
    noise: float = threshold(
        0.04, "Noise of mAP over its best: the 90th percentile of 35 public runs (diagnostics.md A2(8))."
    )
    instances: int = threshold(
        200, "Validation objects from which noise of mAP is not the split's own: AP50's error is 0.035 (A2(4))."
    )
    steps: int = threshold(1000, "Optimizer steps in all below which a large batch is suspected (diagnostics.md B7).")
    few_steps: int = threshold(
        300, "Steps below which runs were seen to validate near 0 (yolo.md A4), of whatever batch."
    )
    unchanged: float = threshold(
        UNCHANGED,
        "Share of epochs that validate exactly as the one before. Of the corpus' runs, read and not fitted to, 11 have "
        "more than half (1 to 10 training images, or named so in its index) and 2 have a single such epoch, under 2 %; "
        "of 300 simulated healthy runs none has any (benchmarks/batch_false_alarms.py).",
    )
    least: float = threshold(
        16.0, "Images a step that are proposed instead: the frameworks' default batch, without adding any up."
    )
    an_epoch: float = threshold(
        10.0, "Steps an epoch below which a step takes too much of the data (diagnostics.md B7)."
    )
    gain: float = threshold(
        0.05,
        "Projected gain of the steps that 16 images each would have given. Four times as many and more are a long way "
        "to extrapolate: 0.02 alarms on 47 of 300 simulated healthy runs at the default batch, 0.05 on 1 "
        "(benchmarks/batch_false_alarms.py).",
    )
    gain_lower: float = threshold(0.02, "Lower end of that gain's interval: the report contract's 2 points.")
    gain_major: float = threshold(0.08, "From here the finding is major: none of those 300 reaches it.")
    gain_major_lower: float = threshold(0.03, "Lower end of the interval of a major one.")
    rows: int = threshold(20, "Rows from which a run of few steps is judged by what its second half brought.")
    unlearnt: float = threshold(
        0.05, "mAP50-95 of a run that has not shown what its data can do (insufficient_epochs)."
    )
    epochs: int = threshold(50, "The fewest epochs of a usual fine-tune (B8(c)): below, epochs are what lacks.")


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:
    history = history_of(evidence.run)
    batch = batch_of(evidence)
    if batch is None and history is None:
        return not_run(CAUSE, why_absent(evidence, "curves"))
    parts = present(
        (
            _too_small(evidence, history, batch),
            _too_large(evidence, history, batch),
            _stands_still(evidence, history, batch),
        )
    )
    if parts:
        return joined(CAUSE, parts)
    return _sound(history, batch)


def _batch_evidence(batch: Batch) -> tuple[Measurement, ...]:
    items = [
        Measurement("images a batch", batch.size, source=batch.place),
        Measurement("images an optimizer step", batch.effective, NOMINAL),
    ]
    if batch.images is not None:
        items.append(Measurement("training images", batch.images, source=batch.images_place))
    if batch.steps is not None:
        name = "optimizer steps, as the checkpoint counted" if batch.counted else "optimizer steps, by count"
        items.append(Measurement(name, batch.steps, LIMITS.few_steps, n=batch.epochs))
        items.append(Measurement("steps that the averaged weights lag behind", round(average_lag(batch.steps), 1)))
    return tuple(items)


def _too_small(evidence: Evidence, history: History | None, batch: Batch | None) -> Part | None:
    """Batch norm over a handful of images; grave only where mAP is noisy for no reason that is known to be another."""
    if batch is None or batch.normalised >= LIMITS.normalised:
        return None
    stability = stability_of(history) if history is not None else None
    noise = stability.oscillation if stability is not None else None
    val = evidence.dataset.splits.get("val") if evidence.dataset is not None else None
    rate = schedule_of(evidence.run, history).times_usual
    noisy = noise is not None and noise >= LIMITS.noise
    settled = val is not None and val.instances >= LIMITS.instances and (rate or 0.0) < RATE.too_high
    single = batch.normalised < LIMITS.single and (rate or 0.0) < RATE.too_high
    severity: Severity = "major" if single or (noisy and settled) else "minor"
    devices = f" on each of {batch.devices} devices" if batch.devices > 1 else ""
    return Part(
        severity,
        f"Batch norm saw {counted(batch.normalised, 'image')} at a time{devices}",
        "Its statistics of so few images are noise, which the running averages of validation don't share. Accumulation "
        f"adds up gradients, {batch.accumulated} batches here, and does not help against that. "
        + (
            f"{metric_word(history, begins=True)}'s noise is {noise:.1%} of its best."
            if noise is not None and history is not None
            else "How noisy mAP is can't be told."
        ),
        (
            Measurement(
                "images that batch norm sees", round(batch.normalised, 2), LIMITS.normalised, source=batch.place
            ),
            *(
                (Measurement("noise of mAP over its best", round(noise, 4), LIMITS.noise, n=history.size),)
                if noise is not None and history is not None
                else ()
            ),
            *_batch_evidence(batch)[1:],
        ),
        against_small_batch(evidence, batch),
        effect=batch.normalised,
        n=batch.epochs or None,
    )


def _too_large(evidence: Evidence, history: History | None, batch: Batch | None) -> Part | None:
    """Few steps, and few an epoch, where steps of fewer images would have given more and the curve asks for more."""
    if batch is None or batch.steps is None or batch.effective <= LIMITS.least or batch.steps >= LIMITS.steps:
        return None
    if (batch.steps_an_epoch or 0.0) >= LIMITS.an_epoch or evidence.run.status == "interrupted":
        return None  # more epochs are what such a run lacks
    times = min(batch.effective / LIMITS.least, 10.0)
    best = _best(history)
    gain, interval = _gain(history, times)
    grows = gain is not None and interval is not None and gain >= LIMITS.gain and interval[0] >= LIMITS.gain_lower
    sure = interval is not None and interval[0] >= LIMITS.gain_major_lower
    unlearnt = best is not None and best < LIMITS.unlearnt and batch.epochs >= LIMITS.epochs
    by_choice = batch.effective > NOMINAL
    starved = by_choice and batch.steps < LIMITS.few_steps
    if not (grows or unlearnt or starved):
        return None
    more = _as_more_epochs(history, times)
    rising = starved and more is not None and more.value >= LIMITS.gain
    grave = (
        (unlearnt and by_choice)
        or (grows and sure and gain is not None and gain >= LIMITS.gain_major)
        or (starved and rising)
    )
    promised = gain
    if more is not None:
        gain, interval = more.value, more.ci95
    an_epoch = f", {batch.steps_an_epoch:.2g} an epoch" if batch.steps_an_epoch is not None else ""
    return Part(
        "major" if grave else "minor",
        f"Steps of {batch.effective} images left the run {batch.steps} optimizer steps{an_epoch}",
        f"Steps of {LIMITS.least:g} images would have been {times:.2g} times as many in the same epochs. "
        + (
            f"By the power law of the curve, which has epochs for steps, they would have added {promised:.3f}"
            + (f"; as many times the epochs were seen to add {gain:.3f} to such a curve." if more is not None else ".")
            if grows
            else f"As many times the epochs were seen to add {gain:.3f} to such a curve."
            if rising
            else "The model has learnt next to nothing."
            if unlearnt
            else "What more steps would have added can't be told from the curve."
        ),
        _batch_evidence(batch),
        against_large_batch(evidence, batch, history),
        Impact("lowers", gain, interval, "observational", history.metric_name or "map50_95")
        if (grows or rising) and history is not None
        else Impact("lowers"),
        effect=float(batch.steps),
        n=batch.epochs or None,
    )


def _stands_still(evidence: Evidence, history: History | None, batch: Batch | None) -> Part | None:
    """Less than a step an epoch: seen in validation that doesn't change, or by count."""
    an_epoch = batch.steps_an_epoch if batch is not None else None
    unchanged = unchanged_epochs(history) if history is not None else 0
    share = unchanged / (history.size - 1) if history is not None and history.size > 1 else 0.0
    if share < LIMITS.unchanged and (an_epoch is None or an_epoch >= 1):
        return None
    seen = history is not None and share >= LIMITS.unchanged
    times = f"{1 - share:.2g}" if seen else f"{an_epoch:.2g}"
    return Part(
        "minor",
        f"There was less than one optimizer step an epoch, about {times}",
        "The training split is smaller than the images of one step. "
        + (
            f"{unchanged} epochs validate exactly as the one before, so that nothing was learnt in between. "
            if seen
            else ""
        )
        + "Fewer images a step give more steps; more training images would do more.",
        (
            *(
                (
                    Measurement(
                        "share of epochs that validate exactly as the one before",
                        round(share, 4),
                        LIMITS.unchanged,
                        n=history.size - 1,
                        source=history.curves.source,
                    ),
                )
                if history is not None and seen
                else ()
            ),
            *(_batch_evidence(batch) if batch is not None else ()),
        ),
        (fewer_images_a_step(evidence, _few(batch), batch),),
        effect=1.0 - share if seen else an_epoch,
        n=history.size if history is not None else None,
    )


def _few(batch: Batch | None) -> int:
    """Images a step where a step takes them all: as few as batch norm needs, unless it is known to see fewer now."""
    return LEAST if batch is not None and batch.normalised < LIMITS.normalised else int(LIMITS.normalised)


def _best(history: History | None) -> float | None:
    if history is None or history.metric_name != "map50_95" or not np.isfinite(history.metric).any():
        return None
    return float(np.nanmax(history.metric))


def _gain(history: History | None, times: float) -> tuple[float | None, tuple[float, float] | None]:
    """What `times` as many epochs would add by the power law of the steady rows; None where none can be fitted.

    It is bounded by what the last doubling of the epochs really brought, falling by 2^-b with each further one.
    """
    law = _law(history)
    if law is None or history is None:
        return None, None
    end = float(history.epochs[-1])
    factor = 2.0**-law.exponent
    doublings = math.log2(times)
    bound = _last_doubling(history) * factor * (1.0 - factor**doublings) / (1.0 - factor)
    most = max(0.0, min(bound, 1.0 - float(np.nanmax(history.metric))))
    gain = min(max(law.gain(end, times * end), 0.0), most)
    low, high = law.gain_ci95(end, times * end)
    return gain, (max(0.0, min(low, gain)), min(max(high, gain), 1.0))


def _as_more_epochs(history: History | None, times: float) -> Gain | None:
    """What `times` as many epochs were seen to add to such a curve; None of a run too short for its rows to tell."""
    if history is None or history.metric_name != "map50_95":
        return None
    metric = history.metric[np.isfinite(history.metric)]
    return gain_of_more(metric, times) if metric.size >= LIMITS.rows else None


def _last_doubling(history: History) -> float:
    """mAP gained between half of the epochs and the last before mosaic was closed, medians of max(3, E/20) rows."""
    usable = np.isfinite(history.metric) & ~history.mosaic_closed
    metric = history.metric[usable]
    width = max(3, metric.size // 20)
    half = metric.size // 2
    return float(np.median(metric[-width:]) - np.median(metric[half - width // 2 : half + width // 2 + 1]))


def _law(history: History | None) -> PowerLaw | None:
    if history is None:
        return None
    usable = history.steady() & np.isfinite(history.metric)
    # Half of the rows at least: what the falling rate adds at the end would pass for learning.
    usable &= np.cumsum(usable) <= max(20, usable.sum() // 2)
    return fit_power_law(history.epochs[usable], history.metric[usable]) if usable.sum() >= 20 else None


def _sound(history: History | None, batch: Batch | None) -> CheckResult:
    n = history.size if history is not None else None
    if batch is None:
        return inconclusive(
            CAUSE, "The batch is not known: neither arguments nor a log tell it, or AutoBatch chose it.", n=n
        )
    said = f"A step uses {batch.effective} images ({batch.accumulated} "
    said += f"{'batch' if batch.accumulated == 1 else 'batches'} of {batch.size})"
    if batch.steps is None:
        return inconclusive(
            CAUSE,
            f"{said}. The number of training images is not known, so that the steps can't be counted; every epoch "
            "validates differently from the one before, so that each had one at least."
            if history is not None and history.size > 1
            else f"{said}. The number of training images is not known, so that the steps can't be counted.",
            effect=float(batch.effective),
            n=n,
        )
    an_epoch = f", {batch.steps_an_epoch:.3g} an epoch" if batch.steps_an_epoch is not None else ""
    return passed(
        CAUSE,
        f"{said}; the run took {batch.steps} steps{an_epoch}, and its averaged weights are "
        f"{average_lag(batch.steps):.3g} steps behind.",
        effect=float(batch.steps),
        n=n,
    )


CHECK = Check(
    cause=CAUSE,
    title="Batch size",
    question=__doc__ or "",
    statistic=(
        "Effective batch: batch times max(round(nbs / batch), 1). Optimizer steps as an unstripped checkpoint counted "
        "them, else by images, epochs and accumulation with its ramp in warm-up. Epochs whose validation figures are "
        "exactly those of the epoch before, between which no step was taken. Images that batch norm sees, a device. "
        "Where there are few steps an epoch, what more of them would add by a power law of the first half of the "
        "curve. The moving average's lag, the mean age of what is in it: it is a fraction of a step up to 1300 steps, "
        "so that it is not why short runs validate near 0, and at most 0.23 of the run, after some 40000 steps. The "
        "gradients' own noise would need the training data on a GPU and is not measured."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Fine-tuning with frozen batch norm doesn't depend on the batch.",
        "A small validation split makes mAP noisy too: without 200 objects in it the finding stays minor.",
        "A learning rate that is too high makes the same noise: from five times the usual on the finding stays minor.",
        "A data set of a few images makes few steps whatever the batch.",
        "Measured (benchmarks/batch_false_alarms.py, runs of 700 steps): of 300 simulated healthy runs 1 is minor and "
        "none major at a batch of 16; at 128 8 and none, at 256 10 and 1. Of 300 that stopped too early 69 are minor "
        "and 187 major at 16, 33 and 235 at 128, 19 and 250 at 256. A batch of 2 is minor in 299 healthy runs and "
        "major in 1.",
        "Measured on the corpus' runs by curves alone (70, read and not fitted to): 16 minor with a batch of 2 "
        "or 3 or with epochs without a step, and 1 major with a batch of 1.",
    ),
    references=(
        "Wu and He, Group normalization, ECCV 2018",
        "Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017",
        "McCandlish et al., An empirical model of large-batch training, 2018",
    ),
    examine=examine,
)
