"""Times what is read off matches against pycocotools, tidecv and hotcoco on the same boxes, with one core each.

    python -m benchmarks.evaluation_core [--images N] [--per-image N] [--classes N] [--replicates N] [--rounds N]
    python -m benchmarks.evaluation_core --alone --images 100000 --per-image 30

Prints seconds of the processor (the least of the rounds; what else runs on the machine counts little), ratios to
pycocotools' AP, and how far results are apart. Peers that are not installed (the extra `bench` has them) are left out,
and said to be. Times of pycocotools are of evaluate and accumulate, of tidecv and hotcoco of evaluating and fixing;
putting boxes into their data structures is told apart. With `--alone` only ours is run, and the largest resident memory
is printed: for sets as large as a machine can hold.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import resource
import time
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenes import scenes
from runaudit.evaluation.average_precision import detection_metrics
from runaudit.evaluation.bootstrap import bootstrap
from runaudit.evaluation.calibration import calibration
from runaudit.evaluation.coco import CocoMetrics, coco_metrics
from runaudit.evaluation.error_fixes import KINDS
from runaudit.evaluation.error_types import ErrorTypes, error_types
from runaudit.evaluation.localization_recall_precision import optimal_error
from runaudit.evaluation.matching import Matches
from runaudit.evaluation.overlaps import overlaps
from runaudit.evaluation.thresholds import DEFAULT, thresholds

T = TypeVar("T")
TARGET = 0.1
"""of pycocotools' AP, for AP, TIDE, calibration and the bootstrap together"""
CHUNK = 1000
"""images made at a time"""


def made(images: int, per_image: int, classes: int) -> Matches:
    """Scenes put together from chunks, so that making them takes no more memory than they do."""
    parts = [scenes(min(CHUNK, images - first), per_image, classes, seed=first) for first in range(0, images, CHUNK)]
    joined: dict[str, Any] = {}
    for name in [column.name for column in fields(Matches) if getattr(parts[0], column.name) is not None]:
        shift = CHUNK if name in ("image", "det_image", "gt_image") else 0
        joined[name] = np.concatenate(
            [getattr(part, name) + np.int32(shift * number) if shift else getattr(part, name)
             for number, part in enumerate(parts)]
        )  # fmt: skip
        parts = [replace(part, **{name: joined[name][:0]}) for part in parts]
    return Matches(**joined)


def ours(matches: Matches, replicates: int) -> tuple[dict[str, float], CocoMetrics, ErrorTypes]:
    """Seconds of each statistic, and the two that peers have as well."""
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        start = time.process_time()
        result = work()
        seconds[name] = time.process_time() - start
        return result

    timed("framework's AP", lambda: detection_metrics(matches.tp, matches.det_conf, matches.det_cls, matches.gt_cls))
    pairs = timed("overlaps", lambda: overlaps(matches))
    coco = timed("COCO's AP by size", lambda: coco_metrics(matches, pairs))
    found = timed("TIDE", lambda: error_types(matches, pairs, coco))
    timed("TIDE's intervals", lambda: found.fixes.gain_intervals(replicates=replicates, seed=0))
    timed(
        "calibration",
        lambda: calibration(matches, coco, least_confidence=DEFAULT, replicates=replicates, seed=0),
    )
    timed("bootstrap of mAP", lambda: bootstrap(matches, replicates=replicates))
    timed("thresholds, bootstrapped", lambda: thresholds(matches, replicates=replicates, seed=0))
    timed("LRP", lambda: optimal_error(matches, coco))
    return seconds, coco, found


EXTRA = ("TIDE's intervals", "thresholds, bootstrapped", "LRP")
"""not part of the target"""


def as_sides(box: NDArray[np.float32]) -> NDArray[np.float64]:
    """x, y, width, height in double precision."""
    wide = box.astype(np.float64)
    return np.hstack([wide[:, :2], wide[:, 2:] - wide[:, :2]])


def as_coco(matches: Matches) -> dict[str, Any]:
    """The labels as a COCO data set; ids of images and annotations begin at 1."""
    sides = as_sides(matches.gt_box)
    return {
        "images": [{"id": int(image) + 1, "width": 640, "height": 640} for image in range(len(matches.image))],
        "categories": [
            {"id": int(class_id), "name": str(class_id)}
            for class_id in np.unique(np.r_[matches.gt_cls, matches.det_cls])
        ],
        "annotations": [
            {"id": row + 1, "image_id": image + 1, "category_id": cls, "bbox": box, "area": area, "iscrowd": 0}
            for row, (image, cls, box, area) in enumerate(
                zip(
                    matches.gt_image.tolist(),
                    matches.gt_cls.tolist(),
                    sides.tolist(),
                    (sides[:, 2] * sides[:, 3]).tolist(),
                    strict=True,
                )
            )
        ],
    }


def results_table(matches: Matches) -> NDArray[np.float64]:
    """Detections as rows of image, x, y, width, height, score, class."""
    return np.column_stack(
        [matches.det_image + 1.0, as_sides(matches.det_box), matches.det_conf, matches.det_cls.astype(np.float64)]
    )


