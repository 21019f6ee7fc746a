"""How often intervals of mAP50-95 hold the population's, by the number of images: what sets where they are widened.

    python -m benchmarks.few_images [--samples N] [--replicates N]

Samples of few images are drawn from a large population of made-up scenes. Prints, for each number of images, how many
of the percentile intervals (alone, and widened to Wilson's as if each image were one trial) hold the population's
figure, and how wide they are.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.scenes import scenes
from runaudit.evaluation.average_precision import detection_metrics
from runaudit.evaluation.bootstrap import bootstrap, interval
from runaudit.evaluation.matching import Matches
from runaudit.proportions import wilson_of_share

IMAGES = (1, 2, 3, 5, 8, 10, 12, 15, 20, 30, 50)
POPULATION = 20_000


def figure(matches: Matches) -> float:
    return detection_metrics(matches.tp, matches.det_conf, matches.det_cls, matches.gt_cls).map50_95


def first_rows(sorted_image: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the chosen images, of rows sorted by image, and the position of each row's image."""
    begins, ends = np.searchsorted(sorted_image, chosen, "left"), np.searchsorted(sorted_image, chosen, "right")
    rows = np.concatenate([np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)])
    return rows, np.repeat(np.arange(len(chosen)), ends - begins).astype(np.int32)


def part(population: Matches, chosen: np.ndarray) -> Matches:
    det, det_image = first_rows(population.det_image, chosen)
    gt, gt_image = first_rows(population.gt_image, chosen)
    return Matches(
        image=np.arange(len(chosen), dtype=np.int32),
        det_image=det_image,
        det_cls=population.det_cls[det],
        det_conf=population.det_conf[det],
        det_box=population.det_box[det],
        tp=population.tp[det],
        gt_image=gt_image,
        gt_cls=population.gt_cls[gt],
        gt_box=population.gt_box[gt],
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--replicates", type=int, default=300)
    options = parser.parse_args()
    for classes, labels in ((1, 1.5), (1, 7.3), (3, 3.0)):
        population = scenes(POPULATION, 20, classes, seed=0, labels=labels)
        truth = figure(population)
        with_labels = np.unique(population.gt_image)
        print(f"{classes} classes, {labels} labels an image, mAP50-95 {truth:.3f}")
        for images in IMAGES:
            generator = np.random.default_rng(images)
            alone, widened, width, wider = 0, 0, [], []
            for _ in range(options.samples):
                sample = part(population, np.sort(generator.choice(with_labels, images, replace=False)))
                ends = interval(bootstrap(sample, replicates=options.replicates).map50_95)
                wilson = wilson_of_share(figure(sample), images)
                if ends is None:
                    continue
                outer = min(ends[0], wilson[0]), max(ends[1], wilson[1])
                alone += ends[0] <= truth <= ends[1]
                widened += outer[0] <= truth <= outer[1]
                width.append(ends[1] - ends[0])
                wider.append(outer[1] - outer[0])
            print(
                f"  {images:3d} images: held by {alone / options.samples:.2f} of the percentile intervals, width "
                f"{np.mean(width):.3f}; by {widened / options.samples:.2f} of the widened, width {np.mean(wider):.3f}"
            )


if __name__ == "__main__":
    main()
