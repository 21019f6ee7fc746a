"""A whole re-validation on small networks that no one trained: what it says, leaves out and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runaudit.errors import CheckpointError, DatasetError, InputError
from runaudit.evaluation.evaluate import Measured, evaluate_checkpoint, measure
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.image_size import image_size
from tests.evaluation.jobs import (
    Picture,
    checkpoint_of,
    narrow_description,
    network_with_random_weights,
    run_of,
    write_data,
    write_weights,
)

SIZES = ((90, 60), (60, 90), (64, 64), (120, 40), (33, 77))


def pictures(root: Path, count: int = 20) -> list[Picture]:
    """Noise of several sizes, each with a few labels; every fourth has none."""
    rng = np.random.default_rng(count)
    found = []
    for number in range(count):
        width, height = SIZES[number % len(SIZES)]
        pixels = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(root / f"{number:02}.png")
        rows = [
            (int(rng.integers(0, 4)), 0.5, 0.5, 0.5, 0.6),
            (0, 0.3, 0.3, 0.2, 0.3),
        ]
        found.append(Picture(f"{number:02}.png", rows if number % 4 else []))
    return found


def validate(root: Path, found: list[Picture], *, arguments: dict[str, Any] | None = None, **options: Any) -> Measured:
    """`measure` on a network with random weights."""
    classes = options.pop("classes", 4)
    description = narrow_description() | {"nc": classes}
    weights = write_weights(network_with_random_weights(description), root / "weights.safetensors")
    index, labels = write_data(root, found)
    run = run_of(checkpoint_of(description), **({"imgsz": 64} if arguments is None else arguments))
    return measure(run, weights=weights, index=index, labels=labels, device="cpu", replicates=50, **options)


def test_facts_and_matches_agree(tmp_path: Path) -> None:
    found = pictures(tmp_path)
    steps: list[tuple[str, int, int]] = []
    measured = validate(tmp_path, found, on_progress=lambda *step: steps.append(step))
    facts, matches = measured.facts, measured.matches
    assert (facts.split, facts.images, facts.instances) == ("val", 20, 30)
    assert sum(entry.instances for entry in facts.per_class) == 30
    assert sorted(matches.image.tolist()) == list(range(20))
    assert len(matches.gt_cls) == 30
    assert steps == [("load_model", 0, 0), ("validate", 0, 20), ("validate", 16, 20), ("validate", 20, 20)]
    assert facts.device == "cpu"
    assert set(facts.seconds) >= {"load_model", "decode", "inference", "suppress", "match", "metrics", "bootstrap"}
    assert EvaluationFacts.model_validate_json(facts.model_dump_json()) == facts


def test_labels_are_in_pixels_of_the_image(tmp_path: Path) -> None:
    measured = validate(tmp_path, pictures(tmp_path))
    matches = measured.matches
    for number in range(20):
        width, height = SIZES[int(matches.image[number]) % len(SIZES)]
        boxes = matches.gt_box[matches.gt_image == number]
        assert (boxes[:, 2:] <= (width + 1e-3, height + 1e-3)).all()
        if len(boxes):
            assert boxes[0] == pytest.approx([width * 0.25, height * 0.2, width * 0.75, height * 0.8], abs=1e-3)


def test_the_same_again_gives_the_same(tmp_path: Path) -> None:
    found = pictures(tmp_path)
    first, again = validate(tmp_path, found).facts, validate(tmp_path, found).facts
    assert first.model_copy(update={"seconds": {}}) == again.model_copy(update={"seconds": {}})


def test_settings_are_all_stated(tmp_path: Path) -> None:
    settings = validate(tmp_path, pictures(tmp_path)).facts.settings
    json.dumps(settings, allow_nan=False)
    expected = {
        "imgsz": 64,
        "batch": 16,
        "rect": True,
        "pad": 0.5,
        "conf": 0.001,
        "iou": 0.7,
        "max_det": 300,
        "half": False,
        "augment": False,
        "single_cls": False,
        "nms_time_limit": None,
        "head": "single",
    }
    assert {key: settings[key] for key in expected} == expected
    assert "8.4" in str(settings["framework_version"])


def test_the_limit_of_detections_follows_the_fullest_image(tmp_path: Path) -> None:
    found = pictures(tmp_path, 3)
    found[1] = Picture(found[1].file, [(0, 0.5, 0.5, 0.1 + number / 1000, 0.2) for number in range(301)])
    settings = validate(tmp_path, found).facts.settings
    assert (settings["max_det"], settings["max_det_raised"]) == (301, True)


def test_single_cls(tmp_path: Path) -> None:
    measured = validate(tmp_path, pictures(tmp_path), arguments={"imgsz": 64, "single_cls": True}, classes=1)
    assert set(measured.matches.gt_cls.tolist()) == {0}
    assert set(measured.matches.det_cls.tolist()) <= {0}
    assert measured.facts.settings["agnostic_nms"] is True
    assert [entry.instances for entry in measured.facts.per_class] == [30]


def test_unreadable_images_are_left_out_with_their_labels(tmp_path: Path) -> None:
    found = pictures(tmp_path)
    found[1] = Picture(found[1].file, found[1].rows, size=SIZES[1])
    (tmp_path / found[1].file).write_bytes(b"damaged")
    facts = validate(tmp_path, found).facts
    assert (facts.images, facts.instances) == (19, 28)
    assert [note.place for note in facts.skipped] == [found[1].file]


@pytest.mark.parametrize("readable", [False, True])
def test_no_labelled_images(tmp_path: Path, readable: bool) -> None:
    """None at all, or none that can be read."""
    found = pictures(tmp_path, 3)
    if readable:
        found = [Picture(picture.file) for picture in found]
    else:
        found = [Picture(picture.file, picture.rows, size=(64, 64)) for picture in found]
        for picture in found:
            (tmp_path / picture.file).write_bytes(b"damaged")
    with pytest.raises(DatasetError) as raised:
        validate(tmp_path, found)
    assert raised.value.error_code == "no_labelled_validation_images"


def test_a_class_without_labels_has_no_metrics(tmp_path: Path) -> None:
    facts = validate(tmp_path, pictures(tmp_path), classes=9).facts
    absent = facts.per_class[8]
    assert (absent.instances, absent.map50_95, absent.map50_95_ci95) == (0, None, None)
    present = facts.per_class[0]
    assert present.map50_95 is not None
    assert present.map50_95_ci95 is not None
    assert present.name == "kind 0"


def test_a_network_of_nothing_but_nan_scores_zero(tmp_path: Path) -> None:
    """A diverged run: no detections, mAP 0, and still an answer."""
    network = network_with_random_weights(narrow_description())
    for parameter in network.parameters():
        parameter.data.fill_(float("nan"))
    weights = write_weights(network, tmp_path / "weights.safetensors")
    index, labels = write_data(tmp_path, pictures(tmp_path))
    run = run_of(checkpoint_of(narrow_description()), imgsz=64)
    facts = evaluate_checkpoint(run, weights=weights, index=index, labels=labels, device="cpu", replicates=20)
    assert (facts.metrics.map50, facts.metrics.map50_95) == (0.0, 0.0)
    low, high = facts.ci95["map50_95"]
    assert low == 0.0 < high < 0.25, "nothing found on a few images is not known to find nothing anywhere"


def test_a_run_without_checkpoint(tmp_path: Path) -> None:
    index, labels = write_data(tmp_path, [Picture("a.png", [(0, 0.5, 0.5, 0.1, 0.1)], size=(10, 10))])
    with pytest.raises(CheckpointError):
        measure(run_of(None), weights=tmp_path / "none", index=index, labels=labels, device="cpu")


@pytest.mark.parametrize(("written", "used"), [(640, 640), (650, 672), ([320, 480], 480), (None, 640)])
def test_image_size(written: Any, used: int) -> None:
    assert image_size(run_of(None, imgsz=written)) == used


def test_image_size_of_yolov5_up_to_5() -> None:
    """It wrote the sizes of training and of validation."""
    assert image_size(run_of(None, img_size=[640, 960])) == 960
    assert image_size(run_of(None, img_size=416)) == 416


@pytest.mark.parametrize(
    ("written", "used"), [("160", 160), (" 640 ", 640), ("[640, 480]", 640), ("(320, 64)", 320), ("[100]", 128)]
)
def test_sizes_in_quotes_are_read_as_the_framework_reads_them(written: str, used: int) -> None:
    assert image_size(run_of(None, imgsz=written)) == used


@pytest.mark.parametrize(
    "written", ["640px", "", "-1", "6e2", "0", "[640", 0, -32, 100_000, 64.5, True, [], [640, "x"], {}]
)
def test_image_sizes_that_are_none(written: Any) -> None:
    with pytest.raises(InputError) as raised:
        image_size(run_of(None, imgsz=written))
    assert raised.value.error_code == "imgsz_invalid"
    assert raised.value.place == "args.yaml:1"
