"""Remedies that more than one check proposes, each a config patch or code, with the caveat the research found."""

from __future__ import annotations

from runaudit.diagnostics.evidence import Remedy
from runaudit.diagnostics.schedule import DEFAULT_RATE, Schedule
from runaudit.diagnostics.wording import counted

COSINE_CODE = """\
optimizer = {optimizer}
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max={epochs}, eta_min={rate:g} * 0.01)
for epoch in range({epochs}):
    train_one_epoch(model, optimizer)
    scheduler.step()
"""

PLATEAU_CODE = """\
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.3, patience=5)
for epoch in range(epochs):
    train_one_epoch(model, optimizer)
    scheduler.step(validate(model)["map50_95"])
"""


def lower_learning_rate(rate: float, optimizer: str, *, automatic: bool, high: bool) -> Remedy:
    """A learning rate of `rate`; names the optimizer too, since optimizer=auto would ignore lr0. `high`: the rate in
    use is above the optimizer's usual one."""
    patch: dict[str, object] = {"lr0": rate}
    if automatic:
        patch["optimizer"] = optimizer
    return Remedy(
        title=f"Start from lr0={rate:g}",
        why="The rate is above what this optimizer trains stably with; a third to a tenth of it usually does."
        if high
        else "The rate is not high for this optimizer, but a third of it is the cheapest to try.",
        patch=patch,
        reference="https://docs.ultralytics.com/usage/cfg/#train-settings",
    )


def lower_rate(schedule: Schedule) -> Remedy:
    """A third of the rate in use, and no more than the usual one (diagnostics.md B6: a tenth to a third)."""
    return lower_learning_rate(
        proposed_rate(schedule),
        schedule.effective or "SGD",
        automatic=schedule.automatic,
        high=(schedule.times_usual or 0.0) > 1.0 + 1e-9,
    )


def proposed_rate(schedule: Schedule) -> float:
    usual = schedule.usual or DEFAULT_RATE
    return float(f"{min(usual, (schedule.peak or schedule.asked_rate or usual) * 0.3):.2g}")


def cosine_annealing(rate: float, epochs: int, optimizer: str | None = None) -> Remedy:
    """`optimizer` by the frameworks' name; SGD where it is not known, or torch has none of that name."""
    adaptive = optimizer in ("Adam", "AdamW", "Adamax", "NAdam", "RAdam")
    made = (
        f"torch.optim.{optimizer}(model.parameters(), lr={rate:g})"
        if adaptive
        else f"torch.optim.SGD(model.parameters(), lr={rate:g}, momentum=0.937, nesterov=True)"
    )
    return Remedy(
        title="Anneal the learning rate with a cosine",
        why="The rate then falls smoothly to a hundredth, and noise that comes from a high rate falls with it.",
        patch={"cos_lr": True, "lrf": 0.01},
        code=COSINE_CODE.format(optimizer=made, rate=rate, epochs=epochs),
        reference="https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.CosineAnnealingLR.html",
    )


def reduce_on_plateau() -> Remedy:
    return Remedy(
        title="Reduce the learning rate on a plateau",
        why="In a training loop of one's own; neither YOLO framework has this scheduler as a setting.",
        code=PLATEAU_CODE,
        reference="https://docs.pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.ReduceLROnPlateau.html",
    )


def longer_warmup(epochs: float) -> Remedy:
    return Remedy(
        title=f"Warm up for {counted(epochs, 'epoch')}",
        why="A rate that rises slowly lets batch norm and a new head settle before the first large steps.",
        patch={"warmup_epochs": epochs},
    )


def longer_schedule(epochs: int, patience: int | None = None) -> Remedy:
    """`patience` is to be given where early stopping would end the longer schedule as well."""
    patch: dict[str, object] = {"epochs": epochs, "resume": False}
    why = (
        "Start anew from the original weights. Resuming goes on at the final rate lr0*lrf, which changes "
        "next to nothing, and a longer schedule keeps the rate high for longer."
    )
    if patience is not None:
        patch["patience"] = patience
        why += " Without more patience early stopping would end it as it ended this one."
    return Remedy(f"Train again with a fresh schedule of {counted(epochs, 'epoch')}", why, patch)


def resume_interrupted(planned: int) -> Remedy:
    return Remedy(
        title="Resume the interrupted run",
        why=f"The schedule of {counted(planned, 'epoch')} is not over, so that the rate has not been annealed yet. "
        "last.pt still holds the optimizer's state if the process was killed.",
        patch={"resume": True},
    )
