"""Faults planted in rendered data, seen by the healthy example's network: what the examination and the checks say."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from examples.shapes import render
from runaudit.diagnostics import (
    annotation_errors,
    data_leakage,
    distribution_shift,
    image_format,
    model_architecture,
    overfitting,
    underfitting,
)
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence
from runaudit.evaluation.alone import swept_sizes
from runaudit.evaluation.examination import NO_TRAINING_SPLIT, examine
from runaudit.evaluation.facts import ExaminationFacts
from runaudit.evaluation.reconcile import Depth
from runaudit.runs.dataset import read_dataset
from runaudit.runs.label_arrays import write_labels
from runaudit.runs.run import read_run
from tests.evaluation.jobs import EXAMPLES

IMAGES = 50
"""a split; the least that shift is told by"""


@dataclass(frozen=True)
class Examined:
    """An examination, and the evidence that the checks get."""

    facts: ExaminationFacts
    evidence: Evidence
    steps: list[tuple[str, int, int]]

    def asks(self, check: Check) -> CheckResult:
        return check.examine(self.evidence)


@pytest.fixture(scope="module")
def clean_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    # Training images of the example's own seed: the network knows them.
    render(folder, train=IMAGES, val=IMAGES)
    return folder


@pytest.fixture(scope="module")
def examined(clean_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Examined]:
    """Examine the healthy example on a copy of the data to which `plant` was done."""
    job = tmp_path_factory.mktemp("job")
    run = read_run(EXAMPLES / "runs" / "healthy", weights_out=job / "weights.safetensors")

    def examination(plant: Callable[[Path], None] | None = None, *, depth: Depth = "standard") -> Examined:
        data = tmp_path_factory.mktemp("planted")
        shutil.copytree(clean_data, data, dirs_exist_ok=True)
        if plant is not None:
            plant(data)
        dataset, index, labels = read_dataset(data, data / "data.yaml", own_machine=True)
        write_labels(data / "labels.safetensors", labels)
        steps: list[tuple[str, int, int]] = []
        facts = examine(
            run,
            weights=job / "weights.safetensors",
            index=index,
            labels=data / "labels.safetensors",
            depth=depth,
            device="cpu",
            replicates=200,
            on_progress=lambda *step: steps.append(step),
        )
        evidence = Evidence(
            run=run,
            dataset=dataset,
            evaluation=facts.evaluation,
            training=facts.training,
            interventions=facts.interventions,
            leakage=facts.leakage,
            shift=facts.shift,
            label_contrast=facts.label_contrast,
            absent=facts.absent,
        )
        return Examined(facts, evidence, steps)

    return examination


def of_split(data: Path, split: str) -> list[Path]:
    return sorted((data / "images" / split).glob("*.jpg"))


def altered(change: Callable[[np.ndarray], np.ndarray], *splits: str) -> Callable[[Path], None]:
    def plant(data: Path) -> None:
        for split in splits:
            for path in of_split(data, split):
                pixels = np.clip(change(cv2.imread(str(path)).astype(np.float64)), 0, 255)
                cv2.imwrite(str(path), pixels.astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])

    return plant


def leaked(data: Path, source: Path, target: Path, *, quality: int | None = None, mirrored: bool = False) -> None:
    """A training image takes the place of a validation image: its bytes, or encoded again."""
    rows = [line.split() for line in (data / "labels/train" / f"{source.stem}.txt").read_text().splitlines()]
    if quality is None:
        shutil.copy(source, target)
    else:
        pixels = cv2.imread(str(source))
        cv2.imwrite(str(target), pixels[:, ::-1] if mirrored else pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if mirrored:
        rows = [[cls, f"{1 - float(x):.6f}", *rest] for cls, x, *rest in rows]
    (data / "labels/val" / f"{target.stem}.txt").write_text("".join(" ".join(row) + "\n" for row in rows))


def test_a_random_split_is_clean(examined: Callable[..., Examined]) -> None:
    found = examined()
    training, leakage, shift = found.facts.training, found.facts.leakage, found.facts.shift
    assert training is not None
    assert leakage is not None
    assert shift is not None
    assert (training.split, training.images) == ("train", IMAGES)
    assert training.settings | {"bootstrap_seed": 0} == found.facts.evaluation.settings
    assert (leakage.exact, leakage.near, leakage.scene, leakage.repeated) == (0, 0, 0, 0)
    assert [one.kind for one in found.facts.label_contrast] == ["overlooked", "swapped", "misplaced"]
    for check in (
        annotation_errors.CHECK,
        data_leakage.CHECK,
        distribution_shift.CHECK,
        overfitting.CHECK,
        underfitting.CHECK,
    ):
        assert found.asks(check).outcome == "passed", check.cause
    steps = [(done, total) for stage, done, total in found.steps if stage == "validate"]
    assert {total for _, total in steps} == {2 * IMAGES}
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1] == (2 * IMAGES, 2 * IMAGES)


def test_dark_validation_images_are_a_shift_that_costs(examined: Callable[..., Examined]) -> None:
    found = examined(altered(lambda pixels: pixels * 0.2, "val"))
    result = found.asks(distribution_shift.CHECK)
    assert result.outcome == "failed"
    assert result.finding is not None
    assert "darker" in result.finding.title
    assert result.finding.impact.grade == "intervention"
    assert result.finding.impact.value is not None
    assert result.finding.impact.value > 0.02
    assert "hsv_v" in result.finding.remedies[1].patch
    assert "RandomBrightnessContrast" in str(result.finding.remedies[0].code)
    assert found.asks(data_leakage.CHECK).outcome == "passed"


def test_dark_images_in_both_splits_are_none(examined: Callable[..., Examined]) -> None:
    found = examined(altered(lambda pixels: pixels * 0.2, "train", "val"))
    assert found.asks(distribution_shift.CHECK).outcome == "passed"
    assert found.asks(overfitting.CHECK).outcome == "passed"
    assert found.asks(data_leakage.CHECK).outcome == "passed"


def test_copied_images_are_leaked(examined: Callable[..., Examined]) -> None:
    def plant(data: Path) -> None:
        pairs = list(zip(of_split(data, "train"), of_split(data, "val"), strict=True))
        for source, target in pairs[:4]:
            leaked(data, source, target)
        for source, target in pairs[4:8]:
            leaked(data, source, target, quality=60)
        for source, target in pairs[8:12]:
            leaked(data, source, target, quality=85, mirrored=True)

    found = examined(plant)
    leakage = found.facts.leakage
    assert leakage is not None
    assert (leakage.exact, leakage.near) == (4, 8)
    assert {(pair.image[-8:], pair.training_image[-8:], pair.mirrored) for pair in leakage.pairs} == {
        (f"{number:04}.jpg", f"{number:04}.jpg", number >= 8) for number in range(12)
    }
    result = found.asks(data_leakage.CHECK)
    assert result.finding is not None
    assert len(result.finding.affected_images) == 12
    without = next(one for one in found.facts.interventions if one.name == "without_leaked_images")
    assert without.images == IMAGES - 12
    assert without.before == pytest.approx(found.facts.evaluation.metrics.map50_95)
    assert without.ci95 is not None
    assert without.ci95[0] <= without.difference <= without.ci95[1]


def test_training_labels_that_are_left_out_are_found_by_validation_that_has_them(
    examined: Callable[..., Examined],
) -> None:
    def plant(data: Path) -> None:
        for path in sorted((data / "labels/train").glob("*.txt")):
            path.write_text("".join(f"{row}\n" for row in path.read_text().splitlines()[::2]))

    found = examined(plant)
    (overlooked,) = (one for one in found.facts.label_contrast if one.kind == "overlooked")
    assert overlooked.training > 0.3 > overlooked.validation
    assert {Path(name).parent.name for name in overlooked.images} == {"train"}
    result = found.asks(annotation_errors.CHECK)
    assert result.finding is not None and result.finding.severity == "major"
    assert "training images" in result.finding.title
    assert result.finding.affected_images[0] in overlooked.images


def test_a_validation_split_of_training_images_can_not_be_trusted(examined: Callable[..., Examined]) -> None:
    def plant(data: Path) -> None:
        for source, target in zip(of_split(data, "train"), of_split(data, "val"), strict=True):
            leaked(data, source, target)

    found = examined(plant)
    result = found.asks(data_leakage.CHECK)
    assert result.outcome == "failed"
    assert result.finding is not None
    assert (result.finding.severity, result.finding.impact.direction) == ("critical", "unjudgeable")
    assert found.asks(overfitting.CHECK).outcome == "inconclusive"


def test_without_a_training_split_nothing_is_compared(examined: Callable[..., Examined]) -> None:
    def plant(data: Path) -> None:
        shutil.rmtree(data / "images" / "train")
        text = (data / "data.yaml").read_text()
        (data / "data.yaml").write_text(text.replace("train: images/train\n", ""))

    found = examined(plant)
    assert found.facts.training is None
    assert found.facts.absent == {"training": NO_TRAINING_SPLIT}
    for check in (data_leakage.CHECK, distribution_shift.CHECK, underfitting.CHECK):
        assert (found.asks(check).outcome, found.asks(check).reason) == ("not_run", NO_TRAINING_SPLIT)


def test_without_a_training_split_validation_alone_is_still_changed(examined: Callable[..., Examined]) -> None:
    """Blank images are left out, and at depth deep other sizes and half precision are tried: none needs training."""

    def plant(data: Path) -> None:
        text = (data / "data.yaml").read_text()
        (data / "data.yaml").write_text(text.replace("train: images/train\n", ""))
        for number, path in enumerate(of_split(data, "val")[:20]):
            cv2.imwrite(str(path), np.full((120, 160, 3), 7 * number, dtype=np.uint8))

    found = examined(plant, depth="deep")
    assert found.facts.training is None
    done = {one.name: one for one in found.facts.interventions}
    assert done.keys() >= {"without_blank_images", "imgsz_128", "imgsz_192", "imgsz_256", "float32"}
    assert done["without_blank_images"].images == IMAGES - 20


def test_what_runs_out_of_memory_is_left_out_and_the_rest_goes_on(
    examined: Callable[..., Examined], monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("runaudit.evaluation.comparison.find_leakage", short_of_memory)
    monkeypatch.setattr("runaudit.evaluation.comparison.colour_change", short_of_memory)
    monkeypatch.setattr("runaudit.evaluation.label_review.class_blind", short_of_memory)
    found = examined(altered(lambda pixels: pixels * 0.2, "val"))
    assert found.facts.shift is not None and found.facts.leakage is None
    assert {one.name for one in found.facts.interventions} >= {"training_images", "images_like_training"}
    assert set(found.facts.absent) == {
        "leakage",
        "intervention class_agnostic",
        "intervention match_photometry",
        "intervention training_images_like_validation",
    }
    assert set(found.facts.absent.values()) == {"It ran out of memory."}
    answer = found.asks(data_leakage.CHECK)
    assert (answer.outcome, answer.reason) == ("not_run", "It ran out of memory.")
    shift = found.asks(distribution_shift.CHECK).finding
    assert shift is not None and "That ran out of memory." in shift.explanation


def test_frames_of_a_film_are_drawn_by_scene_and_the_interval_says_so(examined: Callable[..., Examined]) -> None:
    def film(data: Path) -> None:
        """Ten scenes of five frames each: the first one's picture and labels, with other noise."""
        noise = np.random.default_rng(0)
        paths = of_split(data, "val")
        for number, path in enumerate(paths):
            first = paths[number - number % 5]
            pixels = cv2.imread(str(first)) + noise.normal(0, 4, cv2.imread(str(first)).shape)
            if path != first:
                cv2.imwrite(str(path), np.clip(pixels, 0, 255).astype(np.uint8))
                shutil.copy(data / "labels/val" / f"{first.stem}.txt", data / "labels/val" / f"{path.stem}.txt")

    found = examined(film).facts.evaluation
    assert (found.images, found.groups) == (IMAGES, 10)
    assert found.settings["bootstrap_unit"] == "group" and found.settings["bootstrap_groups"] == 10
    clean = examined().facts.evaluation
    assert (clean.groups, clean.settings["bootstrap_unit"]) == (IMAGES, "image")
    width, clean_width = (ends["map50_95"][1] - ends["map50_95"][0] for ends in (found.ci95, clean.ci95))
    assert width > 1.5 * clean_width, "five times fewer units: sqrt(5) by expectation"