def by_pycocotools(matches: Matches) -> tuple[float, float, float]:
    """Seconds of filling and of AP, and mAP50-95."""
    coco, cocoeval = import_module("pycocotools.coco"), import_module("pycocotools.cocoeval")
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        labels = coco.COCO()
        labels.dataset = as_coco(matches)
        labels.createIndex()
        run = cocoeval.COCOeval(labels, labels.loadRes(results_table(matches)), "bbox")
        filled = time.process_time()
        run.evaluate()
        run.accumulate()
    end = time.process_time()
    precision = run.eval["precision"][..., 0, 2]
    return filled - start, end - filled, float(precision[precision > -1].mean())


def by_tidecv(matches: Matches) -> tuple[float, float, dict[str, float]]:
    """Seconds of filling and of decomposing, and dAP by our names."""
    tidecv = import_module("tidecv")
    start = time.process_time()
    labels, detections = tidecv.Data("labels"), tidecv.Data("detections")
    for image in range(len(matches.image)):
        labels.add_image(image, str(image))
    for image, cls, box in zip(
        matches.gt_image.tolist(), matches.gt_cls.tolist(), as_sides(matches.gt_box).tolist(), strict=True
    ):
        labels.add_ground_truth(image, cls, box)
    for image, cls, conf, box in zip(
        matches.det_image.tolist(),
        matches.det_cls.tolist(),
        matches.det_conf.tolist(),
        as_sides(matches.det_box).tolist(),
        strict=True,
    ):
        detections.add_detection(image, cls, conf, box)
    filled = time.process_time()
    run = tidecv.TIDE().evaluate(labels, detections, mode=tidecv.TIDE.BOX)
    gains = list(run.fix_main_errors().values())
    end = time.process_time()
    return filled - start, end - filled, dict(zip(KINDS, (gain / 100 for gain in gains), strict=True))


def by_hotcoco(matches: Matches) -> tuple[float, float, float, float]:
    """Seconds of filling, of AP and of TIDE, and mAP50-95."""
    hotcoco = import_module("hotcoco")
    start = time.process_time()
    labels = hotcoco.COCO(as_coco(matches))
    run = hotcoco.COCOeval(labels, labels.load_res(results_table(matches)), "bbox")
    filled = time.process_time()
    run.evaluate()
    run.accumulate()
    with contextlib.redirect_stdout(io.StringIO()):
        run.summarize()
    middle = time.process_time()
    run.tide_errors()
    end = time.process_time()
    return filled - start, middle - filled, end - middle, float(run.get_results()["AP"])


def least(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The least seconds of each."""
    return {name: min(seconds[name] for seconds in rounds) for name in rounds[0]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--per-image", type=int, default=100)
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("RAYON_NUM_THREADS", "1")  # of hotcoco; ours has one thread
    matches = made(options.images, options.per_image, options.classes)
    print(f"{len(matches.det_conf)} detections, {len(matches.gt_cls)} labels, {options.images} images")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    measured = [ours(matches, options.replicates) for _ in range(1 if options.alone else options.rounds)]
    seconds = least([entry[0] for entry in measured])
    for name, value in seconds.items():
        print(f"  {name:26} {value:8.3f} s")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    total = sum(value for name, value in seconds.items() if name not in EXTRA)
    print(
        f"AP, TIDE, calibration and {options.replicates} replicates: {total:.3f} s; all: {sum(seconds.values()):.3f} s"
    )
    print(f"largest resident memory {after:.0f} MiB, {before:.0f} MiB of it before")
    if not options.alone:
        compare(matches, options.rounds, seconds, total, *measured[0][1:])


def compare(
    matches: Matches, rounds: int, seconds: dict[str, float], total: float, coco: CocoMetrics, found: ErrorTypes
) -> None:
    """Print what peers take on the same boxes, in the same run."""
    ap, tide = seconds["overlaps"] + seconds["COCO's AP by size"], seconds["overlaps"] + seconds["TIDE"]
    missing = [name for name in ("pycocotools", "tidecv", "hotcoco") if find_spec(name) is None]
    mean_ap = coco.areas["all"].map50_95 or 0.0
    if "pycocotools" not in missing:
        filled, took, value = min((by_pycocotools(matches) for _ in range(rounds)), key=lambda entry: entry[1])
        print(f"pycocotools AP {took:.2f} s (filling {filled:.2f} s), mAP apart by {abs(value - mean_ap):.1e}")
        print(f"  ours together {total / took:.3f} of it (target {TARGET}); AP by itself {ap / took:.4f}")
    if "tidecv" not in missing:
        filled, took, gains = min((by_tidecv(matches) for _ in range(rounds)), key=lambda entry: entry[1])
        apart = max(abs(found.d_ap(kind) - gains[kind]) for kind in KINDS)
        print(f"tidecv {took:.2f} s (filling {filled:.2f} s), dAP apart by up to {apart:.1e}")
        print(f"  ours {tide / took:.4f} of it")
    if "hotcoco" not in missing:
        hot = [by_hotcoco(matches) for _ in range(rounds)]
        filled, took, tide_took = (min(entry[column] for entry in hot) for column in range(3))
        print(
            f"hotcoco AP {took:.3f} s, TIDE {tide_took:.3f} s (filling {filled:.3f} s), mAP apart by "
            f"{abs(hot[0][3] - mean_ap):.1e}; ours {ap / (took + filled):.2f} and {tide / tide_took:.2f} of them"
        )
    if missing:
        print(f"not installed: {', '.join(missing)}")


if __name__ == "__main__":
    main()
