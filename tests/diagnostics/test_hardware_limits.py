"""Memory, crashes, half precision, stalls: found where they shaped a run, and not where they only stand in a log."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from runaudit.diagnostics import insufficient_epochs
from runaudit.diagnostics.evidence import CheckResult, Evidence
from runaudit.diagnostics.hardware_limits import LIMITS, WEAK_HALF_PRECISION, examine
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.runs.console_log import read_console_log
from runaudit.runs.facts import LogFacts, Note, RunFacts
from runaudit.runs.log_text import from_text
from tests.diagnostics import cases
from tests.runs.console_logs import ULTRALYTICS_8_4

OUT_OF_MEMORY = ("out_of_memory", "torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB")
GTX = "NVIDIA GeForce GTX 1660 Ti"


def cut(epochs: int = 20, **arguments: Any) -> RunFacts:
    """A run that ended after so many of 100 epochs."""
    return cases.run(cases.smooth(epochs), planned=100, status="interrupted", arguments=arguments)


def seen(run: RunFacts, log: LogFacts | None) -> CheckResult:
    return examine(cases.curves_only(run.model_copy(update={"log": log})))


def test_a_run_whose_log_is_quiet_passes_and_says_what_would_fit():
    result = examine(cases.healthy())
    assert result.outcome == "passed"
    # 4 GiB at a batch of 16; four times the batch takes 16 of 14.7, twice it 8, below 80 %.
    assert "by forecast a batch of 32 fits" in result.reason


def test_running_out_of_memory_is_major_with_a_batch_that_can_fit():
    result = seen(cut(), cases.log(OUT_OF_MEMORY))
    assert result.outcome == "failed" and result.finding is not None
    assert "ran out of memory, after 20 of 100 epochs" in result.finding.title
    assert result.finding.evidence[0].source == "train.log:20"
    patches = [remedy.patch for remedy in result.finding.remedies]
    assert {"batch": 8} in patches and {"imgsz": 480} in patches and {"resume": True} in patches
    assert any("accumulate" in (remedy.code or "") for remedy in result.finding.remedies)
    assert any("18.4 GiB" in remedy.title for remedy in result.finding.remedies)


def test_half_precision_is_proposed_where_it_was_switched_off():
    finding = seen(cut(amp=False), cases.log(OUT_OF_MEMORY)).finding
    assert finding is not None
    assert {"amp": True} in [remedy.patch for remedy in finding.remedies]


def test_without_a_single_epoch_it_is_critical():
    run = cut().model_copy(update={"curves": None, "best_row": None, "epochs_run": None})
    result = examine(Evidence(run.model_copy(update={"log": cases.log(OUT_OF_MEMORY)}), absent=dict(cases.ABSENT)))
    assert result.finding is not None and result.finding.severity == "critical"
    assert {"resume": True} not in [remedy.patch for remedy in result.finding.remedies]


def test_the_same_words_in_the_log_of_a_run_that_ended_well_are_no_finding():
    result = seen(cases.run(), cases.log(OUT_OF_MEMORY))
    assert result.outcome == "passed" and "came to its end" in result.reason


def test_an_early_end_that_patience_does_not_explain_is_explained_by_the_log():
    note = Note(code="early_stop_unexplained", detail="The run ended by itself after epoch 20 of 100.")
    stopped = cut().model_copy(update={"status": "early_stopped"})
    assert seen(stopped, cases.log(OUT_OF_MEMORY)).outcome == "passed"
    assert seen(stopped.model_copy(update={"notes": (note,)}), cases.log(OUT_OF_MEMORY)).outcome == "failed"
    assert seen(stopped.model_copy(update={"notes": (note,)}), cases.log()).outcome == "passed"


def test_a_run_that_was_resumed_after_it_is_minor():
    assert seen(cases.run(status="resumed"), cases.log(OUT_OF_MEMORY)).outcome == "warned"


@pytest.mark.parametrize(
    ("event", "title"),
    [
        (("cuda_error", "RuntimeError: CUDA error: device-side assert triggered"), "The GPU failed"),
        (("process_ended", "Killed"), "ended from outside"),
        (("process_ended", "slurmstepd: error: Detected 1 oom-kill event"), "ran out of main memory"),
        (("process_ended", "CANCELLED AT 2026-01-01 DUE TO TIME LIMIT"), "time limit"),
        (("process_ended", "DataLoader worker (pid 7) exited unexpectedly"), "data loader died"),
        (("exception", "ValueError: something else"), "crashed"),
        (("exception", "torch.OutOfMemoryError"), "The GPU ran out of memory"),
        (("exception", "MemoryError"), "ran out of main memory"),
        (("out_of_memory", "DefaultCPUAllocator: can't allocate memory"), "ran out of main memory"),
    ],
)
def test_other_endings_are_told_apart(event: tuple[str, str], title: str):
    result = seen(cut(), cases.log(event))
    assert result.outcome == "failed" and title in result.reason


def test_a_device_side_assert_points_to_the_labels():
    finding = seen(cut(), cases.log(("cuda_error", "device-side assert triggered"))).finding
    assert finding is not None and "class_mapping" in finding.explanation


def test_memory_is_told_before_the_traceback_that_follows_it():
    events = (OUT_OF_MEMORY, ("exception", "torch.OutOfMemoryError"), ("process_ended", "Killed"))
    assert "out of memory" in seen(cut(), cases.log(*events)).reason


def test_events_that_are_only_counted_are_counted_and_not_quoted():
    events = cases.log(OUT_OF_MEMORY).events
    counted = Note(code="out_of_memory", detail="7 more of these.", place="train.log")
    finding = seen(cut(), cases.log(events=(*events, counted))).finding
    assert finding is not None
    assert "Tried to allocate" in finding.explanation and finding.evidence[0].source == "train.log:20"
    limit = cases.log(("nms_time_limit", "NMS time limit 1.800s exceeded")).events
    more = Note(code="nms_time_limit", detail="41 more of these.", place="train.log")
    assert seen(cases.run(), cases.log(events=(*limit, more))).effect == 42


def test_a_person_who_stops_a_run_is_no_limit_of_the_machine():
    events = (("process_ended", "KeyboardInterrupt"), ("exception", "KeyboardInterrupt"))
    result = seen(cut(), cases.log(*events))
    assert result.outcome == "passed" and "A person stopped" in result.reason


def test_what_cut_a_run_short_explains_its_missing_epochs():
    evidence = cases.curves_only(cut().model_copy(update={"log": cases.log(OUT_OF_MEMORY)}))
    results = explain_away([insufficient_epochs.examine(evidence), examine(evidence)])
    assert [result.cause for result in rank(results)] == ["hardware_limits", "insufficient_epochs"]
    assert results[0].finding is not None and "Explained by hardware_limits" in results[0].finding.explanation


def test_a_batch_that_was_halved_in_silence_is_minor():
    log = cases.log(("batch_reduced", "Reducing to batch=8 and retrying (1/3)"), batch=8, peak_memory_gb=9.0)
    result = seen(cases.run(), log)
    assert result.outcome == "warned" and result.finding is not None
    assert result.finding.evidence[0].value == 8 and result.finding.evidence[0].threshold == 16
    assert result.finding.remedies[0].patch == {"batch": 8}


def nans(run: RunFacts, group: str, rows: int = 5) -> RunFacts:
    return cases.spoil(run, group, "box", dict.fromkeys(range(rows), float("nan")))


def test_nan_in_half_precision_on_a_gpu_that_is_known_for_it():
    log = cases.log(gpu=GTX)
    assert seen(nans(cases.run(), "train_losses"), log).outcome == "failed"
    useless = seen(nans(cases.run(np.zeros(60)), "train_losses", 60), log)
    assert useless.finding is not None and useless.finding.severity == "critical"
    assert useless.finding.remedies[0].patch == {"amp": False}
    assert seen(nans(cases.run(), "val_losses"), log).outcome == "warned"
    mended = cases.log(("nan_recovery", "Loss NaN/Inf detected"), gpu=GTX)
    assert seen(cases.run(), mended).outcome == "warned"


def test_no_detection_in_any_epoch_on_such_a_gpu_is_critical():
    blind = seen(cases.run(np.zeros(60)), cases.log(gpu=GTX))
    assert blind.finding is not None and blind.finding.severity == "critical"
    assert seen(cases.run(np.zeros(LIMITS.epochs - 1)), cases.log(gpu=GTX)).outcome == "passed"


@pytest.mark.parametrize(
    ("log", "arguments"),
    [
        (cases.log(), {}),
        (cases.log(gpu=GTX), {"amp": False}),
        (cases.log(gpu=GTX, amp="failed"), {}),
        (cases.log(gpu="NVIDIA A100-SXM4-40GB"), {}),
    ],
)
def test_nan_elsewhere_is_not_the_gpu_s_fault(log: LogFacts, arguments: dict[str, Any]):
    assert seen(nans(cases.run(arguments=arguments), "train_losses"), log).outcome == "passed"


def test_such_a_gpu_without_nan_passes():
    assert seen(cases.run(), cases.log(gpu=GTX)).outcome == "passed"


@pytest.mark.parametrize("name", ["NVIDIA GeForce GTX 1650", "Quadro T1000", "NVIDIA T400 4GB", "Tesla K40m", "1660Ti"])
def test_names_of_the_list(name: str):
    assert WEAK_HALF_PRECISION.search(name)


@pytest.mark.parametrize("name", ["Tesla T4", "NVIDIA GeForce RTX 3090", "NVIDIA RTX A4000", "T4000", "GTX 16600"])
def test_names_that_only_resemble_them(name: str):
    assert not WEAK_HALF_PRECISION.search(name)


def test_nan_that_was_mended_in_full_precision_is_minor_on_such_a_gpu_too():
    log = cases.log(("nan_recovery", "Loss NaN/Inf detected"), gpu=GTX)
    result = seen(cases.run(arguments={"amp": False}), log)
    assert result.outcome == "warned" and "became NaN" in result.reason


def test_nan_that_was_mended_on_another_gpu_is_minor():
    result = seen(cases.run(), cases.log(("nan_recovery", "Loss NaN/Inf detected (attempt 1/3)")))
    assert result.outcome == "warned" and result.finding is not None
    assert "repeat such an epoch" in result.finding.explanation


def clocked(slow: float, *, at: int = 50, pace: float = 60.0) -> RunFacts:
    taken = np.full(cases.EPOCHS, pace)
    taken[at] = slow
    return cases.with_curves(cases.run(), seconds=tuple(np.cumsum(taken).tolist()))


def test_an_epoch_that_stalls_for_half_an_hour_is_minor():
    result = seen(clocked(1860.0), cases.log())
    assert result.outcome == "warned" and result.finding is not None
    assert result.finding.evidence[0].source == "results.csv:52"
    assert seen(clocked(1859.0), cases.log()).outcome == "passed"


def test_long_epochs_are_no_stall_if_all_are_long():
    assert seen(clocked(7200.0, pace=3600.0), cases.log()).outcome == "passed"
    assert seen(clocked(3 * 3600.0 + 1, pace=3600.0), cases.log()).outcome == "warned"


def test_a_clock_that_restarts_is_a_resumption_and_no_stall():
    seconds = [*np.cumsum(np.full(50, 60.0)), *np.cumsum(np.full(50, 60.0))]
    run = cases.with_curves(cases.run(status="resumed"), seconds=tuple(seconds))
    assert seen(run, cases.log()).outcome == "passed"


def test_validation_that_ran_out_of_time_is_minor():
    result = seen(cases.run(), cases.log(("nms_time_limit", "NMS time limit 1.800s exceeded")))
    assert result.outcome == "warned"
    assert result.finding is not None and result.finding.evidence[0].source == "train.log:20"


def test_without_a_log_nothing_is_claimed():
    assert seen(cases.run(), None).outcome == "inconclusive"
    assert "console log" in seen(cut(), None).reason
    silent = seen(cut(), cases.log())
    assert silent.outcome == "inconclusive" and "log does not say" in silent.reason
    assert examine(cases.without_everything()).outcome == "not_run"


def test_a_log_as_it_is_printed():
    log = read_console_log(from_text(ULTRALYTICS_8_4, source="train.log"))
    run = cut(2, batch=64, imgsz=1280)
    result = examine(replace(cases.healthy(), run=run.model_copy(update={"log": log})))
    assert result.outcome == "failed" and result.finding is not None
    assert "ended from outside, after 2 of 100 epochs" in result.finding.title
    assert "reduced to 32" in result.finding.explanation
    assert "taken up again" in result.finding.explanation
