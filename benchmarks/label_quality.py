"""Times label-quality scores, beside ObjectLab of cleanlab on the same detections where it is installed.

    python -m benchmarks.label_quality [--images N] [--per-image N] [--classes N] [--wrong SHARE]

A tenth of the labels is wrong: a quarter of these each dropped, of another class, moved, or added. Prints seconds, the
ratio, the rank correlation of the two image scores, and how well each score tells images with a wrong label from those
without (area under the ROC curve). cleanlab comes with the extra `bench`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.label_quality import LabelQuality, label_quality
from runaudit.evaluation.matching import Boxes, Matches, true_positives

LABELS_PER_IMAGE = 7.3
"""as in COCO val2017: 36,335 boxes on 4,952 images"""
SIDE = 640


def synthetic(images: int, per_image: int, classes: int, wrong: float) -> tuple[Matches, NDArray[np.bool_]]:
    """Matches of a detector, and which images have a wrong label.

    Four in five objects are found surely, their confidences spread over (0, 1), the others at the confidence of noise,
    which the rest of an image's detections is.
    """
    rng = np.random.default_rng(0)
    counts = rng.poisson(LABELS_PER_IMAGE, images)
    image = np.repeat(np.arange(images), counts)
    cls, box = rng.integers(0, classes, len(image)), _boxes(rng, len(image))
    others = np.maximum(per_image - counts, 0)
    side = np.tile(box[:, 2:] - box[:, :2], 2)
    det_image = np.r_[image, np.repeat(np.arange(images), others)]
    det_cls = np.r_[cls, rng.integers(0, classes, others.sum())]
    unsure = rng.uniform(size=len(image)) < 0.2
    sure = np.where(unsure, 0.6 * rng.beta(0.8, 6, len(image)), rng.beta(2, 1, len(image)))
    conf = np.maximum(np.r_[sure, 0.6 * rng.beta(0.4, 6, others.sum())], 0.001)
    det_box = np.vstack([box + rng.normal(0, 0.04, side.shape) * side, _boxes(rng, int(others.sum()))])
    order = np.lexsort((-conf, det_image))
    image, cls, box, wrongly = _spoilt(rng, image, cls, box, classes=classes, wrong=wrong)
    detections = Boxes(det_image[order].astype(np.int32), det_cls[order].astype(np.int32), _single(det_box[order]))
    labels = Boxes(image.astype(np.int32), cls.astype(np.int32), _single(box))
    return Matches(
        image=np.arange(images, dtype=np.int32),
        det_image=detections.image,
        det_cls=detections.cls,
        det_conf=conf[order].astype(np.float32),
        det_box=detections.box,
        tp=true_positives(detections, labels),
        gt_image=labels.image,
        gt_cls=labels.cls,
        gt_box=labels.box,
    ), np.isin(np.arange(images), wrongly)


def _boxes(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    side = rng.uniform(20, 150, (count, 2))
    corner = rng.uniform(0, SIDE - 150, (count, 2))
    return np.hstack([corner, corner + side])


def _single(box: NDArray[np.float64]) -> NDArray[np.float32]:
    return box.astype(np.float32)


def _spoilt(
    rng: np.random.Generator, image: NDArray[Any], cls: NDArray[Any], box: NDArray[Any], *, classes: int, wrong: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Labels with errors, and the images of these."""
    hit = rng.uniform(size=len(cls)) < wrong
    kind = rng.integers(0, 4, len(cls))
    dropped, swapped, moved, added = (hit & (kind == number) for number in range(4))
    cls = np.where(swapped, (cls + rng.integers(1, classes, len(cls))) % classes, cls)
    box = box + 0.5 * moved[:, None] * np.tile(box[:, 2:] - box[:, :2], 2)
    new = np.flatnonzero(added)
    image_out = np.r_[image[~dropped], image[new]]
    order = np.argsort(image_out, kind="stable")
    cls_out = np.r_[cls[~dropped], rng.integers(0, classes, len(new))]
    box_out = np.vstack([box[~dropped], _boxes(rng, len(new))])
    return image_out[order], cls_out[order], box_out[order], np.unique(image[hit])


def image_scores(matches: Matches, quality: LabelQuality) -> NDArray[np.float64]:
    """The probability that no label of an image is wrong, its suspects taken as independent: (images,) in [0, 1]."""
    suspects = quality.suspects
    image = np.where(suspects.label >= 0, matches.gt_image[suspects.label], matches.det_image[suspects.detection])
    logarithms = np.log(np.maximum(1 - suspects.score, 1e-6))
    return np.exp(np.bincount(image, weights=logarithms, minlength=len(matches.image)))


def objectlab_inputs(matches: Matches, classes: int) -> tuple[list[dict[str, Any]], list[NDArray[Any]]]:
    """Labels and predictions as cleanlab takes them."""
    labels, predictions = [], []
    for image in range(len(matches.image)):
        mine, seen = matches.gt_image == image, matches.det_image == image
        labels.append({"bboxes": matches.gt_box[mine], "labels": matches.gt_cls[mine]})
        rows = np.hstack([matches.det_box[seen], matches.det_conf[seen, None]])
        of_class = np.empty(classes, dtype=object)
        for cls in range(classes):
            of_class[cls] = rows[matches.det_cls[seen] == cls]
        predictions.append(of_class)
    return labels, predictions


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def area_under_curve(score: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """How often an image with a wrong label has the lower score of two."""
    ranks = _ranks(-score)
    positives = int(wrong.sum())
    return float((ranks[wrong].sum() - positives * (positives + 1) / 2) / (positives * (len(wrong) - positives)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--per-image", type=int, default=100)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--wrong", type=float, default=0.1)
    options = parser.parse_args()
    matches, wrong = synthetic(options.images, options.per_image, options.classes, options.wrong)
    sizes = np.full((options.images, 2), SIDE)
    print(
        f"{len(matches.det_conf)} detections, {len(matches.gt_cls)} labels, {wrong.mean():.0%} of images with an error"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        quality = label_quality(matches, sizes)
        seconds.append(time.perf_counter() - start)
    ours = image_scores(matches, quality)
    for kind, rate in quality.rates.items():
        print(f"  {kind}: {rate.rate if rate.rate is None else round(rate.rate, 4)} {rate.ci95}")
    print(f"ours {min(seconds):.3f} s, area under the curve {area_under_curve(ours, wrong):.3f}")
    try:
        from cleanlab.object_detection.rank import get_label_quality_scores  # noqa: PLC0415 - only where installed
    except ImportError:
        print("cleanlab is not installed: pip install 'runaudit[bench]'")
        return
    labels, predictions = objectlab_inputs(matches, options.classes)
    start = time.perf_counter()
    theirs = get_label_quality_scores(labels, predictions, verbose=False)
    taken = time.perf_counter() - start
    print(f"cleanlab {taken:.2f} s, area under the curve {area_under_curve(theirs, wrong):.3f}")
    print(f"ratio 1/{taken / min(seconds):.0f}, rank correlation {rank_correlation(ours, theirs):.3f}")


if __name__ == "__main__":
    main()
