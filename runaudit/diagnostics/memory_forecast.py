"""How much GPU memory a training would take at another batch or imgsz, from the peak that it was seen to take."""

from __future__ import annotations

from dataclasses import dataclass

from runaudit.diagnostics.box_sizes import input_size
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.history import number
from runaudit.diagnostics.optimizer_steps import batch_of
from runaudit.runs.facts import LogDevice, RunFacts

GIBIBYTE = 2.0**30
BYTES_A_PARAMETER = {"SGD": 16, "MuSGD": 16}
ADAPTIVE_BYTES = 20
"""Weight, gradient and moving average of four bytes each, and the optimizer's one (momentum) or two (Adam) values."""


@dataclass(frozen=True)
class Forecast:
    """The peak that was seen, GiB, at `batch` images of `size` pixels; of it `fixed` does not depend on either.

    What a network keeps for its backward pass grows as batch * size^2: for YOLOv8n, YOLO11n and YOLO26n from 1 to 8
    images of 160 to 640 pixels it was counted within 0.7 % of that (torch's saved tensors, on a CPU). AutoBatch of both
    frameworks fits a line in the batch for the same reason (utils/autobatch.py). The allocator's reserve is in the
    peak, so that a forecast from a run that filled its GPU is rather too high.
    """

    peak: float
    fixed: float
    batch: int
    size: float

    def at(self, batch: float, size: float) -> float:
        """GiB at `batch` images of `size` pixels."""
        return self.fixed + (self.peak - self.fixed) * (batch * size**2) / (self.batch * self.size**2)

    def largest_batch(self, memory: float) -> int | None:
        """The largest power of two that stays within `memory` GiB at the same size; None where one image doesn't."""
        batch = 1
        while batch <= 2**20 and self.at(2 * batch, self.size) <= memory:
            batch *= 2
        return batch if self.at(batch, self.size) <= memory else None


def forecast_of(evidence: Evidence) -> Forecast | None:
    """From the peak of the log; None where it shows no GPU memory, or batch or imgsz are not known.

    None also where the batch was halved, or memory ran out: which batch the peak belongs to is not known then.
    """
    log = evidence.run.log
    peak = log.peak_memory_gb if log is not None else None
    if log is None or peak is None or any(event.code in ("batch_reduced", "out_of_memory") for event in log.events):
        return None
    return _of_peak(evidence, peak)


def overflow_of(evidence: Evidence) -> Forecast | None:
    """From the memory of a GPU that ran out of it: the least that the batch that was asked for would have taken."""
    memory = memory_of(gpu_of(evidence))
    return _of_peak(evidence, memory) if memory is not None else None


def _of_peak(evidence: Evidence, peak: float) -> Forecast | None:
    run, batch, size = evidence.run, batch_of(evidence), input_size(evidence.run)
    if not 0 < peak < 1e4 or batch is None or size is None:
        return None
    log = run.log
    optimizer = log.optimizer.name if log is not None and log.optimizer is not None else None
    parameters = run.checkpoint.parameters if run.checkpoint is not None else 0
    fixed = parameters * BYTES_A_PARAMETER.get(optimizer or "SGD", ADAPTIVE_BYTES) / GIBIBYTE
    # A batch is shared by the devices, and the log shows the memory of the first.
    return Forecast(peak, min(fixed, peak), max(1, asked_batch(run, batch.size) // batch.devices), size[0])


def asked_batch(run: RunFacts, resolved: int) -> int:
    """The batch that was asked for, where it is a number, else the one it was resolved to."""
    asked = number(run.argument("batch") or run.argument("batch_size"), 0.0)
    return int(asked) if resolved <= asked <= 1e6 else resolved


def gpu_of(evidence: Evidence) -> LogDevice | None:
    """The GPU that the log, or the request's environment, names first."""
    devices = evidence.run.log.devices if evidence.run.log is not None else ()
    return next((device for device in devices if device.kind.upper().startswith("CUDA")), None)


def memory_of(device: LogDevice | None) -> float | None:
    """GiB of memory of a device; None where it isn't told."""
    if device is None or device.memory_mib is None or device.memory_mib <= 0:
        return None
    return device.memory_mib / 1024.0
