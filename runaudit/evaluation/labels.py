"""The labels of one split as the validation uses them: those of its images, of classes that the network knows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from runaudit.errors import DatasetError
from runaudit.runs.facts import ImageEntry, ImageIndex, Split


@dataclass(frozen=True)
class Labelled:
    """The images of a split, in the order of their paths, with their labels.

    `entry` (k,) are positions in the ImageIndex; `entries` the images themselves. The labels of image i (a position in
    `entry`) are rows start[i] to start[i + 1] of `cls` (m,) int32 and `box` (m, 4) float64 (x1, y1, x2, y2, as shares
    of width and height). `unknown` counts labels left out because the network has no such class.
    """

    entry: NDArray[np.int32]
    entries: tuple[ImageEntry, ...]
    start: NDArray[np.int64]
    cls: NDArray[np.int32]
    box: NDArray[np.float64]
    unknown: int
    split: Split

    @property
    def most_in_an_image(self) -> int:
        """Labels of the image that has most."""
        return int(np.diff(self.start).max(initial=0))


def labelled_images(index: ImageIndex, labels: Path, split: Split, *, classes: int, single_cls: bool) -> Labelled:
    """Pick the images and labels of `split`.

    Images are ordered by path, as the framework orders them. `single_cls` makes every class 0. Labels of classes that
    the network can't predict are left out, as `yolo val` leaves them out (models/yolo/detect/val.py).

    Raises DatasetError `no_labelled_validation_images` if no label is left.
    """
    arrays = load_file(labels)
    chosen = sorted(
        (position for position, entry in enumerate(index.images) if entry.split == split),
        key=lambda position: index.images[position].file,
    )
    place = np.full(len(index.images), -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    cls = np.zeros_like(arrays["cls"]) if single_cls else arrays["cls"]
    of_split = place[arrays["image"]] >= 0
    known = of_split & (cls >= 0) & (cls < classes)
    if not known.any():
        raise no_labels(split)
    image = place[arrays["image"][known]]
    order = np.argsort(image, kind="stable")
    centre, size = arrays["box"][known][:, :2], arrays["box"][known][:, 2:]
    return Labelled(
        entry=np.array(chosen, dtype=np.int32),
        entries=tuple(index.images[position] for position in chosen),
        start=np.searchsorted(image[order], np.arange(len(chosen) + 1)),
        cls=cls[known][order].astype(np.int32),
        box=np.hstack([centre - size / 2, centre + size / 2])[order],
        unknown=int(of_split.sum() - known.sum()),
        split=split,
    )


def no_labels(split: Split) -> DatasetError:
    """The error for a split in which there is nothing to measure against."""
    return DatasetError(
        f"No image of the split `{split}` that can be read has a label of a class that the model knows, so there is "
        "nothing to measure against.",
        code="no_labelled_validation_images",
    )