def test_images_of_one_colour_are_counted_and_left_out_to_see_what_they_cost(examined: Callable[..., Examined]):
    def blacken(data: Path) -> None:
        for number, path in enumerate(of_split(data, "val")[:20]):
            cv2.imwrite(str(path), np.full((120, 160, 3), 7 * number, dtype=np.uint8))

    found = examined(blacken)
    blank = found.facts.evaluation.blank
    assert blank is not None and (blank.images, blank.labelled) == (20, 20) and len(blank.files) == 20
    assert found.facts.training is not None and found.facts.training.blank is None
    without = next(change for change in found.facts.interventions if change.name == "without_blank_images")
    assert without.images == IMAGES - 20 and without.ci95 is not None and without.ci95[0] > 0.1
    result = found.asks(image_format.CHECK)
    assert result.finding is not None and result.finding.severity == "major"
    assert result.finding.impact.value == pytest.approx(without.difference)


def test_depth_deep_tries_other_sizes_of_the_input_and_standard_does_not(examined: Callable[..., Examined]) -> None:
    found = examined(depth="deep")
    swept = {one.name: one for one in found.facts.interventions if one.name.startswith("imgsz_")}
    assert set(swept) == {"imgsz_128", "imgsz_192", "imgsz_256"}, "three of 160"
    for one in swept.values():
        assert one.grade == "intervention" and one.images == IMAGES
        assert one.before == pytest.approx(found.facts.evaluation.metrics.map50_95)
        assert one.ci95 is not None and one.ci95[0] <= one.difference <= one.ci95[1]
    # It was trained at 160 pixels.
    assert swept["imgsz_128"].difference < 0
    assert found.asks(model_architecture.CHECK).outcome == "passed", "a little more at a larger size is no fault"
    assert not [one for one in examined().facts.interventions if one.name.startswith("imgsz_")]


@pytest.mark.parametrize(
    ("imgsz", "others"), [(640, (480, 800, 960)), (160, (128, 192, 256)), (32, (64,)), (64, (96,))]
)
def test_sizes_to_try_are_multiples_of_32_pixels(imgsz: int, others: tuple[int, ...]) -> None:
    assert swept_sizes(imgsz) == others
