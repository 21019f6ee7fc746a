"""Counting optimizer steps: accumulation, warm-up, what the curves show of them, and the moving average's lag."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.history import history_of
from runaudit.diagnostics.optimizer_steps import average_lag, batch_of, steps_of, training_images, unchanged_epochs
from runaudit.runs.facts import DatasetFacts, LogFacts, LogScan
from tests.diagnostics import cases


def of_images(images: int) -> DatasetFacts:
    return cases.dataset(splits={"train": cases.split((images,))})


def batch(
    images: int | None = 640, *, epochs: int = 100, version: str | None = None, log: Any = None, **arguments: Any
):
    run = cases.run(cases.smooth(epochs), arguments=arguments)
    run = run.model_copy(update={"framework_version": version, "log": log})
    return batch_of(Evidence(run, dataset=None if images is None else of_images(images)))


def test_batches_are_added_up_to_64_images():
    found = batch(batch=16)
    assert found is not None
    assert (found.accumulated, found.effective, found.batches) == (4, 64, 40)
    assert found.steps_an_epoch == 10
    assert batch(batch=48).effective == 48  # type: ignore[union-attr]
    assert batch(batch=128).effective == 128  # type: ignore[union-attr]
    assert batch(batch=16, nbs=16).accumulated == 1  # type: ignore[union-attr]


def test_a_short_run_takes_the_steps_that_were_seen():
    """8 images, a batch of 4 and 3 epochs of version 8.4 made one step (yolo.md A4)."""
    found = batch(8, epochs=3, version="8.4.190", batch=4)
    assert found is not None and found.steps == 1


def test_warm_up_takes_more_steps_than_the_rest():
    """One batch an epoch, 500 epochs: of ten such runs 149 to 165 epochs were seen to change anything."""
    found = batch(10, epochs=500, batch=16)
    assert found is not None and found.steps == pytest.approx(46.2 + 100, abs=1)


def test_the_checkpoint_s_own_count_is_taken_before_any_estimate():
    run = cases.run().model_copy(update={"checkpoint": cases.checkpoint(updates=77)})
    found = batch_of(Evidence(run, dataset=of_images(640)))
    assert found is not None and (found.steps, found.counted) == (77, True)


def test_steps_are_known_without_a_batch_where_the_checkpoint_counts_them():
    run = cases.run(arguments={"batch": -1})
    assert steps_of(Evidence(run, dataset=of_images(640))) is None
    counted = run.model_copy(update={"checkpoint": cases.checkpoint(updates=17)})
    assert steps_of(Evidence(counted)) == 17
    assert steps_of(Evidence(cases.run(), dataset=of_images(640))) == pytest.approx(1000, abs=60)


def test_the_log_tells_what_autobatch_chose_and_what_was_halved():
    log = LogFacts(sources=("train.log",), batch=8, places={"batch": "train.log:7"})
    found = batch(log=log, batch=16)
    assert found is not None and (found.size, found.place) == (8, "train.log:7")
    assert batch(batch=-1) is None
    assert batch(batch=0.7) is None
    assert batch(log=log, batch=-1).size == 8  # type: ignore[union-attr]


def test_yolov5_states_its_batch_by_another_name():
    run = cases.run(arguments={"batch": None, "batch_size": 32, "nbs": 16}).model_copy(update={"framework": "yolov5"})
    found = batch_of(Evidence(run))
    assert found is not None and (found.size, found.accumulated, found.steps) == (32, 2, None)


@pytest.mark.parametrize(
    ("device", "seen"), [("0,1", 8.0), ([0, 1, 2, 3], 4.0), ("cuda:0", 16.0), ("cpu", 16.0), (None, 16.0), (0, 16.0)]
)
def test_batch_norm_sees_a_device_s_share(device: Any, seen: float):
    assert batch(batch=16, device=device).normalised == seen  # type: ignore[union-attr]
    assert batch(batch=16, device=device, sync_bn=True).normalised == 16  # type: ignore[union-attr]


def test_images_by_the_data_or_by_the_scan():
    scan = LogScan(split="train", found=100, missing=20, empty=5, backgrounds=25, place="train.log:3")
    log = LogFacts(sources=("train.log",), scans=(scan, scan.model_copy(update={"split": "val"})))
    run = cases.run().model_copy(update={"log": log})
    assert training_images(Evidence(run)) == (120, "train.log:3")
    unparted = log.model_copy(update={"scans": (scan.model_copy(update={"missing": None, "empty": None}),)})
    assert training_images(Evidence(run.model_copy(update={"log": unparted}))) == (125, "train.log:3")
    assert training_images(Evidence(run, dataset=of_images(300)))[0] == 300
    part = cases.run(arguments={"fraction": 0.5})
    assert training_images(Evidence(part, dataset=of_images(300)))[0] == 150
    assert training_images(Evidence(cases.run())) == (None, None)


def repeated(every: int) -> Any:
    """A run whose validation changes only every so many epochs."""
    held = np.arange(cases.EPOCHS) // every * every
    return cases.run(cases.smooth()[held], val=cases.falling(seed=2)[held])


@pytest.mark.parametrize(("every", "unchanged"), [(1, 0), (2, 50), (4, 75)])
def test_epochs_without_a_step_validate_the_same(every: int, unchanged: int):
    history = history_of(repeated(every))
    assert history is not None and unchanged_epochs(history) == unchanged


def test_a_metric_of_zero_and_losses_that_go_on_are_no_standstill():
    history = history_of(cases.run(np.zeros(cases.EPOCHS)))
    assert history is not None and unchanged_epochs(history) == 0


def test_validation_that_was_switched_off_is_no_standstill():
    history = history_of(cases.run(np.zeros(cases.EPOCHS), val=np.zeros(cases.EPOCHS)))
    assert history is not None and unchanged_epochs(history) == 0


def test_the_average_follows_closely_at_first_and_lags_in_long_runs():
    weights, age = 0.0, 0.0
    for step in range(1, 5001):
        decay = 0.9999 * (1 - np.exp(-step / 2000))
        age = decay * (age + 1)
        weights = decay * weights + (1 - decay) * step
    assert average_lag(5000) == pytest.approx(age)
    # A weight that grows by one a step is averaged to what it was `age` steps ago.
    assert weights == pytest.approx(5000 - age)
    assert average_lag(300) < 0.2
    assert average_lag(0) == 0.0
    assert average_lag(10**9) == pytest.approx(9999)
    assert average_lag(40_000) / 40_000 == pytest.approx(0.2256, abs=1e-4)
    assert average_lag(40_001) == pytest.approx(0.9999 * (average_lag(40_000) + 1), rel=1e-6)
