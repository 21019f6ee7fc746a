"""Did memory, crashes, half precision or stalls of the machine shape the run; what would fit its GPU?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from runaudit.diagnostics.answers import inconclusive, not_run, passed, why_absent
from runaudit.diagnostics.endings import Ending, Kind, ending_of, events_with, stopped_by_hand
from runaudit.diagnostics.epoch_times import epoch_times
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Measurement, Remedy, Severity
from runaudit.diagnostics.hardware_remedies import FILLED, remedies_of_ending, smaller_batch, without_half_precision
from runaudit.diagnostics.history import finite_column, history_of
from runaudit.diagnostics.memory_forecast import forecast_of, gpu_of, memory_of
from runaudit.diagnostics.optimizer_steps import NOMINAL
from runaudit.diagnostics.parts import Part, joined, present
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.wording import counted

CAUSE: Final = "hardware_limits"

WEAK_HALF_PRECISION: Final = re.compile(
    r"(?<![0-9a-z])(?:1660|1650|1630|T400|T550|T600|T1000|T1200|T2000|K40m)(?![0-9])", re.IGNORECASE
)
"""GPUs on which half precision gives NaN or zero mAP: the list of ultralytics 8.4.190 (utils/checks.py check_amp;
yolo.md A9). Earlier versions don't know all of them, and their self-test passes on some (yolo.md row 5)."""


@dataclass(frozen=True)
class Thresholds:
    stall: float = threshold(
        3.0,
        "Times the run's own median epoch. Of the corpus' 16 runs with a clock, read and not fitted to, 15 stay below "
        "2, and one has a single epoch above, of 19 times.",
    )
    stall_seconds: float = threshold(
        1800.0,
        "Seconds beyond the median: SageMaker Debugger's StalledTraining rule (diagnostics.md 0.3). None of those 16 "
        "runs has such an epoch.",
    )
    filled: float = threshold(FILLED, "Share of a GPU's memory that YOLOv5's AutoBatch fills (diagnostics.md 0.2).")
    learnt: float = threshold(0.01, "mAP50-95 below which a model is of no use (diagnostics.md B10).")
    epochs: int = threshold(5, "Epochs without any precision or recall before that is put down to half precision.")


LIMITS = Thresholds()


def examine(evidence: Evidence) -> CheckResult:
    run = evidence.run
    if run.log is None and run.curves is None:
        return not_run(CAUSE, why_absent(evidence, "curves"))
    half_precision = _half_precision(evidence)
    parts = present(
        (
            _ended(evidence),
            half_precision,
            _halved(evidence),
            _mended(evidence) if half_precision is None else None,
            _stalled(evidence),
            _nms_time(evidence),
        )
    )
    if parts:
        return joined(CAUSE, parts)
    return _undisturbed(evidence)


def _cut_short(evidence: Evidence) -> bool:
    """Whether the run did not get its epochs, or ended before its plan for a reason that its own rules don't give."""
    run = evidence.run
    unexplained = any(note.code == "early_stop_unexplained" for note in run.notes)
    return run.status in ("interrupted", "resumed") or unexplained


def _ended(evidence: Evidence) -> Part | None:
    """What the log says ended a run that did not come to its end."""
    run, log = evidence.run, evidence.run.log
    ending = ending_of(log) if log is not None else None
    if log is None or ending is None or not _cut_short(evidence):
        return None
    resumed = run.status == "resumed"
    severity: Severity = "minor" if resumed else "critical" if not run.epochs_run else "major"
    title, meaning = _ENDINGS[ending.kind]
    planned = f" of {run.epochs_planned}" if run.epochs_planned else ""
    after = f"after {run.epochs_run}{planned} epochs" if run.epochs_run else "before its first epoch was written"
    return Part(
        severity,
        f"{title}, {after}" + (", and was resumed" if resumed else ""),
        f"{ending.event.detail} {_hint(ending)}{meaning}",
        (
            Measurement("epochs written", run.epochs_run or 0, run.epochs_planned, source=ending.event.place),
            *_memory_evidence(evidence),
        ),
        remedies_of_ending(evidence, ending.kind),
        effect=float(run.epochs_run or 0),
        n=run.epochs_run,
    )


