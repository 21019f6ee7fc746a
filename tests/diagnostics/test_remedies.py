"""Each remedy of causes.yaml appears where its cause is found, with the caveats that research found."""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runaudit.diagnostics import (
    annotation_errors,
    batch_size,
    class_imbalance,
    hardware_limits,
    insufficient_epochs,
    learning_rate,
    model_architecture,
    weight_initialization,
)
from runaudit.diagnostics.evidence import CheckResult, Remedy
from runaudit.diagnostics.review_remedies import CORRECTED_CODE, PICTURES_CODE
from tests.diagnostics import (
    cases,
    test_annotation_errors,
    test_batch_size,
    test_class_imbalance,
    test_distribution_shift,
    test_hardware_limits,
    test_insufficient_epochs,
    test_model_architecture,
    test_overfitting_gap,
    test_underfitting,
    test_weight_initialization,
)
from tests.diagnostics.comparisons import property_shift, shift

RARE_FAIL = (0.8, 0.72, 0.65, 0.55, 0.45, 0.35, 0.2)


def of(result: CheckResult) -> tuple[Remedy, ...]:
    assert result.finding is not None, result.reason
    return result.finding.remedies


def imbalance(**changes: object) -> tuple[Remedy, ...]:
    return of(class_imbalance.examine(test_class_imbalance.long_tail(RARE_FAIL, **changes)))


def drifted() -> tuple[Remedy, ...]:
    facts = shift(property_shift("brightness", 0.7), area=0.97)
    return of(test_distribution_shift.judged(facts))


def mislabelled(kind: str) -> tuple[Remedy, ...]:
    evidence = test_annotation_errors.seen(
        cases.label_quality(**{kind: 0.1}),
        test_annotation_errors.gained("suspects_corrected", 0.06),
        test_annotation_errors.gained("random_corrected", 0.01),
    )
    return of(annotation_errors.examine(evidence))


def diverged() -> tuple[Remedy, ...]:
    after = np.maximum(0, np.arange(100) - 50) / 100
    run = cases.run(
        cases.smooth() * np.exp(-30 * after),
        train=cases.falling() * np.exp(np.minimum(3, 30 * after)),
        rate=cases.linear_rate(lr0=0.5),
        arguments={"lr0": 0.5},
    )
    return of(learning_rate.examine(cases.curves_only(run)))


def out_of_memory() -> tuple[Remedy, ...]:
    log = cases.log(test_hardware_limits.OUT_OF_MEMORY)
    return of(test_hardware_limits.seen(test_hardware_limits.cut(), log))


def half_precision_lost() -> tuple[Remedy, ...]:
    return (hardware_limits.without_half_precision(cases.run()),)


def small_batch() -> tuple[Remedy, ...]:
    return of(batch_size.examine(test_batch_size.on(1000, batch=2, nbs=2, device="0,1")))


def large_batch() -> tuple[Remedy, ...]:
    return of(batch_size.examine(test_batch_size.on(2000, test_batch_size.rising(), batch=256)))


def small_objects() -> tuple[Remedy, ...]:
    return of(model_architecture.examine(test_model_architecture.sized([(24, 24), (300, 300)], longer=3840)))


def too_few_epochs() -> tuple[Remedy, ...]:
    run = cases.run(test_insufficient_epochs.logarithmic(60))
    return of(insufficient_epochs.examine(cases.curves_only(run)))


def not_transferred() -> tuple[Remedy, ...]:
    return of(weight_initialization.CHECK.examine(test_weight_initialization.healthy_with(initial_batch_norms=57)))


ASKED: dict[str, tuple[Callable[[], tuple[Remedy, ...]], tuple[str, ...]]] = {
    "class_imbalance": (
        imbalance,
        (
            "Sample images by repeat factors",
            "copy_paste",
            "mosaic",
            "BCEWithLogitsLoss(pos_weight=weights)",
            "sigmoid_focal_loss",
            "Collect more",
        ),
    ),
    "distribution_shift": (
        drifted,
        ("A.Compose(", "RandomBrightnessContrast", "hsv_v", "Split again, stratified by group", "curate validation"),
    ),
    "annotation_errors": (lambda: mislabelled("overlooked"), ("review queue", "ImageDraw", "labels_before")),
    "overfitting": (
        lambda: of(test_overfitting_gap.judged(0.3)),
        ("mixup", "weight_decay", "(L2)", "freeze", "smaller model", "patience", "more data"),
    ),
    "underfitting": (
        lambda: of(test_underfitting.judged(0.3)),
        ("deeper or wider model", "imgsz", "P2 head", "fresh schedule"),
    ),
    "learning_rate": (diverged, ("lr0", "cos_lr", "CosineAnnealingLR", "ReduceLROnPlateau", "warmup_epochs")),
    "batch_size, too small": (small_batch, ("Add up gradients", "SyncBatchNorm")),
    "batch_size, too large": (large_batch, ("Scale the learning rate", "epochs")),
    "model_architecture": (small_objects, ("imgsz", "P2 head", "tiles")),
    "insufficient_epochs": (too_few_epochs, ("fresh schedule", "epochs")),
    "hardware_limits": (out_of_memory, ("gradients added up", "accumulate", "imgsz", "of memory")),
    "hardware_limits, half precision": (half_precision_lost, ("bfloat16", '"amp": false')),
    "weight_initialization": (not_transferred, ("Start from pretrained weights", "pretrained")),
}
"""cause -> what finds it, and words or settings of the remedies that causes.yaml asks for"""


