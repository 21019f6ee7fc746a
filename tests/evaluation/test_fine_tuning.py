"""Fine-tuning: images and labels are shown as the framework shows them, and a network learns from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from examples.shapes import render
from runaudit.evaluation.fine_tuning import GAINS, Material, Recipe, _batches, _steps, fine_tuned, material
from runaudit.evaluation.labels import labelled_images
from runaudit.evaluation.network import trainable
from runaudit.evaluation.pixel_change import PixelChange
from runaudit.evaluation.protocol import ULTRALYTICS
from runaudit.runs.checkpoint import read_checkpoint
from runaudit.runs.dataset import read_dataset
from runaudit.runs.facts import CheckpointFacts
from runaudit.runs.label_arrays import write_labels
from tests.evaluation.jobs import (
    EXAMPLES,
    Picture,
    checkpoint_of,
    narrow_description,
    network_with_random_weights,
    write_data,
    write_weights,
)

IMGSZ = 96
RECIPE = Recipe(epochs=2, batch=4, rate=0.002, seed=0, gains=GAINS)
CPU = torch.device("cpu")


def white_box(root: Path, name: str, size: tuple[int, int], box: tuple[int, int, int, int]) -> Picture:
    """A black image of (width, height) with a white rectangle (x1, y1, x2, y2), which is its label."""
    width, height = size
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    x1, y1, x2, y2 = box
    pixels[y1:y2, x1:x2] = 255
    cv2.imwrite(str(root / name), pixels)
    row = (1, (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height)
    return Picture(name, [row], split="train")


def shown(root: Path, pictures: list[Picture], **options: object) -> Material:
    index, labels = write_data(root, pictures)
    labelled = labelled_images(index, labels, "train", classes=4, single_cls=False)
    return material(labelled, root, imgsz=IMGSZ, channels=3, protocol=ULTRALYTICS, **options)  # type: ignore[arg-type]


def seen(pixels: NDArray[np.uint8]) -> tuple[float, ...]:
    """Centre and size, as shares of the square, of what is brighter than the grey of the margins."""
    rows, columns = np.nonzero(pixels[..., 0] > 180)
    x1, x2, y1, y2 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
    return tuple(value / IMGSZ for value in ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1))


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    return [
        white_box(tmp_path, "a.png", (192, 96), (20, 10, 100, 60)),
        white_box(tmp_path, "b.png", (96, 192), (10, 20, 60, 100)),
        white_box(tmp_path, "c.png", (48, 48), (6, 6, 40, 20)),
    ]


def test_labels_lie_where_the_objects_are_shown(tmp_path: Path, pictures: list[Picture]) -> None:
    found = shown(tmp_path, pictures)
    assert found.images == 3
    assert found.cls.tolist() == [1, 1, 1]
    for image in range(3):
        assert found.box[found.start[image]] == pytest.approx(seen(found.versions[0][image]), abs=1.5 / IMGSZ)


def test_a_mirrored_image_has_mirrored_labels(tmp_path: Path, pictures: list[Picture]) -> None:
    found = shown(tmp_path, pictures)
    (batch,) = list(_batches(found, replace(RECIPE, epochs=1, mirrored=1.0)))
    for label, image in enumerate(batch["batch_idx"].astype(int)):
        assert batch["bboxes"][label] == pytest.approx(seen(batch["img"][image]), abs=1.5 / IMGSZ)
    (plain,) = list(_batches(found, replace(RECIPE, epochs=1)))
    assert sorted(batch["bboxes"][:, 0]) == pytest.approx(sorted(1 - plain["bboxes"][:, 0]), abs=1e-6)
    assert found.box[0, 0] == pytest.approx(60 / 192, abs=1e-6), "the material itself stays"


def test_each_image_is_shown_once_an_epoch_or_as_often_as_it_is_drawn(tmp_path: Path, pictures: list[Picture]) -> None:
    found = shown(tmp_path, pictures)
    for batch in _batches(found, replace(RECIPE, epochs=5)):
        assert sorted(batch["bboxes"][:, 0].tolist()) == sorted(found.box[:, 0].tolist())
    drawn = np.array([0.0, 1.0, 0.0])
    for batch in _batches(found, replace(RECIPE, epochs=2, drawn=drawn)):
        assert (batch["img"] == found.versions[0][1]).all()


def test_an_epoch_draws_one_version_of_each_image(tmp_path: Path, pictures: list[Picture]) -> None:
    dark = PixelChange(tones=tuple(level // 2 for level in range(256)))
    found = shown(tmp_path, pictures, changes=(None, dark))
    batches = list(_batches(found, replace(RECIPE, epochs=40)))
    brightest = np.concatenate([batch["img"].max(axis=(1, 2, 3)) for batch in batches])
    # A dark image's brightest pixel is the object's, or the margin's.
    assert set(brightest.tolist()) == {255, 127}
    assert 0.35 < (brightest == 255).mean() < 0.65


def test_what_can_t_be_decoded_is_left_out_with_its_labels(tmp_path: Path, pictures: list[Picture]) -> None:
    whole = (tmp_path / "b.png").read_bytes()
    index, labels = write_data(tmp_path, pictures)
    (tmp_path / "b.png").write_bytes(whole[:60])
    labelled = labelled_images(index, labels, "train", classes=4, single_cls=False)
    found = material(labelled, tmp_path, imgsz=IMGSZ, channels=3, protocol=ULTRALYTICS)
    assert found.images == 2
    assert len(found.versions[0]) == len(found.box) == 2
    assert found.box[1] == pytest.approx(seen(found.versions[0][1]), abs=1.5 / IMGSZ)


@pytest.fixture(scope="module")
def lesson(tmp_path_factory: pytest.TempPathFactory) -> Material:
    root = tmp_path_factory.mktemp("lesson")
    render(root, train=12, val=1)
    _, index, arrays = read_dataset(root, root / "data.yaml", own_machine=True)
    write_labels(root / "labels.safetensors", arrays)
    labelled = labelled_images(index, root / "labels.safetensors", "train", classes=4, single_cls=False)
    return material(labelled, root, imgsz=160, channels=3, protocol=ULTRALYTICS)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> tuple[CheckpointFacts, Path]:
    weights = tmp_path_factory.mktemp("healthy") / "weights.safetensors"
    best = EXAMPLES / "runs" / "healthy" / "weights" / "best.pt"
    return read_checkpoint(best, source="weights/best.pt", weights_out=weights), weights


def weights_of(checkpoint: CheckpointFacts, weights: Path, shown: Material, recipe: Recipe) -> dict[str, torch.Tensor]:
    return dict(fine_tuned(checkpoint, weights, CPU, shown, recipe).module.state_dict())


def test_the_same_seed_trains_the_same_network(healthy: tuple[CheckpointFacts, Path], lesson: Material) -> None:
    first, again = (weights_of(*healthy, lesson, RECIPE) for _ in range(2))
    other = weights_of(*healthy, lesson, replace(RECIPE, seed=1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("family", ["yolov8", "yolo11", "yolo26"])
def test_networks_of_each_family_learn(family: str, lesson: Material, tmp_path: Path) -> None:
    description = narrow_description(family)
    weights = write_weights(network_with_random_weights(description), tmp_path / "weights.safetensors")
    recipe = replace(RECIPE, epochs=12, rate=0.01)
    module, _ = trainable(checkpoint_of(description), weights, CPU)
    losses = list(_steps(module, lesson, recipe, steps=36))
    assert len(losses) == 36, "12 images in batches of 4, 12 epochs"
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    network = fine_tuned(checkpoint_of(description), weights, CPU, lesson, replace(recipe, epochs=1))
    assert network.two_heads is (family == "yolo26")
    assert not network.module.training
    assert not any(parameter.requires_grad for parameter in network.module.parameters())


def test_a_loss_that_is_no_number_ends_it(
    healthy: tuple[CheckpointFacts, Path], lesson: Material, tmp_path: Path
) -> None:
    checkpoint, weights = healthy
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("cv3.0.2.weight"))
    tensors[name] = torch.full_like(tensors[name], torch.nan)
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(FloatingPointError, match="step 1 of 6"):
        fine_tuned(checkpoint, tmp_path / "weights.safetensors", CPU, lesson, RECIPE)