_ENDINGS: Final[dict[Kind, tuple[str, str]]] = {
    "memory": (
        "The GPU ran out of memory",
        "Validation takes twice the batch of training, so that it can run out where training does not.",
    ),
    "device": ("The GPU failed", "Driver, memory and temperature are the usual suspects."),
    "main_memory": (
        "The machine ran out of main memory",
        "Images that are cached in memory, and data loaders, each of which holds batches of its own, take most of it.",
    ),
    "workers": (
        "A data loader died",
        "Data loaders hand batches on in shared memory, which containers have little of.",
    ),
    "time": ("The scheduler ended the run at its time limit", "last.pt holds what is needed to go on."),
    "signal": (
        "The process was ended from outside",
        "A machine that is taken back, a scheduler, or a kernel short of main memory does that.",
    ),
    "exception": ("The training crashed", "The program gave up by itself; what it says is the place to begin."),
}


def _hint(ending: Ending) -> str:
    if "device-side assert" in ending.event.detail:
        return "A device-side assert mostly means a class id that the model has no output for: see class_mapping. "
    return ""


def _memory_evidence(evidence: Evidence) -> tuple[Measurement, ...]:
    log, gpu = evidence.run.log, gpu_of(evidence)
    if log is None:
        return ()
    items = []
    if gpu is not None:
        memory = memory_of(gpu)
        name = f"memory of {gpu.name} in GiB" if memory is not None else "GPU"
        items.append(
            Measurement(name, round(memory, 2) if memory is not None else gpu.name, source=log.places.get("devices"))
        )
    if log.peak_memory_gb is not None:
        items.append(Measurement("most GPU memory that the log shows, in GiB", log.peak_memory_gb))
    return tuple(items)


def _half_precision(evidence: Evidence) -> Part | None:
    """NaN, or no detection at all, in half precision on a GPU that is known for it."""
    run, log, gpu = evidence.run, evidence.run.log, gpu_of(evidence)
    if log is None or gpu is None or not WEAK_HALF_PRECISION.search(gpu.name):
        return None
    if run.argument("amp") is False or log.amp == "failed":
        return None
    train, validation, blind = (
        _nonfinite(evidence, "train_losses"),
        _nonfinite(evidence, "val_losses"),
        _blind(evidence),
    )
    _, mended = events_with(log, "nan_recovery")
    if not (train or validation or blind or mended):
        return None
    history = history_of(run)
    best = float(np.nanmax(history.metric)) if history is not None and np.isfinite(history.metric).any() else 0.0
    useless = (train > 0 or blind) and best < LIMITS.learnt
    symptoms = [
        f"{counted(train, 'epoch')} with a training loss that is not finite" if train else "",
        f"{counted(validation, 'epoch')} with a validation loss that is not finite" if validation else "",
        f"{mended} recoveries from NaN in the log" if mended else "",
        "no detection in any epoch" if blind else "",
    ]
    return Part(
        "critical" if useless else "major" if train or blind else "minor",
        f"Half precision gives NaN on a {gpu.name}",
        f"Seen were {', '.join(filter(None, symptoms))}. This GPU is known for it, whatever the self-test says. "
        "Where only validation is affected the weights are sound, and the reported metrics are not.",
        (
            Measurement("epochs with a training loss that is not finite", train, 0, n=run.epochs_run),
            Measurement("epochs with a validation loss that is not finite", validation, 0, n=run.epochs_run),
            Measurement("GPU", gpu.name, source=log.places.get("devices")),
            Measurement("best metric", round(best, 4), LIMITS.learnt, n=run.epochs_run),
        ),
        (without_half_precision(run),),
        effect=float(train + validation),
        n=run.epochs_run,
    )


