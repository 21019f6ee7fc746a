"""What the validation pass shows by itself once something is changed: blank images left out, other sizes of the input.

It needs no training image, so that a run handed in with its validation split alone gets it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.errors import DatasetError
from runaudit.evaluation.attempts import Attempts
from runaudit.evaluation.blank_images import blank
from runaudit.evaluation.clock import Clock
from runaudit.evaluation.evaluate import Subject
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.paired import Scores, intervention, same_images, scores, scores_of_some
from runaudit.evaluation.reconcile import Depth
from runaudit.evaluation.selection import grouped_like, labelled_part, matches_part, sampled
from runaudit.evaluation.summary import Measured
from runaudit.evaluation.validation_pass import PassSettings

CHANGED_IMAGES: Final = {"standard": 300, "deep": 2000}
"""The most images of a pass with changed pixels."""
SWEPT: Final = (0.75, 1.25, 1.5)
"""sizes of the input, as shares of the run's, that depth `deep` tries without training again"""
LEAST_LEFT: Final = 20
"""validation images that must be left for a mAP without leaked ones"""


def alone(
    subject: Subject,
    validation: Measured,
    *,
    depth: Depth,
    replicates: int,
    seed: int,
    attempts: Attempts,
) -> tuple[InterventionFacts, ...]:
    """The interventions that the validation pass, drawn with `seed`, needs no other for.

    `attempts` is told of those that failed, as `intervention NAME`. Other sizes of the input are tried at depth `deep`.
    """
    one = Alone(subject, validation, replicates, seed)
    tried: dict[str, Callable[[], InterventionFacts | None]] = {"without_blank_images": one.without_blank}
    for imgsz in swept_sizes(validation.passed.settings.imgsz) if depth == "deep" else ():
        tried[f"imgsz_{imgsz}"] = partial(one.at_size, imgsz)
    found = [attempts.at(f"intervention {name}", change) for name, change in tried.items()]
    return tuple(change for change in found if change is not None)


def swept_sizes(imgsz: int) -> tuple[int, ...]:
    """The other sizes to try, multiples of 32 pixels, rising."""
    sizes = {max(32, round(share * imgsz / 32) * 32) for share in SWEPT}
    return tuple(sorted(sizes - {imgsz}))


@dataclass(frozen=True)
class Alone:
    """The validation pass, and the interventions on it."""

    subject: Subject
    validation: Measured
    replicates: int
    seed: int

    @property
    def validated(self) -> Scores:
        kind = self.validation.passed.settings.protocol.average_precision
        return scores(self.validation.matches, kind, drawn=self.validation.replicates)

    def without_blank(self) -> InterventionFacts | None:
        """Of images that show something; None if all do or less than LEAST_LEFT are left."""
        kept = ~blank(self.validation.passed)
        if kept.all() or not self.enough(kept):
            return None
        return intervention(
            "without_blank_images",
            f"{int((~kept).sum())} validation images of one colour were left out.",
            "intervention",
            self.validated,
            self.kept(kept),
        )

    def at_size(self, imgsz: int) -> InterventionFacts | None:
        """A pass with the images shown to the network at another size, without training again."""
        settings = self.validation.passed.settings
        return self.again(
            self.validation,
            replace(settings, imgsz=imgsz),
            CHANGED_IMAGES["deep"],
            f"imgsz_{imgsz}",
            f"Validation images were shown to the network at {imgsz} pixels instead of {settings.imgsz}.",
        )

    def again(
        self, measured: Measured, settings: PassSettings, most: int, name: str, description: str
    ) -> InterventionFacts | None:
        """A pass with other settings over at most `most` of the images, against the same images as they were passed."""
        passed = measured.passed
        kind = passed.settings.protocol.average_precision
        part = labelled_part(passed.labelled, sampled(len(passed.labelled.entries), most, self.seed))
        try:
            after = self.subject.passed(part, settings, clock=Clock())
        except DatasetError:
            return None
        kept = np.isin(passed.matches.image, after.matches.image)
        before, changed = matches_part(passed.matches, kept), grouped_like(after.matches, passed.matches)
        return same_images(name, description, before, changed, kind, replicates=self.replicates, seed=self.seed)

    def kept(self, kept: NDArray[np.bool_]) -> Scores:
        kind = self.validation.passed.settings.protocol.average_precision
        return scores_of_some(self.validation.matches, kept, kind, replicates=self.replicates, seed=self.seed)

    def enough(self, kept: NDArray[np.bool_]) -> bool:
        labelled = np.unique(self.validation.matches.gt_image)
        return int(kept[labelled].sum()) >= LEAST_LEFT
