"""What to do where the machine was the limit: smaller batches, less memory, other precision, other limits."""

from __future__ import annotations

from typing import Final

from runaudit.diagnostics.box_sizes import input_size
from runaudit.diagnostics.endings import Kind
from runaudit.diagnostics.evidence import Evidence, Remedy
from runaudit.diagnostics.memory_forecast import asked_batch, gpu_of, memory_of, overflow_of
from runaudit.diagnostics.optimizer_steps import batch_of
from runaudit.runs.facts import RunFacts

FILLED: Final = 0.8
"""Share of a GPU's memory that is planned with: YOLOv5's AutoBatch (diagnostics.md 0.2)."""

_ACCUMULATE_CODE = """\
accumulate = max(round(64 / batch_size), 1)  # gradients of 64 images a step, whatever fits at a time
for index, (images, targets) in enumerate(loader):
    loss = criterion(model(images), targets) / accumulate
    scaler.scale(loss).backward()
    if (index + 1) % accumulate == 0:
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
"""

_BFLOAT_CODE = """\
with torch.autocast("cuda", dtype=torch.bfloat16):  # range of float32; Ampere or newer
    loss = criterion(model(images), targets)
loss.backward()  # no GradScaler
"""

_NO_AMP_CODE = """\
amp = False  # in train.py, instead of: amp = check_amp(model)
"""


def smaller_batch(evidence: Evidence, batch: int | None = None) -> Remedy:
    """A batch that fits: `batch` if that is known to, else the largest that can, by what memory was exceeded."""
    run, used = evidence.run, batch_of(evidence)
    key = "batch" if run.framework == "ultralytics" else "batch_size"
    forecast, memory = overflow_of(evidence), memory_of(gpu_of(evidence))
    asked = asked_batch(run, used.size) if used is not None else None
    at_most = ""
    if batch is None and asked is not None:
        batch = max(1, asked // 2)
        if forecast is not None and memory is not None:
            devices = used.devices if used is not None else 1
            batch = max(1, min(batch, (forecast.largest_batch(FILLED * memory) or 1) * devices))
            at_most = f" Since {asked} needed more than {memory:.3g} GiB, a larger one can't fit."
    if batch is None:
        return Remedy(
            "Use a smaller batch, with gradients added up",
            "Both frameworks add them up to 64 images a step by themselves (nbs), so that training stays the same.",
            code=_ACCUMULATE_CODE,
        )
    return Remedy(
        f"Ask for a batch of {batch}, with gradients added up",
        "Both frameworks add them up to 64 images a step by themselves (nbs), so that training stays the same but for "
        f"batch norm.{at_most}",
        {key: batch},
        _ACCUMULATE_CODE,
    )


def without_half_precision(run: RunFacts) -> Remedy:
    """YOLOv5 and YOLOv9 have no argument for it: their train.py decides by a self-test."""
    asked = run.framework == "ultralytics"
    return Remedy(
        "Train without half precision, or in bfloat16",
        "Half precision overflows at 65504. bfloat16 doesn't, but GPUs before Ampere, the GTX 16xx among them, don't "
        "have it." + ("" if asked else " train.py has no option for it: the line below goes where it calls check_amp."),
        {"amp": False} if asked else {},
        _BFLOAT_CODE if asked else _NO_AMP_CODE,
        "https://github.com/ultralytics/ultralytics/issues/1148",
    )


def remedies_of_ending(evidence: Evidence, kind: Kind) -> tuple[Remedy, ...]:
    """What helps against what ended the run; resuming last, since the same would happen again."""
    resume = Remedy(
        "Resume the run once that is mended",
        "last.pt still holds the optimizer's state. Where memory was the limit, give the smaller batch with it.",
        {"resume": True},
    )
    reached = () if not evidence.run.epochs_run else (resume,)
    return (*_against(evidence, kind), *reached)


def _against(evidence: Evidence, kind: Kind) -> tuple[Remedy, ...]:
    if kind == "memory":
        return _against_memory(evidence)
    if kind == "main_memory":
        return (
            Remedy(
                "Use fewer data loaders and no cache in memory",
                "Each loader holds batches of its own; `cache: ram` holds all images, decoded.",
                {"workers": 2, "cache": False},
            ),
            smaller_batch(evidence),
        )
    if kind == "workers":
        return (
            Remedy(
                "Give the container more shared memory, or use fewer data loaders",
                "Docker has 64 MB of it by default: start it with --ipc=host or --shm-size=8g.",
                {"workers": 2},
            ),
        )
    if kind == "time":
        return (
            Remedy("Ask the scheduler for more time", "Or plan in hours: ultralytics fits its schedule to `time`."),
        )
    return ()


def _against_memory(evidence: Evidence) -> tuple[Remedy, ...]:
    remedies = [smaller_batch(evidence)]
    size = input_size(evidence.run)
    if size is not None and size[0] >= 128:
        smaller = 32 * int(size[0] * 0.75 // 32)
        remedies.append(
            Remedy(
                f"Train at imgsz={smaller}",
                f"Memory grows with the square of it: {(smaller / size[0]) ** 2:.0%} of what it is now. Small objects "
                "suffer; see model_architecture.",
                {"imgsz": smaller},
            )
        )
    if evidence.run.argument("amp") is False:
        remedies.append(
            Remedy("Train in half precision or bfloat16", "It halves the activations.", {"amp": True}, _BFLOAT_CODE)
        )
    overflow = overflow_of(evidence)
    if overflow is not None:
        needed = overflow.at(overflow.batch, overflow.size) / FILLED
        remedies.append(
            Remedy(
                f"Use a GPU with more than {needed:.3g} GiB of memory",
                f"So much is the least of which what was asked for fills {FILLED:.0%}.",
            )
        )
    return tuple(remedies)