def _nonfinite(evidence: Evidence, group: str) -> int:
    """Rows in which a loss of the group is NaN or infinite; an empty cell is missing, not NaN."""
    curves = evidence.run.curves
    if curves is None:
        return 0
    columns = getattr(curves, group).values()
    rows = [[cell is not None and not np.isfinite(cell) for cell in column] for column in columns]
    return int(np.any(rows, axis=0).sum()) if rows else 0


def _blind(evidence: Evidence) -> bool:
    """Precision, recall and mAP are 0 in every epoch of a run that trained for some."""
    curves = evidence.run.curves
    if curves is None or len(curves.epochs) < LIMITS.epochs:
        return False
    columns = [curves.metrics.get(key) for key in ("precision", "recall", "map50")]
    return all(column is not None and not np.any(finite_column(column) != 0) for column in columns)


def _halved(evidence: Evidence) -> Part | None:
    """The batch was reduced in silence, in a run that then came to its end."""
    log = evidence.run.log
    events, times = events_with(log, "batch_reduced")
    if log is None or not events:
        return None
    batch = log.batch
    added = batch is not None and batch < NOMINAL
    return Part(
        "minor",
        f"The batch was reduced to {batch} when memory ran out" if batch is not None else "The batch was reduced",
        "args.yaml still says what was asked for. "
        + (
            f"Gradients are added up to {NOMINAL:g} images a step all the same; batch norm sees fewer at a time. "
            if added
            else ""
        )
        + "Two runs of the same arguments on other machines are not the same training.",
        (
            Measurement("images a batch in the end", batch, _asked(evidence), source=events[-1].place),
            *_memory_evidence(evidence),
        ),
        (smaller_batch(evidence),) if batch is None else (smaller_batch(evidence, batch),),
        effect=float(batch) if batch is not None else None,
        n=times,
    )


def _asked(evidence: Evidence) -> int | None:
    asked = evidence.run.argument("batch") or evidence.run.argument("batch_size")
    return asked if isinstance(asked, int) and not isinstance(asked, bool) and asked > 0 else None


def _mended(evidence: Evidence) -> Part | None:
    """NaN that the framework recovered from by repeating the epoch; results.csv then shows none of it."""
    events, times = events_with(evidence.run.log, "nan_recovery")
    if not events:
        return None
    return Part(
        "minor",
        "Losses or weights became NaN, and the run was taken up again from last.pt",
        f"{events[0].detail} Newer versions repeat such an epoch up to three times and write nothing of it into "
        "results.csv. Half precision and a high learning rate are the usual causes.",
        (Measurement("recoveries in the log", times, 0, source=events[0].place),),
        (without_half_precision(evidence.run), Remedy("Lower the learning rate", "If it comes back.", {"lr0": 0.001})),
        effect=float(times),
        n=evidence.run.epochs_run,
    )


def _stalled(evidence: Evidence) -> Part | None:
    curves = evidence.run.curves
    times = epoch_times(curves, longer=LIMITS.stall, seconds=LIMITS.stall_seconds)
    if curves is None or times is None or not times.stalls:
        return None
    return Part(
        "minor",
        f"{counted(len(times.stalls), 'epoch')} took more than {LIMITS.stall:g} times as long as the others",
        f"An epoch takes {times.median:.0f} seconds, the longest took {times.longest:.0f}. That costs time and no mAP; "
        "a disk, a network or a neighbour that was busy does it, or a machine that slept.",
        (
            Measurement(
                "seconds of the longest epoch",
                round(times.longest, 1),
                round(max(LIMITS.stall * times.median, times.median + LIMITS.stall_seconds), 1),
                n=times.epochs,
                source=f"{curves.source}:{curves.lines[times.stalls[0]]}",
            ),
        ),
        (Remedy("Keep the data on a local disk", "Or cache them: `disk` needs no memory.", {"cache": "disk"}),),
        effect=times.longest / times.median,
        n=times.epochs,
    )


