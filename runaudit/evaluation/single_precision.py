"""What single precision gains over the half precision that a run was validated in, on some of the same images.

The canonical pass is in float32 on every device, so that it is the re-validation; the pass that this adds is in
float16. A CPU computes it for real (values and weights are rounded to float16, sums are not), at three to four times
the time, which is why images are few.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from runaudit.evaluation.clock import Clock
from runaudit.evaluation.evaluate import Subject
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.network import in_half_precision
from runaudit.evaluation.paired import same_images
from runaudit.evaluation.reconcile import Depth
from runaudit.evaluation.selection import grouped_like, labelled_part, matches_part, sampled
from runaudit.evaluation.summary import Measured
from runaudit.runs.facts import RunFacts
from runaudit.runs.precision import asked_for_half

HALVED_IMAGES: Final = {"standard": 64, "deep": 300}
"""The most images of the pass in half precision."""


def single_precision(
    subject: Subject,
    run: RunFacts,
    weights: Path,
    validation: Measured,
    *,
    depth: Depth,
    replicates: int,
    seed: int,
) -> InterventionFacts | None:
    """Validation in float32 against float16; at depth `standard` only for a run that asked for half precision.

    Training of ultralytics up to 8.4.0 and of YOLOv5 validates in half precision on a GPU without being asked (yolo.md
    A7.2), so that depth `deep` looks in any case. None without a label on the images.
    """
    if depth != "deep" and not asked_for_half(run):
        return None
    passed = validation.passed
    part = labelled_part(passed.labelled, sampled(len(passed.labelled.entries), HALVED_IMAGES[depth], seed))
    if not len(part.cls):
        return None
    halved = replace(subject, network=in_half_precision(subject.checkpoint, weights, subject.network.device))
    found = halved.passed(part, replace(passed.settings, half=True), clock=Clock()).matches
    before = grouped_like(found, passed.matches)
    after = matches_part(passed.matches, np.isin(passed.matches.image, found.image))
    return same_images(
        "float32",
        f"{len(found.image)} validation images were validated in single instead of half precision.",
        before,
        after,
        passed.settings.protocol.average_precision,
        replicates=replicates,
        seed=seed,
    )
