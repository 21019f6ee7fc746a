"""Times the image bootstrap of mAP (which uses one core), beside copying the images out for each replicate.

    python -m benchmarks.bootstrap [--images N] [--per-image N] [--classes N] [--replicates N]

Prints seconds, the largest resident memory in MiB, and how long copying would take, from a few replicates of it.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from runaudit.evaluation.average_precision import detection_metrics
from runaudit.evaluation.bootstrap import bootstrap, interval, unit_draws
from runaudit.evaluation.matching import Matches

LABELS_PER_IMAGE = 7.3
"""as in COCO val2017: 36,335 boxes on 4,952 images"""
COPIED = 3


def synthetic(images: int, per_image: int, classes: int) -> Matches:
    """Matches of a detector with about 0.4 mAP50-95: most labels found, many false detections below them."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(LABELS_PER_IMAGE, images)
    gt_image = np.repeat(np.arange(images, dtype=np.int32), counts)
    gt_cls = rng.integers(0, classes, len(gt_image)).astype(np.int32)
    found = rng.uniform(size=len(gt_image)) < 0.8
    others = np.maximum(per_image - np.bincount(gt_image[found], minlength=images), 0)
    det_image = np.r_[gt_image[found], np.repeat(np.arange(images, dtype=np.int32), others)]
    det_cls = np.r_[gt_cls[found], rng.integers(0, classes, others.sum())].astype(np.int32)
    conf = np.r_[rng.beta(2, 2, found.sum()), rng.beta(0.4, 4, others.sum())].astype(np.float32)
    best_iou = np.r_[rng.uniform(0.5, 1, found.sum()), np.zeros(others.sum())]
    order = np.lexsort((-conf, det_image))
    return Matches(
        image=np.arange(images, dtype=np.int32),
        det_image=det_image[order].astype(np.int32),
        det_cls=det_cls[order],
        det_conf=conf[order],
        det_box=np.zeros((len(order), 4), np.float32),
        tp=(np.linspace(0.5, 0.95, 10) <= best_iou[:, None])[order],
        gt_image=gt_image,
        gt_cls=gt_cls,
        gt_box=np.zeros((len(gt_image), 4), np.float32),
    )


def copied_map(matches: Matches, draw: np.ndarray) -> float:
    """mAP50-95 of one replicate, by copying the drawn images' detections and labels."""
    det_start = np.searchsorted(matches.det_image, np.arange(len(draw) + 1))
    gt_start = np.searchsorted(matches.gt_image, np.arange(len(draw) + 1))
    det = np.concatenate([np.arange(det_start[image], det_start[image + 1]) for image in draw])
    gt = np.concatenate([np.arange(gt_start[image], gt_start[image + 1]) for image in draw])
    return detection_metrics(matches.tp[det], matches.det_conf[det], matches.det_cls[det], matches.gt_cls[gt]).map50_95


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--per-image", type=int, default=100)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--replicates", type=int, default=1000)
    options = parser.parse_args()
    matches = synthetic(options.images, options.per_image, options.classes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    samples = bootstrap(matches, replicates=options.replicates)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    copies = [copied_map(matches, draw) for draw in unit_draws(options.images, COPIED, 0)]
    by_copying = (time.perf_counter() - start) / COPIED * options.replicates
    worst = float(np.abs(np.array(copies) - samples.map50_95[:COPIED]).max())
    ends = interval(samples.map50_95)
    print(f"{len(matches.det_conf)} detections, {len(matches.gt_cls)} labels, {options.classes} classes")
    print(f"mAP50-95 interval {ends}, largest difference to copying {worst:.1e}")
    print(f"weighted {seconds:.2f} s, memory {after:.0f} MiB (before: {before:.0f}); copying {by_copying:.0f} s")


if __name__ == "__main__":
    main()
