"""Evidence for the tests: one healthy run with everything there, and the parts to spoil it with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulated_curves import as_run
from runaudit.diagnostics.evidence import Evidence
from runaudit.evaluation.detection_facts import (
    CalibrationErrorFacts,
    CalibrationFacts,
    ClassThreshold,
    ThresholdChoice,
    ThresholdFacts,
)
from runaudit.evaluation.facts import BoxMetrics, ClassMetrics, EvaluationFacts
from runaudit.evaluation.label_facts import BoxHabitFacts, LabelErrorRate, LabelQualityFacts
from runaudit.runs.box_census import box_census
from runaudit.runs.facts import (
    BoxCensus,
    CheckpointFacts,
    Curves,
    DatasetFacts,
    ImageCensus,
    ImageEntry,
    LogDevice,
    LogFacts,
    Note,
    RunFacts,
    SplitFacts,
    WeightFacts,
)
from runaudit.runs.label_arrays import LabelArrays
from tests.diagnostics.comparisons import change, leakage, shift

EPOCHS = 100
AUGMENTATION = {
    "hsv_h": 0.015,
    "hsv_s": 0.7,
    "hsv_v": 0.4,
    "translate": 0.1,
    "scale": 0.5,
    "fliplr": 0.5,
    "mosaic": 1.0,
}
ABSENT = {
    "curves": "The run holds no results.csv.",
    "checkpoint": "The run holds no checkpoint.",
    "dataset": "No data set was handed in.",
    "evaluation": "Validation needs a checkpoint and data.",
}


def smooth(epochs: int = EPOCHS, *, ceiling: float = 0.6, noise: float = 0.005, seed: int = 0) -> NDArray[np.float64]:
    """A mAP that rises fast and then stays."""
    axis = np.arange(1, epochs + 1)
    generator = np.random.default_rng(seed)
    return np.clip(ceiling * (1 - np.exp(-axis / 5)) + noise * generator.standard_normal(epochs), 0.0, 1.0)


def falling(epochs: int = EPOCHS, *, seed: int = 1) -> NDArray[np.float64]:
    """A loss that falls fast and then slowly."""
    axis = np.arange(1, epochs + 1)
    generator = np.random.default_rng(seed)
    return (0.5 + 1.5 / np.sqrt(axis)) * np.exp(0.01 * generator.standard_normal(epochs))


def linear_rate(epochs: int = EPOCHS, *, lr0: float = 0.01, planned: int | None = None) -> NDArray[np.float64]:
    """The framework's linear schedule with a warm-up of three epochs."""
    progress = np.arange(epochs) / (planned or epochs)
    rate = lr0 * ((1 - progress) * 0.99 + 0.01)
    rate[:3] *= np.asarray([1 / 3, 2 / 3, 1.0])[: rate[:3].size]
    return rate


def run(
    metric: NDArray[np.float64] | None = None,
    *,
    train: NDArray[np.float64] | None = None,
    val: NDArray[np.float64] | None = None,
    rate: NDArray[np.float64] | None = None,
    planned: int | None = None,
    status: Any = "finished",
    arguments: dict[str, Any] | None = None,
) -> RunFacts:
    metric = smooth() if metric is None else metric
    size = metric.size
    train = falling(size) if train is None else train
    val = falling(size, seed=2) if val is None else val
    return as_run(
        np.arange(1.0, size + 1),
        metric,
        {"box": 0.5 * train, "cls": 0.5 * train},
        {"box": 0.5 * val, "cls": 0.5 * val},
        linear_rate(size, planned=planned) if rate is None else rate,
        planned=planned or size,
        status=status,
        arguments={"optimizer": "SGD", "lr0": 0.01, "lrf": 0.01, "warmup_epochs": 3.0, "close_mosaic": 10, "batch": 16}
        | {"model": "yolov8n.pt", "pretrained": True, "imgsz": 640}
        | AUGMENTATION
        | (arguments or {}),
    )


def weight_health(**changes: Any) -> WeightFacts:
    """A trained network of 57 batch-norm layers, in which a new head of six layers moved little."""
    facts: dict[str, Any] = {
        "batch_norms": 57,
        "channels": 5200,
        "dead_channels": 1,
        "untouched_batch_norms": 0,
        "initial_batch_norms": 6,
    }
    return WeightFacts(**(facts | changes))


def census(images: int, **changes: Any) -> ImageCensus:
    """Colour JPEGs of 8 bits, all whole and upright."""
    facts: dict[str, Any] = {
        "images": images,
        "formats": {"JPEG": images},
        "channels": {"colour": images},
        "bits": {8: images},
        "orientations": {1: images},
    }
    return ImageCensus(**(facts | changes))


