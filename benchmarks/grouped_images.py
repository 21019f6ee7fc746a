"""How often intervals of mAP50-95 hold the population's where images come in scenes, drawn by image and by scene.

    python -m benchmarks.grouped_images [--samples N] [--replicates N]

A population of made-up images is dealt into scenes of a few images each. Images of one scene have a share of their
difficulty in common: the images are ordered by their own F1 blurred by noise, and neighbours in that order make a
scene. Samples are of whole scenes, as a validation split of frames of films is. Prints the intraclass correlation of
the images' F1, the design effect 1 + (m - 1) x ICC, and which shares of both intervals hold the population's figure.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.few_images import figure, part
from benchmarks.scenes import scenes
from runaudit.evaluation.bootstrap import bootstrap, interval
from runaudit.evaluation.matching import Matches

POPULATION = 20_000
SURE = 0.25
"""confidence from which detections count in an image's F1"""


def ranked(population: Matches, seed: int) -> Matches:
    """With confidences that follow how well a box lies, as those of detectors do.

    Where they don't, precision hardly falls along the curve, and AP of few images is above that of many by more than
    any interval tells: its envelope takes the highest of many precisions that differ by chance.
    """
    rng = np.random.default_rng(seed)
    lies = population.tp.mean(axis=1) + population.tp[:, 0]
    conf = 1 / (1 + np.exp(3 - 2.5 * lies - rng.normal(0, 1, len(lies))))
    order = np.lexsort((-conf, population.det_image))
    within = population.taking(detections=order, labels=np.arange(len(population.gt_cls)))
    return replace(within, det_conf=conf[order].astype(np.float32))


def image_f1(matches: Matches) -> NDArray[np.float64]:
    """F1 of each image (k,) at IoU 0.5, 0 for one without labels and sure detections."""
    images, sure = len(matches.image), matches.det_conf >= SURE
    found = np.bincount(matches.det_image[sure & matches.tp[:, 0]], minlength=images)
    detected = np.bincount(matches.det_image[sure], minlength=images)
    labels = np.bincount(matches.gt_image, minlength=images)
    return np.asarray(2 * found / np.maximum(detected + labels, 1))


def dealt(value: NDArray[np.float64], size: int, noise: float, seed: int) -> NDArray[np.intp]:
    """Scenes of `size` images each (s, size) whose images have `value` (k,) the more in common the less the noise."""
    rng = np.random.default_rng(seed)
    blurred = value + rng.normal(0, noise * value.std(), len(value))
    order = np.argsort(blurred)[: len(value) // size * size]
    return rng.permutation(order.reshape(-1, size))


def intraclass(value: NDArray[np.float64], scene: NDArray[np.intp]) -> float:
    """The intraclass correlation of `value` (k,) by one-way analysis of variance (Fisher); scenes are (s, m)."""
    table, size = value[scene], scene.shape[1]
    between = size * table.mean(axis=1).var(ddof=1)
    within = table.var(axis=1, ddof=1).mean()
    return float((between - within) / (between + (size - 1) * within))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--replicates", type=int, default=300)
    options = parser.parse_args()
    population = ranked(scenes(POPULATION, 20, 3, seed=0, labels=3.0), seed=1)
    population = part(population, np.unique(population.gt_image))
    truth, value = figure(population), image_f1(population)
    print(f"3 classes, 3 labels an image, mAP50-95 {truth:.3f}, {options.samples} samples each")
    for size, noise in ((1, 1.0), (5, 3.0), (5, 1.0), (20, 3.0), (20, 1.0)):
        dealing = dealt(value, size, noise, seed=1)
        correlation = intraclass(value, dealing) if size > 1 else 0.0
        for count in (20, 50, 100):
            generator = np.random.default_rng(count)
            held = np.zeros(2)
            width = np.zeros(2)
            for _ in range(options.samples):
                drawn = dealing[generator.choice(len(dealing), count, replace=False)]
                order = np.argsort(drawn.ravel())
                sample = part(population, drawn.ravel()[order])
                group = np.repeat(np.arange(count), size)[order].astype(np.int32)
                for column, one in enumerate((sample, replace(sample, group=group))):
                    ends = interval(bootstrap(one, replicates=options.replicates).map50_95)
                    if ends is not None:
                        held[column] += ends[0] <= truth <= ends[1]
                        width[column] += ends[1] - ends[0]
            by_image, by_scene = held / options.samples
            print(
                f"  {count:3d} scenes of {size:2d} images, ICC {correlation:.2f}, design effect "
                f"{1 + (size - 1) * correlation:4.1f}: held by {by_image:.2f} of the intervals by image (width "
                f"{width[0] / options.samples:.3f}), by {by_scene:.2f} of those by scene (width "
                f"{width[1] / options.samples:.3f})"
            )


if __name__ == "__main__":
    main()
