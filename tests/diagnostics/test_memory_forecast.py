"""Forecasts of GPU memory from a log's peak: proportional in what scales, silent where the peak tells nothing."""

from __future__ import annotations

from typing import Any

import pytest

from runaudit.diagnostics.memory_forecast import Forecast, forecast_of, gpu_of, memory_of, overflow_of
from runaudit.runs.facts import LogDevice, LogFacts, LogOptimizer
from tests.diagnostics import cases


def logged(log: LogFacts | None, parameters: int = 0, **arguments: Any) -> Any:
    run = cases.run(arguments=arguments).model_copy(
        update={"log": log, "checkpoint": cases.checkpoint(parameters=parameters)}
    )
    return cases.curves_only(run)


def test_what_scales_grows_with_the_batch_and_the_square_of_the_size():
    forecast = Forecast(peak=5.0, fixed=1.0, batch=16, size=640)
    assert forecast.at(16, 640) == 5.0
    assert forecast.at(32, 640) == 9.0
    assert forecast.at(16, 1280) == 17.0
    assert forecast.at(16, 320) == 2.0


def test_the_largest_batch_is_a_power_of_two_within_the_memory():
    forecast = Forecast(peak=5.0, fixed=1.0, batch=16, size=640)
    assert forecast.largest_batch(9.0) == 32
    assert forecast.largest_batch(8.9) == 16
    assert forecast.largest_batch(1.2) is None
    assert Forecast(peak=1e-9, fixed=0.0, batch=1, size=32).largest_batch(1e9) == 2**21


def test_weights_gradients_and_optimizer_do_not_scale():
    log = cases.log(peak_memory_gb=4.0)
    forecast = forecast_of(logged(log, parameters=2**26))
    assert forecast is not None and forecast.fixed == pytest.approx(1.0)
    adam = LogOptimizer(name="AdamW", place="train.log:9")
    forecast = forecast_of(logged(cases.log(peak_memory_gb=4.0, optimizer=adam), parameters=2**26))
    assert forecast is not None and forecast.fixed == pytest.approx(1.25)


def test_a_batch_is_shared_by_the_devices():
    forecast = forecast_of(logged(cases.log(peak_memory_gb=4.0), batch=32, device="0,1"))
    assert forecast is not None and forecast.batch == 16


@pytest.mark.parametrize(
    ("log", "arguments"),
    [
        (None, {}),
        (cases.log(), {}),
        (cases.log(peak_memory_gb=4.0), {"batch": -1}),
        (cases.log(peak_memory_gb=4.0), {"imgsz": None}),
        (cases.log(("batch_reduced", "Reducing to batch=8"), peak_memory_gb=4.0, batch=8), {}),
        (cases.log(("out_of_memory", "CUDA out of memory"), peak_memory_gb=4.0), {}),
        (cases.log(peak_memory_gb=float("inf")), {}),
    ],
)
def test_no_forecast_where_the_peak_tells_nothing(log: LogFacts | None, arguments: dict[str, Any]):
    assert forecast_of(logged(log, **arguments)) is None


def test_what_was_asked_for_needed_more_than_there_was():
    log = cases.log(("batch_reduced", "Reducing to batch=8"), batch=8, memory_mib=8192)
    overflow = overflow_of(logged(log, batch=32))
    assert overflow is not None and (overflow.peak, overflow.batch) == (8.0, 32)
    assert overflow_of(logged(cases.log(memory_mib=None))) is None


def test_the_first_gpu_counts():
    both = (LogDevice(kind="CPU", name="CPU"), LogDevice(kind="CUDA:1", name="A100", memory_mib=40_960))
    evidence = logged(cases.log(devices=both))
    assert gpu_of(evidence) == both[1]
    assert memory_of(gpu_of(evidence)) == 40.0
    assert gpu_of(logged(None)) is None and memory_of(None) is None
    assert memory_of(LogDevice(kind="CUDA:0", name="x", memory_mib=0)) is None