def checkpoint(**changes: Any) -> CheckpointFacts:
    facts: dict[str, Any] = {
        "source": "weights/best.pt",
        "sha256": "0" * 64,
        "size": 1000,
        "framework": "ultralytics",
        "version": "8.4.190",
        "names": {0: "class0", 1: "class1"},
        "epoch": -1,
        "tensors": 10,
        "parameters": 1000,
        "weight_health": weight_health(),
        "weights": "weights.safetensors",
    }
    return CheckpointFacts(**(facts | changes))


def boxes(
    sides: Sequence[tuple[float, float]] = ((64.0, 48.0), (120.0, 160.0)),
    *,
    repeat: int = 100,
    longer: int = 640,
    crowd: Sequence[int] = (),
) -> BoxCensus:
    """The census of `repeat` boxes of each of `sides`, pixels of square images of `longer` pixels, one an image; and of
    images that hold `crowd` boxes of the first."""
    each = [*sides] * repeat
    crowded = [index for index, count in enumerate(crowd) for _ in range(count)]
    wide = np.asarray([*each, *(list(sides[:1]) * len(crowded))], np.float64).reshape(-1, 2)
    box = np.hstack([np.full((len(wide), 2), 0.5), wide / longer])
    image = np.asarray([*range(len(crowd), len(crowd) + len(each)), *crowded], np.int32)
    images = [ImageEntry(file="x.jpg", split="val", width=longer, height=longer)] * (len(crowd) + len(each))
    return box_census(LabelArrays(image, np.zeros(len(box), np.int32), box), images)


def split(instances: tuple[int, ...], *, images: int | None = None, **changes: Any) -> SplitFacts:
    """A split in which every instance lies on an image of its own."""
    total = sum(instances)
    facts: dict[str, Any] = {
        "source": "images/train",
        "images": images or total,
        "labelled": total,
        "background": 0,
        "missing_labels": 0,
        "rejected": 0,
        "instances": total,
        "class_instances": instances,
        "class_images": instances,
        "label_ids": {index: count for index, count in enumerate(instances) if count},
        "image_census": census(images or total),
        "box_census": boxes(),
    }
    return SplitFacts(**(facts | changes))


def dataset(train: tuple[int, ...] = (500, 400), val: tuple[int, ...] = (250, 200), **changes: Any) -> DatasetFacts:
    names = changes.pop("names", {index: f"class{index}" for index in range(len(train))})
    splits = changes.pop("splits", {"train": split(train), "val": split(val, source="images/val")})
    return DatasetFacts(source="data.yaml", names=names, splits=splits, **changes)


def error_rate(kind: Any, rate: float = 0.002, *, half_width: float = 0.006, **changes: Any) -> LabelErrorRate:
    facts: dict[str, Any] = {
        "kind": kind,
        "rate": rate,
        "ci95": (max(0.0, rate - half_width), rate + half_width),
        "n": 400,
        "candidates": round(400 * rate),
    }
    return LabelErrorRate(**(facts | changes))


def box_habit(
    width: float = 1.0, height: float = 1.0, *, right: float = 0.0, class_id: int | None = None
) -> BoxHabitFacts:
    """Known to 0.01 each way."""
    return BoxHabitFacts(
        class_id=class_id,
        boxes=400,
        width=width,
        width_ci95=(width - 0.01, width + 0.01),
        height=height,
        height_ci95=(height - 0.01, height + 0.01),
        right=right,
        right_ci95=(right - 0.01, right + 0.01),
        down=0.0,
        down_ci95=(-0.01, 0.01),
    )


def label_quality(**rates: float) -> LabelQualityFacts:
    """Of labels that are right but for these rates."""
    kinds = ("overlooked", "spurious", "swapped", "misplaced", "duplicated")
    return LabelQualityFacts(
        rates=tuple(error_rate(kind, rates.get(kind, 0.002)) for kind in kinds), habits=(box_habit(),)
    )


def thresholds(
    lost: float = 0.02, *, half_width: float = 0.01, best: float = 0.35, class_gain: float = 0.0, **changes: Any
) -> ThresholdFacts:
    """One threshold for two classes of 300 instances each; the second class alone loses what there is to lose."""
    choice = ThresholdChoice(
        threshold=best,
        threshold_ci95=(best - 0.02, best + 0.02),
        f1=0.75,
        f1_ci95=(0.72, 0.78),
        f1_default=0.75 - lost,
        lost=lost,
        lost_ci95=(lost - half_width, lost + half_width),
    )
    unhurt = choice.model_copy(update={"f1_default": 0.75, "lost": 0.0, "lost_ci95": (-half_width, half_width)})
    facts: dict[str, Any] = {
        "default": 0.25,
        "overall": choice,
        "per_class": (
            ClassThreshold(class_id=0, instances=300, choice=unhurt),
            ClassThreshold(class_id=1, instances=300, choice=choice),
        ),
        "cross_fitted": 0.745,
        "cross_fitted_by_class": 0.745 + class_gain,
        "cross_fitted_default": 0.745 - lost,
    }
    return ThresholdFacts(**(facts | changes))


