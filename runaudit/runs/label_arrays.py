"""The labels of a whole data set as arrays, and their file labels.safetensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file


@dataclass(frozen=True)
class LabelArrays:
    """One entry a box: `image` int32 (n,) index into `ImageIndex.images`, `cls` int32 (n,) class id,
    `box` float64 (n, 4) centre x, centre y, width, height over the image's size (1 % beyond [0, 1] is tolerated).

    Read with the geometry `polygons`: the points of label i are rows `point_start[i]` to `point_start[i + 1]` (int64,
    (n + 1,)) of `points` float32 (p, 2), x and y over the image's size; a label that is a box only has none. With
    `keypoints`: `keypoints` float32 (n, k, 2 or 3), x and y likewise and, third, the visibility (0: not labelled).
    """

    image: NDArray[np.int32]
    cls: NDArray[np.int32]
    box: NDArray[np.float64]
    points: NDArray[np.float32] | None = None
    point_start: NDArray[np.int64] | None = None
    keypoints: NDArray[np.float32] | None = None


def concatenate_labels(parts: Sequence[LabelArrays]) -> LabelArrays:
    """All parts, read with the same geometry, behind one another; empty arrays for none."""
    points = [part.points for part in parts if part.points is not None]
    counts = [np.diff(part.point_start) for part in parts if part.point_start is not None]
    keypoints = [part.keypoints for part in parts if part.keypoints is not None]
    return LabelArrays(
        image=np.concatenate([np.empty(0, np.int32), *(part.image for part in parts)]),
        cls=np.concatenate([np.empty(0, np.int32), *(part.cls for part in parts)]),
        box=np.concatenate([np.empty((0, 4), np.float64), *(part.box for part in parts)]),
        points=np.concatenate(points) if points else None,
        point_start=starts_of(np.concatenate(counts)) if counts else None,
        keypoints=np.concatenate(keypoints) if keypoints else None,
    )


def starts_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of n stretches of these lengths begins, and where the last one ends: (n + 1,)."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def stretches(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.intp]:
    """The rows of several stretches one after the other."""
    rows: NDArray[np.intp] = np.arange(int(counts.sum()), dtype=np.intp)
    rows += np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return rows


def write_labels(path: Path, labels: LabelArrays) -> None:
    """Write `labels.safetensors` with the tensors `image`, `cls`, `box`, and those of the geometry if there is one."""
    tensors = {name: array for name, array in vars(labels).items() if array is not None}
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)


def read_labels(path: Path) -> LabelArrays:
    """Read what `write_labels` wrote."""
    return LabelArrays(**load_file(path))