def _nms_time(evidence: Evidence) -> Part | None:
    """Validation gave up on images for want of time: its metrics are too low, the model is what it is."""
    events, times = events_with(evidence.run.log, "nms_time_limit")
    if not events:
        return None
    return Part(
        "minor",
        "Validation ran into its time limit and dropped detections",
        "When non-maximum suppression takes too long the rest of the batch gets no detections, so that reported mAP is "
        "lower than the model's. Re-validation here has no limit.",
        (Measurement("times that the limit was met", times, 0, source=events[0].place),),
        (
            Remedy(
                "Validate on a faster machine or in smaller batches",
                "The limit grows with the batch by 0.05 s an image only.",
                reference="https://github.com/ultralytics/ultralytics/issues/7225",
            ),
        ),
        effect=float(times),
    )


def _undisturbed(evidence: Evidence) -> CheckResult:
    run, log, n = evidence.run, evidence.run.log, evidence.run.epochs_run
    if run.status == "interrupted":
        by_hand = stopped_by_hand(log) if log is not None else None
        if by_hand is not None:
            return passed(CAUSE, f"A person stopped the run ({by_hand.place}), not the machine.", n=n)
        where = "its log does not say" if log is not None else "only its console log would say, and none came with it"
        return inconclusive(CAUSE, f"The run was cut short; what ended it {where}.", n=n)
    times = epoch_times(run.curves, longer=LIMITS.stall, seconds=LIMITS.stall_seconds)
    seconds = "" if times is None else f"{times.median:.0f}" if times.median >= 100 else f"{times.median:.2g}"
    pace = f", at {seconds} seconds an epoch without a stall" if seconds else ""
    if log is None:
        return inconclusive(
            CAUSE,
            f"The run came to its end{pace}. Whether memory ran out, the batch was halved or NaN was mended on the "
            "way, only its console log would say.",
            n=n,
        )
    ending = ending_of(log)
    told = (
        f"The log tells of trouble ({ending.event.place}), but the run came to its end"
        if ending is not None
        else "The log tells of no trouble with the machine"
    )
    return passed(CAUSE, f"{told}{pace}.{_room(evidence)}", n=n)


def _room(evidence: Evidence) -> str:
    """What the GPU would have room for, by the forecast."""
    forecast, memory = forecast_of(evidence), memory_of(gpu_of(evidence))
    if forecast is None:
        return ""
    said = f" At most {forecast.peak:.3g} GiB of GPU memory were taken"
    if memory is None:
        return f"{said}; twice the batch would take about {forecast.at(2 * forecast.batch, forecast.size):.3g}."
    largest = forecast.largest_batch(LIMITS.filled * memory)
    fits = f"; by forecast a batch of {largest} fits" if largest is not None else ""
    return f"{said}, of {memory:.3g}{fits}."


CHECK = Check(
    cause=CAUSE,
    title="Hardware limits",
    question=__doc__ or "",
    statistic=(
        "Events of the console log (out of memory, failures of the GPU, signals, exceptions, reduced batches, mended "
        "NaN, time limits of validation) held against how the run ended. NaN or no detection at all under half "
        "precision on the GPUs that ultralytics lists for it. Epochs that took more than three times the run's own "
        "median and half an hour more. Forecast of GPU memory: what the log's peak holds beside weights, gradients and "
        "optimizer grows as batch times the square of imgsz (counted on three networks within 0.7 %); without a peak "
        "nothing is forecast."
    ),
    thresholds=LIMITS,
    false_positives=(
        "A log that holds an earlier attempt as well: the last training of the run folder's name counts.",
        "Validation losses of NaN on such a GPU without harm to the weights.",
        "A person who stops a run leaves KeyboardInterrupt, which is no finding.",
        "The peak that the log shows holds the allocator's reserve, so that a forecast from a full GPU is too high.",
        "Measured on the corpus' runs by curves alone (70, read and not fitted to; none has a log): no finding; on "
        "simulated runs, which have neither log nor clock, none can arise.",
    ),
    references=(
        "ultralytics utils/checks.py check_amp, engine/trainer.py; yolo.md C1, C12, A9",
        "ultralytics issues 280, 1148, 5294, 9223; SageMaker Debugger, StalledTraining",
    ),
    examine=examine,
)