def written(remedies: tuple[Remedy, ...]) -> str:
    return "\n".join(
        f"{remedy.title}\n{remedy.why}\n{json.dumps(remedy.patch)}\n{remedy.code or ''}" for remedy in remedies
    )


@pytest.mark.parametrize("cause", ASKED)
def test_the_remedies_that_were_asked_for_appear(cause: str) -> None:
    find, wanted = ASKED[cause]
    said = written(find())
    assert [words for words in wanted if words not in said] == []


@pytest.mark.parametrize("cause", ASKED)
def test_the_code_of_a_remedy_is_python(cause: str) -> None:
    for remedy in ASKED[cause][0]():
        assert remedy.code is None or ast.parse(remedy.code)


def test_the_weights_of_the_loss_are_computed_from_the_counts() -> None:
    """Inverse to the effective number (1 - beta^n) / (1 - beta), with mean 1, of these very classes."""
    code = next(remedy.code for remedy in imbalance() if remedy.code and "BCEWithLogitsLoss" in remedy.code)
    said = [float(cell) for cell in code.split("tensor([")[1].split("])")[0].split(",")]
    inverse = (1 - 0.9999) / (1 - 0.9999 ** np.asarray(test_class_imbalance.LONG_TAIL, float))
    assert said == pytest.approx(inverse / inverse.mean(), abs=5e-4)


@pytest.mark.parametrize("where", ["without a label file", "rejected rows", "seen as overlooked"])
def test_focal_loss_is_never_said_while_labels_are_missing(where: str) -> None:
    if where == "seen as overlooked":
        evidence = test_class_imbalance.long_tail(RARE_FAIL)
        assert evidence.evaluation is not None
        quality = cases.label_quality(overlooked=0.1)
        evaluation = evidence.evaluation.model_copy(update={"label_quality": quality})
        said = written(of(class_imbalance.examine(replace(evidence, evaluation=evaluation))))
    else:
        tail = test_class_imbalance.LONG_TAIL
        lacking = {"missing_labels": 3} if where == "without a label file" else {"rejected": 3, "missing_labels": 3}
        said = written(imbalance(splits={"train": cases.split(tail, **lacking), "val": cases.split(tail)}))
    assert "ocal" not in said and "BCEWithLogitsLoss" in said
    assert "No focal loss meanwhile" in written(mislabelled("overlooked"))


def test_augmentation_is_aimed_at_the_property_that_drifted_and_at_no_other() -> None:
    def code(name: str) -> str:
        return written(of(test_distribution_shift.judged(shift(property_shift(name, 0.7), area=0.97))))

    assert "RandomBrightnessContrast" in code("brightness") and "HueSaturationValue" not in code("brightness")
    assert "HueSaturationValue" in code("saturation") and "RandomBrightnessContrast" not in code("saturation")
    assert '"hsv_s"' in code("saturation") and '"hsv_v"' not in code("saturation")


def test_dropout_is_no_remedy_of_detection() -> None:
    remedies = of(test_overfitting_gap.judged(0.3))
    assert all("dropout" not in remedy.patch for remedy in remedies)
    assert "ultralytics ignores it" in written(remedies)


def test_accumulation_is_said_not_to_help_batch_norm() -> None:
    assert "but not batch norm" in written(small_batch())
    usual = written(of(batch_size.examine(test_batch_size.on(1000, batch=2))))
    assert "Add up gradients" not in usual, "the frameworks add up to 64 images by themselves"


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def test_suspects_are_drawn_and_accepted_ones_corrected(tmp_path: Path) -> None:
    images, labels = tmp_path / "dataset/images/val", tmp_path / "dataset/labels/val"
    images.mkdir(parents=True)
    labels.mkdir(parents=True)
    Image.new("RGB", (100, 50)).save(images / "a.png")
    (labels / "a.txt").write_text("0 0.5 0.5 0.2 0.4\n1 0.15 0.5 0.1 0.2\n")
    kept = {"image": "images/val/a.png", "score": 0.9}
    suspects = [
        kept | {"kind": "swapped", "label": "cat", "box": [40, 15, 60, 35], "suggested": "dog",
                "suggested_box": [40, 15, 60, 35]},
        kept | {"kind": "overlooked", "label": None, "box": None, "suggested": "cat", "suggested_box": [70, 0, 90, 50]},
        kept | {"kind": "spurious", "label": "dog", "box": [10, 20, 20, 30], "suggested": None, "suggested_box": None},
    ]  # fmt: skip
    (tmp_path / "report.json").write_text(json.dumps({"validation": {"labels": {"suspects": suspects}}}))
    with inside(tmp_path):
        exec(PICTURES_CODE, {})
        exec(CORRECTED_CODE.replace("{0, 1, 5}", "{0, 1, 2}"), {})
    drawn = sorted(path.name for path in (tmp_path / "suspects").iterdir())
    assert drawn == ["000_swapped_0.90.png", "001_overlooked_0.90.png", "002_spurious_0.90.png"]
    assert Image.open(tmp_path / "suspects" / drawn[1]).getpixel((80, 49)) == (0, 255, 0)
    rows = (labels / "a.txt").read_text().splitlines()
    assert rows == ["1 0.500000 0.500000 0.200000 0.400000", "0 0.800000 0.500000 0.200000 1.000000"]
    assert (tmp_path / "dataset/labels_before/val/a.txt").read_text().startswith("0 0.5")
