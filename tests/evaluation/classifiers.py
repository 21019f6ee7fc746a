"""What the evaluation of a classifier takes: small networks, folder trees of images of all kinds, their facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from runaudit.evaluation.classification_network import CLASSIFIER
from runaudit.evaluation.framework import framework
from runaudit.runs.class_folders import read_class_folders
from runaudit.runs.class_tree import find_class_tree
from runaudit.runs.facts import CheckpointFacts, DatasetFacts, ImageIndex, RunFacts
from runaudit.runs.label_arrays import write_labels
from tests.evaluation.jobs import checkpoint_of, run_of

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (200, 50, 50), "white": (220, 215, 205)}
NAMES = tuple(COLOURS)


def narrow_classifier(classes: int = 4) -> dict[str, Any]:
    """A description in the manner of yolov8-cls.yaml, as narrow as it still learns."""
    return {
        "nc": classes,
        "depth_multiple": 1.0,
        "width_multiple": 1.0,
        "backbone": [[-1, 1, "Conv", [8, 3, 2]], [-1, 1, "Conv", [16, 3, 2]], [-1, 1, "C2f", [16, True]]],
        "head": [[-1, 1, "Classify", ["nc"]]],
    }


def random_classifier(classes: int = 4, seed: int = 0) -> Any:
    """A ClassificationModel that no one trained, but which chooses now this class, now that."""
    torch.manual_seed(seed)
    network = framework().nn.tasks.ClassificationModel(cfg=narrow_classifier(classes), ch=3, verbose=False)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.02, 0.1)
            module.weight.data.uniform_(0.7, 1.3)
            module.bias.data.uniform_(-0.2, 0.2)
    with torch.no_grad():
        network.model[-1].linear.weight.mul_(20)
        # Centred on grey, so that no class wins by its bias.
        grey = network.eval()(torch.full((1, 3, 64, 64), 0.45))[1]
        network.model[-1].linear.bias.sub_(grey[0])
    return network


def classifier_facts(names: Sequence[str] = NAMES, **changes: Any) -> CheckpointFacts:
    """Facts of a checkpoint that holds a `narrow_classifier`."""
    facts = {"model_class": CLASSIFIER, "task": "classify", "names": dict(enumerate(names))}
    return checkpoint_of(narrow_classifier(len(names)), **facts | changes)


def classification_run(checkpoint: CheckpointFacts | None, **arguments: Any) -> RunFacts:
    """Facts of a finished classification run with these training arguments."""
    return run_of(checkpoint, **arguments).model_copy(update={"task": "classify"})


def write_tree(root: Path, images: Mapping[str, Mapping[str, int]], seed: int = 0) -> Path:
    """Split -> class -> how many images; each is a noisy patch of its class' colour in one of many kinds of files."""
    generator = np.random.default_rng(seed)
    for split, classes in images.items():
        for name, count in classes.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                _write_image(folder, number, COLOURS.get(name, (120, 120, 120)), generator)
    return root


def _write_image(folder: Path, number: int, colour: tuple[int, int, int], generator: np.random.Generator) -> None:
    """Sizes of 24 to 120 pixels, wide and tall; every 3rd a PNG, 4th turned by EXIF, 5th grey, 7th with alpha, 9th a
    TIFF."""
    height, width = generator.integers(24, 120, size=2)
    noise = generator.normal(0, 70, size=(height // 6 + 1, width // 6 + 1, 3))
    wide = cv2.resize(noise, (int(width), int(height)), interpolation=cv2.INTER_LINEAR)
    pixels = np.clip(wide + colour + generator.normal(0, 40, size=3), 0, 255).astype(np.uint8)
    image = Image.fromarray(pixels)
    if number % 7 == 6:
        image.putalpha(200)
        image.save(folder / f"{number}.png")
    elif number % 9 == 8:
        image.save(folder / f"{number}.tiff")
    elif number % 5 == 4:
        image.convert("L").save(folder / f"{number}.png")
    elif number % 3 == 2:
        image.save(folder / f"{number}.png")
    else:
        exif = Image.Exif()
        exif[0x0112] = 6 if number % 4 == 3 else 1
        image.save(folder / f"{number}.jpg", quality=90, exif=exif)


def read_tree(root: Path, labels: Path) -> tuple[DatasetFacts, ImageIndex]:
    """The tree's facts and index as ingest has them; the labels are written."""
    tree = find_class_tree(root)
    assert tree is not None
    facts, index, arrays = read_class_folders(root, tree, own_machine=False)
    write_labels(labels, arrays)
    return facts, index
