"""Simulated training curves, healthy and faulty, with a known truth: what the curve checks are measured on.

Ranges come from public runs (diagnostics.md A2): noise of mAP 0.3 to 4 % of its best, training loss falling by 0.8 to
23 % when mosaic is closed, a validation loss that ends up to 10 % above its minimum though mAP holds, and a gain at the
end that only the decay of the learning rate brings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from runaudit.runs.facts import Column, Configuration, Curves, RunFacts

Kind = Literal["healthy", "short", "overfitted", "diverged", "interrupted", "spiky"]


@dataclass(frozen=True)
class Simulated:
    """A run and the truth about it: `doubling_gain` is what a fresh schedule of twice the epochs would add."""

    run: RunFacts
    doubling_gain: float


@dataclass(frozen=True)
class Parameters:
    epochs: int
    ceiling: float
    amplitude: float
    scale: float
    exponent: float
    decay_bonus: float
    noise: float
    loss_noise: float
    mosaic_step: float
    val_rise: float
    yolov5: bool


def draw(generator: np.random.Generator) -> Parameters:
    """One healthy training, drawn from the ranges above; twice the epochs would add less than a point."""
    while True:
        ceiling = generator.uniform(0.3, 0.95)
        parameters = Parameters(
            epochs=int(generator.choice([50, 100, 150, 200, 300])),
            ceiling=ceiling,
            amplitude=ceiling * generator.uniform(0.5, 1.0),
            scale=generator.uniform(1.0, 10.0),
            exponent=generator.uniform(0.5, 2.0),
            decay_bonus=generator.uniform(0.0, 0.05) * ceiling,
            noise=float(np.exp(generator.uniform(np.log(0.003), np.log(0.04)))),
            loss_noise=generator.uniform(0.003, 0.02),
            mosaic_step=generator.uniform(0.008, 0.23),
            val_rise=generator.uniform(0.0, 0.10),
            yolov5=bool(generator.integers(2)),
        )
        if doubling_gain(parameters) < 0.01:
            return parameters


def doubling_gain(parameters: Parameters) -> float:
    """The decay bonus is the same in both schedules, so that only the power law's part is gained."""
    return float(_missing(parameters, parameters.epochs) - _missing(parameters, 2 * parameters.epochs))


def _missing(parameters: Parameters, epochs: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(parameters.amplitude * (1.0 + epochs / parameters.scale) ** -parameters.exponent)


def simulate(seed: int, kind: Kind = "healthy") -> Simulated:
    """The run of `seed`; the fault, if any, is planted into what would have been a healthy training."""
    generator = np.random.default_rng(seed)
    parameters = draw(generator)
    if kind == "short":
        parameters = replace(parameters, scale=0.7 * parameters.epochs, exponent=1.0, amplitude=parameters.ceiling)
    return Simulated(_run(parameters, generator, kind), doubling_gain(parameters))


def _run(parameters: Parameters, generator: np.random.Generator, kind: Kind) -> RunFacts:
    epochs = np.arange(1, parameters.epochs + 1, dtype=np.float64)
    progress = (epochs - 1.0) / parameters.epochs
    share = (1.0 - progress) * 0.99 + 0.01
    share[:3] *= np.asarray([1 / 3, 2 / 3, 1.0])
    innovations = generator.standard_normal(epochs.size)
    noise = innovations.copy()
    for index in range(1, epochs.size):
        noise[index] = 0.3 * noise[index - 1] + np.sqrt(1 - 0.09) * innovations[index]
    # Part of the noise comes from the learning rate and falls with it.
    spread = parameters.noise * parameters.ceiling * np.sqrt(0.3 + 0.7 * share)
    metric = parameters.ceiling - _missing(parameters, epochs) - parameters.decay_bonus * share + spread * noise
    train = 1.0 + 3.0 * (1.0 + epochs / parameters.scale) ** -parameters.exponent + 0.2 * share
    val = 1.1 + 3.0 * (1.0 + epochs / parameters.scale) ** -parameters.exponent + parameters.val_rise * progress**2
    if not parameters.yolov5:
        train[-10:] *= 1.0 - parameters.mosaic_step
    train *= np.exp(parameters.loss_noise * generator.standard_normal(epochs.size))
    val *= np.exp(parameters.loss_noise * generator.standard_normal(epochs.size))
    rate = 0.01
    status: Literal["finished", "interrupted"] = "finished"
    if kind == "overfitted":
        after = np.maximum(0.0, progress - 0.3)
        metric *= 1.0 - generator.uniform(0.15, 0.4) * after / 0.7
        train *= 1.0 - 0.4 * after
        val *= 1.0 + 0.6 * after
    if kind == "diverged":
        rate, since = 0.5, np.maximum(0.0, progress - generator.uniform(0.1, 0.6))
        metric *= np.exp(-40.0 * since)
        train *= np.exp(np.minimum(6.0, 40.0 * since))
    if kind == "spiky":
        where = generator.choice(np.arange(5, epochs.size - 15), size=6, replace=False)
        train[where] *= generator.uniform(1.5, 3.0, size=6)
    keep = epochs.size
    if kind == "interrupted":
        keep, status = int(epochs.size * generator.uniform(0.2, 0.8)), "interrupted"
    metric = np.clip(metric, 0.0, 1.0)
    return as_run(
        epochs[:keep],
        metric[:keep],
        {"box": 0.6 * train[:keep], "cls": 0.4 * train[:keep]},
        {"box": 0.6 * val[:keep], "cls": 0.4 * val[:keep]},
        rate * share[:keep],
        planned=parameters.epochs,
        status=status,
        arguments={"lr0": rate, "lrf": 0.01, "optimizer": "SGD", "warmup_epochs": 3.0, "batch": 16}
        | ({} if parameters.yolov5 else {"close_mosaic": 10}),
        framework="yolov5" if parameters.yolov5 else "ultralytics",
    )


def as_run(
    epochs: NDArray[np.float64],
    metric: NDArray[np.float64],
    train: dict[str, NDArray[np.float64]],
    val: dict[str, NDArray[np.float64]],
    rate: NDArray[np.float64],
    *,
    planned: int | None,
    status: Literal["finished", "early_stopped", "interrupted", "resumed", "inconsistent"] = "finished",
    arguments: dict[str, float | str | bool | None] | None = None,
    framework: Literal["yolov5", "ultralytics"] = "ultralytics",
) -> RunFacts:
    """Arrays of one value an epoch, as the facts that reading such a run would yield."""
    best = int(np.nanargmax(np.where(np.isfinite(metric), metric, -1.0)))
    curves = Curves(
        source="results.csv",
        lines=tuple(range(2, epochs.size + 2)),
        epochs=tuple(int(epoch) for epoch in epochs),
        train_losses={name: _column(values) for name, values in train.items()},
        val_losses={name: _column(values) for name, values in val.items()},
        metrics={
            "precision": _column(metric),
            "recall": _column(metric),
            "map50": _column(np.minimum(1.0, 1.4 * metric)),
            "map50_95": _column(metric),
        },
        learning_rates={"pg0": _column(rate), "pg1": _column(rate), "pg2": _column(rate)},
    )
    return RunFacts(
        folder="",
        framework=framework,
        task="detect",
        curves=curves,
        configuration=Configuration(sources=("args.yaml",), values=dict(arguments or {}), places={}),
        epochs_planned=planned,
        epochs_run=len(set(curves.epochs)),
        best_epoch=curves.epochs[best],
        best_row=best,
        status=status,
    )


def _column(values: NDArray[np.float64]) -> Column:
    return tuple(float(value) for value in values)