def calibration(corrected: float = 0.1, *, half_width: float = 0.02, by_chance: float = 0.02) -> CalibrationFacts:
    """Underconfident by `corrected`."""
    error = CalibrationErrorFacts(
        bins=10,
        error=corrected + by_chance / 2,
        by_chance=by_chance,
        chance95=2 * by_chance,
        corrected=corrected,
        ci95=(max(0.0, corrected - half_width), corrected + half_width),
        detections=900,
    )
    return CalibrationFacts(
        confidence=0.25, iou=0.5, overconfidence=-corrected, d_ece=error, la_ece=error, reliability=()
    )


def evaluation(
    map50_95: float = 0.6,
    *,
    half_width: float = 0.02,
    instances: tuple[int, ...] = (300, 300),
    class_map: tuple[float, ...] | None = None,
    class_half_width: float = 0.02,
    **changes: Any,
) -> EvaluationFacts:
    values = class_map or (map50_95,) * len(instances)
    facts: dict[str, Any] = {
        "split": "val",
        "images": sum(instances),
        "instances": sum(instances),
        "metrics": BoxMetrics(map50=min(1.0, 1.4 * map50_95), map50_95=map50_95, precision=0.8, recall=0.7, f1=0.75),
        "ci95": {
            "map50": (max(0.0, 1.4 * map50_95 - half_width), min(1.0, 1.4 * map50_95 + half_width)),
            "map50_95": (max(0.0, map50_95 - half_width), min(1.0, map50_95 + half_width)),
        },
        "replicates": 1000,
        "confidence_threshold": 0.4,
        "per_class": tuple(
            ClassMetrics(
                class_id=index,
                name=f"class{index}",
                images=count,
                instances=count,
                map50_95=value if count else None,
                map50_95_ci95=(value - class_half_width, value + class_half_width) if count else None,
            )
            for index, (count, value) in enumerate(zip(instances, values, strict=True))
        ),
        "settings": {"imgsz": 640},
        "device": "cpu",
        "seconds": {"validate": 1.0},
        "label_quality": label_quality(),
        "thresholds": thresholds(),
        "calibration": calibration(),
    }
    return EvaluationFacts(**(facts | changes))


def log(*events: tuple[str, str], gpu: str = "Tesla T4", memory_mib: int | None = 15102, **changes: Any) -> LogFacts:
    """A console log of a training on a GPU, with these events (code and what the log says) one a line from 20 on."""
    facts: dict[str, Any] = {
        "sources": ("train.log",),
        "devices": (LogDevice(kind="CUDA:0", name=gpu, memory_mib=memory_mib),),
        "amp": "passed",
        "places": {"devices": "train.log:1", "batch": "train.log:8"},
        "events": tuple(
            Note(code=code, detail=f"The log says: {said}", place=f"train.log:{line}")
            for line, (code, said) in enumerate(events, start=20)
        ),
    }
    return LogFacts(**(facts | changes))


def healthy() -> Evidence:
    """A run in which no check finds anything."""
    facts = run().model_copy(update={"log": log(peak_memory_gb=4.0)})
    reported = best_metric(facts)
    trained = reported + 0.02
    return Evidence(
        facts.model_copy(update={"checkpoint": checkpoint()}),
        dataset=dataset(),
        evaluation=evaluation(reported),
        training=evaluation(trained, split="train"),
        interventions=(change("training_images", reported, trained, 0.02, grade="observational"),),
        leakage=leakage(),
        shift=shift(),
    )


def best_metric(facts: RunFacts) -> float:
    assert facts.curves is not None and facts.best_row is not None
    value = facts.curves.metrics["map50_95"][facts.best_row]
    assert value is not None
    return value


def curves_only(facts: RunFacts) -> Evidence:
    """What depth `curves` sees."""
    return Evidence(facts, absent={part: why for part, why in ABSENT.items() if part != "curves"})


def without_everything() -> Evidence:
    """A run of which only its configuration could be read."""
    return Evidence(run().model_copy(update={"curves": None, "best_row": None}), absent=dict(ABSENT))


def spoil(facts: RunFacts, group: str, name: str, cells: dict[int, float | None]) -> RunFacts:
    """The run with single cells of one column replaced."""
    assert facts.curves is not None
    columns = dict(getattr(facts.curves, group))
    column = list(columns[name])
    for row, value in cells.items():
        column[row] = value
    columns[name] = tuple(column)
    return facts.model_copy(update={"curves": facts.curves.model_copy(update={group: columns})})


def with_curves(facts: RunFacts, **changes: Any) -> RunFacts:
    assert facts.curves is not None
    curves: Curves = facts.curves.model_copy(update=changes)
    return facts.model_copy(update={"curves": curves})


def with_checkpoint(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, run=evidence.run.model_copy(update={"checkpoint": checkpoint(**changes)}))
