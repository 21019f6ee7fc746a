"""Whether a model does well on the images that it was trained on, and is large enough to: what says if it learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.thresholds import threshold
from runaudit.runs.facts import RunFacts


@dataclass(frozen=True)
class Thresholds:
    low: float = threshold(
        0.75,
        "mAP50 on training images; the upper end of its interval must lie below, for a minor finding the value alone "
        "(no healthy run of 33 on rendered images and photographs was below 0.88). diagnostics.md B5 names 0.6 of "
        "mAP50-95; loose labels cap that figure, which mAP50 hardly feels. In 21 runs of the corpus mAP50 is 0.77 to "
        "0.97 where mAP50-95 is 0.6. On training images of rendered data three healthy runs have 0.88 to 0.96, a "
        "network of a quarter of the width after as many steps 0.32.",
    )
    instances: int = threshold(
        100, "diagnostics.md A2(4): with 100 objects the standard error of AP50 is 0.05, with 30 it is 0.09."
    )
    parameters: int = threshold(
        164_000,
        "Parameters below which a network is called small: a sixteenth of the 2,624,080 of YOLO11n, as a quarter of "
        "its width has; the stock detectors of that size have 1.9 to 3.2 million. From there on down more epochs are "
        "not taken for what it lacks first.",
    )


LIMITS: Final = Thresholds()


def fits_training_images(evidence: Evidence) -> bool | None:
    """False where mAP50 on training images is low beyond its interval; None where they were not validated, or too few.

    Not by itself a lack of capacity: a rate, an input size or a schedule that learns nothing leaves the same.
    """
    training = evidence.training
    if training is None:
        return None
    ends = training.ci95.get("map50")
    if ends is None or training.instances < LIMITS.instances:
        return None
    return ends[1] >= LIMITS.low


def far_too_small(run: RunFacts) -> bool:
    """Whether the network is far smaller than any stock detector. Of a checkpoint that can't be read 0 are counted."""
    return run.checkpoint is not None and 0 < run.checkpoint.parameters < LIMITS.parameters
