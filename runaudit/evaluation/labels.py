"""The labels of one split as the validation uses them: those of its images, of classes that the network knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runaudit.errors import DatasetError
from runaudit.evaluation.touching_boxes import MOST_FOUND
from runaudit.runs.facts import ImageEntry, ImageIndex, Split, Task
from runaudit.runs.label_arrays import read_labels, starts_of, stretches


@dataclass(frozen=True)
class Labelled:
    """The images of a split, in the order of their paths, with their labels.

    `entry` (k,) are positions in the ImageIndex; `entries` the images themselves. The labels of image i (a position in
    `entry`) are rows start[i] to start[i + 1] of `cls` (m,) int32 and `box` (m, 4) float64 (x1, y1, x2, y2, as shares
    of width and height). `unknown` counts labels left out because the network has no such class. `points`,
    `point_start` and `keypoints` are those of LabelArrays, where they were read; `sigmas` the data set's own scales of
    the keypoints, if it has any.
    """

    entry: NDArray[np.int32]
    entries: tuple[ImageEntry, ...]
    start: NDArray[np.int64]
    cls: NDArray[np.int32]
    box: NDArray[np.float64]
    unknown: int
    split: Split
    points: NDArray[np.float32] | None = None
    point_start: NDArray[np.int64] | None = None
    keypoints: NDArray[np.float32] | None = None
    sigmas: tuple[float, ...] = ()

    @property
    def most_in_an_image(self) -> int:
        """Labels of the image that has most."""
        return int(np.diff(self.start).max(initial=0))

    def taking(self, rows: NDArray[np.intp]) -> Labelled:
        """The same with these rows of the labels; `start` stays, and is for the caller to set."""
        points, point_start = self.points, self.point_start
        if points is not None and point_start is not None:
            counts = np.diff(point_start)[rows]
            points, point_start = points[stretches(point_start[:-1][rows], counts)], starts_of(counts)
        return replace(
            self,
            cls=self.cls[rows],
            box=self.box[rows],
            points=points,
            point_start=point_start,
            keypoints=self.keypoints[rows] if self.keypoints is not None else None,
        )


def labelled_images(index: ImageIndex, labels: Path, split: Split, *, classes: int, single_cls: bool) -> Labelled:
    """Pick the images and labels of `split`.

    Images are ordered by path, as the framework orders them. `single_cls` makes every class 0. Labels of classes that
    the network can't predict are left out, as `yolo val` leaves them out (models/yolo/detect/val.py).

    Raises DatasetError `no_labelled_validation_images` if no label is left.
    """
    arrays = read_labels(labels)
    chosen = sorted(
        (position for position, entry in enumerate(index.images) if entry.split == split),
        key=lambda position: index.images[position].file,
    )
    place = np.full(len(index.images), -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    cls = np.zeros_like(arrays.cls) if single_cls else arrays.cls
    of_split = place[arrays.image] >= 0
    known = of_split & (cls >= 0) & (cls < classes)
    if not known.any():
        raise no_labels(split)
    image = place[arrays.image[known]]
    order = np.argsort(image, kind="stable")
    centre, size = arrays.box[:, :2], arrays.box[:, 2:]
    everything = Labelled(
        entry=np.array(chosen, dtype=np.int32),
        entries=tuple(index.images[position] for position in chosen),
        start=np.searchsorted(image[order], np.arange(len(chosen) + 1)),
        cls=cls.astype(np.int32),
        box=np.hstack([centre - size / 2, centre + size / 2]),
        unknown=int(of_split.sum() - known.sum()),
        split=split,
        points=arrays.points,
        point_start=arrays.point_start,
        keypoints=arrays.keypoints,
        sigmas=index.keypoint_sigmas,
    )
    return everything.taking(np.flatnonzero(known)[order])


def require_geometry(labelled: Labelled, task: Task, keypoint_shape: tuple[int, int] | None) -> None:
    """Refuse labels that lack what the task is measured by, as `yolo val` does (data/dataset.py verify_labels).

    `keypoint_shape` is the network's, points and values a point.

    Raises DatasetError `labels_without_geometry` (boxes without outlines, no keypoints), `keypoints_differ` (another
    number of them than the network predicts) or `keypoint_sigmas_invalid`.
    """
    if task in ("segment", "obb"):
        bare = len(labelled.cls)
        if labelled.point_start is not None:
            bare = int((np.diff(labelled.point_start) == 0).sum())
        if bare:
            raise without_outlines(labelled.split, task, bare, len(labelled.cls))
    if task == "pose":
        if labelled.keypoints is None:
            raise without_keypoints(labelled.split)
        shape = labelled.keypoints.shape[1:]
        if shape != keypoint_shape:
            raise DatasetError(
                f"`kpt_shape` of data.yaml is {list(shape)} (points, values of each); the network predicts keypoints "
                f"of the shape {list(keypoint_shape or ())}.",
                code="keypoints_differ",
            )
        if labelled.sigmas and not (len(labelled.sigmas) == shape[0] and np.all(np.asarray(labelled.sigmas) > 0)):
            raise DatasetError(
                f"`kpt_oks_sigmas` of data.yaml has to be {shape[0]} positive numbers, one for each keypoint.",
                code="keypoint_sigmas_invalid",
            )


def without_outlines(split: Split, task: Task, bare: int, instances: int) -> DatasetError:
    """The error for boxes where outlines are needed."""
    what = "polygons" if task == "segment" else "four corners"
    return DatasetError(
        f"{bare} of {instances} labels of the split `{split}` are boxes only; a {task} run is measured by {what}, and "
        "the framework refuses such a split.",
        code="labels_without_geometry",
    )


def without_keypoints(split: Split) -> DatasetError:
    """The error for pose labels without keypoints."""
    return DatasetError(
        f"The labels of the split `{split}` were read without keypoints: data.yaml has no usable `kpt_shape` (how many "
        "points, and 2 or 3 values of each).",
        code="labels_without_geometry",
    )


def too_crowded(file: str, split: Split) -> DatasetError:
    """The error for an image on which too many boxes lie on each other (`touching_boxes`)."""
    return DatasetError(
        f"So many boxes of the image {file} (split `{split}`) lie on each other that their overlaps can't be examined: "
        f"more than {MOST_FOUND} pairs. Check its labels: no picture shows so many objects in one place.",
        code="boxes_too_crowded",
        place=file,
    )


def no_labels(split: Split) -> DatasetError:
    """The error for a split in which there is nothing to measure against."""
    return DatasetError(
        f"No image of the split `{split}` that can be read has a label of a class that the model knows, so there is "
        "nothing to measure against.",
        code="no_labelled_validation_images",
    )
