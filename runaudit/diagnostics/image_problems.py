"""What may be wrong with the images of a split: one problem, and the two that only a validation pass shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.evidence import Evidence, Impact, Measurement, Remedy, Severity
from runaudit.diagnostics.interventions import named
from runaudit.diagnostics.lost_images import LIMITS as LOST
from runaudit.diagnostics.lost_images import severity_of_loss
from runaudit.diagnostics.written_otherwise import gained, impact_of, reading_of
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.evaluation.label_facts import BEFORE_TURNING, READ_AS
from runaudit.runs.facts import SplitFacts

OBSERVED: Final = Impact("lowers", grade="observational")


@dataclass(frozen=True)
class Problem:
    """One thing about the images of one split; `share` is the part of them that it affects, `files` are examples."""

    severity: Severity
    share: float
    images: int
    title: str
    explanation: str
    evidence: Measurement
    remedy: Remedy
    impact: Impact = OBSERVED
    files: tuple[str, ...] = ()


def turned_after_labelling(evidence: Evidence, split: SplitFacts) -> Problem | None:
    """Labels of turned images that the detections agree with once they are turned too; None if they don't."""
    reading = reading_of(evidence)
    if reading is None or reading.name != READ_AS + BEFORE_TURNING or split.image_census is None:
        return None
    images = split.image_census.images
    turned = sum(count for orientation, count in split.image_census.orientations.items() if orientation > 1)
    return Problem(
        "major",
        turned / images,
        images,
        f"Labels of {turned} of {images} images were drawn before their EXIF tag turned them",
        "The framework turns these images before it looks at the labels, and the tool that they were labelled with did "
        f"not: whatever the class, mAP50-95 is {reading.before:.3f}, and with these labels turned like their images "
        f"the same detections give {reading.after:.3f}.",
        gained(reading)[0],
        _DROP_THE_TAG,
        impact_of(reading),
    )


def blank(evidence: Evidence) -> Iterator[Problem]:
    """Images of one colour, in validation and in the training images that were looked at."""
    change = named(evidence, "without_blank_images")
    for facts in (evidence.evaluation, evidence.training):
        if facts is None or facts.blank is None:
            continue
        impact = OBSERVED if change is None or facts is not evidence.evaluation else impact_of(change)
        if facts.blank.labelled or facts.blank.images >= LOST.at_stake * facts.images:
            yield _blank(facts, impact)


def _blank(facts: EvaluationFacts, impact: Impact) -> Problem:
    found = facts.blank
    if found is None:
        raise ValueError("no image is blank")
    share = found.labelled / facts.images
    labels = (
        f"{found.labelled} of them have labels all the same: objects that nobody can see there."
        if found.labelled
        else "None of them has a label, so that they only fill the split."
    )
    return Problem(
        severity_of_loss(share),
        found.images / facts.images,
        facts.images,
        f"{found.images} of {facts.images} {facts.split} images show nothing: one colour from edge to edge",
        f"{labels} Such files come of a covered camera, of a failed export, or of drawing on a canvas without its "
        "image.",
        Measurement(
            f"share of {facts.split} images of one colour with labels",
            round(share, 4),
            LOST.major,
            n=facts.images,
            source=found.files[0] if found.files else None,
        ),
        _FETCH_AGAIN,
        impact,
        found.files,
    )


_DROP_THE_TAG = Remedy(
    "Drop the EXIF orientation of these images, without turning their pixels",
    "Then the framework sees the image that was labelled. (If people have to look at them upright, turn pixels and "
    "labels instead.)",
    code="from PIL import Image\n"
    "with Image.open(path) as image:\n"
    "    exif = image.getexif()\n"
    "    exif.pop(0x0112, None)\n"
    "    image.save(path, quality=95, exif=exif)\n",
)
_FETCH_AGAIN = Remedy(
    "Fetch these images again, or take them out of the split",
    "Their names are given. If they are empty on purpose (background), their label files must be empty too.",
)
