"""The labels of a whole data set as three arrays, and their file labels.safetensors."""

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
    """

    image: NDArray[np.int32]
    cls: NDArray[np.int32]
    box: NDArray[np.float64]


def concatenate_labels(parts: Sequence[LabelArrays]) -> LabelArrays:
    """All parts behind one another; empty arrays for none."""
    return LabelArrays(
        image=np.concatenate([np.empty(0, np.int32), *(part.image for part in parts)]),
        cls=np.concatenate([np.empty(0, np.int32), *(part.cls for part in parts)]),
        box=np.concatenate([np.empty((0, 4), np.float64), *(part.box for part in parts)]),
    )


def write_labels(path: Path, labels: LabelArrays) -> None:
    """Write `labels.safetensors` with the tensors `image`, `cls`, `box`."""
    tensors = {"image": labels.image, "cls": labels.cls, "box": labels.box}
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)


def read_labels(path: Path) -> LabelArrays:
    """Read what `write_labels` wrote."""
    tensors = load_file(path)
    return LabelArrays(image=tensors["image"], cls=tensors["cls"], box=tensors["box"])
