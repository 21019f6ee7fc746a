"""Labels that were written by another rule than they are read by, as the detections show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.evidence import Evidence, Impact, Measurement, Remedy
from runaudit.diagnostics.label_issues import Issue
from runaudit.diagnostics.review_remedies import rewriting
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.label_facts import BEFORE_TURNING, READ_AS


@dataclass(frozen=True)
class _Rule:
    """What the labels are instead of centre and size on their image, and how to write them anew."""

    title: str
    remedy: Remedy


def reading_of(evidence: Evidence) -> InterventionFacts | None:
    """The rule by which the detections agree with the labels far better; None if none was found."""
    return next((change for change in evidence.interventions if change.name.startswith(READ_AS)), None)


def written_otherwise(evidence: Evidence) -> list[Issue]:
    """The issue of labels written by another rule, but for those drawn before EXIF turned the image: see image_format.

    Critical: until they are read by their own rule, no figure of this split means anything.
    """
    reading = reading_of(evidence)
    if reading is None or reading.name == READ_AS + BEFORE_TURNING:
        return []
    rule = _RULES[reading.name.removeprefix(READ_AS)]
    return [
        Issue(
            "critical",
            rule.title,
            f"Read as they stand, and whatever their class, they give mAP50-95 {reading.before:.3f}; read so, the same "
            f"detections give {reading.after:.3f}. The model finds the objects: it is the label files that say "
            "something else than `class x_center y_center width height`.",
            gained(reading),
            (rule.remedy,),
            reading.difference,
            reading.ci95,
            reading.images,
            impact_of(reading),
        )
    ]


def gained(reading: InterventionFacts) -> tuple[Measurement, ...]:
    """What was measured."""
    return (
        Measurement(
            f"mAP50-95 gained by reading them so ({reading.description.rstrip('.')})",
            round(reading.difference, 4),
            0.0,
            reading.ci95,
            reading.images,
        ),
    )


def impact_of(reading: InterventionFacts) -> Impact:
    low, high = reading.ci95 or (reading.difference, reading.difference)
    return Impact("lowers", max(0.0, reading.difference), (max(0.0, low), max(0.0, high)), "intervention")


_REWRITE: Final = rewriting("class and four numbers can be rewritten", "a, b, c, d", "x, y, width, height = {rule}")
_EXPORT: Final = "Or correct the export, so that the next one is right too."
_PADDED: Final = Remedy(
    "Take the padding off the labels, or hand in the padded images",
    "They were drawn (or exported) on a square that held the image and a margin. Each axis has to be stretched by "
    "the longer side over its own, from the middle or from the corner where the image stood.",
)
_PAIRING: Final = Remedy(
    "Pair images and label files by name again",
    "A file was left out or added when they were numbered, so that each label file describes its neighbour's image. "
    "Export images and labels together, under the names that the images have.",
)


def _rewritten(rule: str) -> Remedy:
    return Remedy("Rewrite the label files", _EXPORT, code=_REWRITE.format(rule=rule))


_RULES: Final = {
    "corners": _Rule(
        "Labels are two corners (x1 y1 x2 y2), read as centre and size",
        _rewritten("(a + c) / 2, (b + d) / 2, c - a, d - b"),
    ),
    "corner_and_size": _Rule(
        "Labels are the upper left corner and the size, read as centre and size",
        _rewritten("a + c / 2, b + d / 2, c, d"),
    ),
    "axes_swapped": _Rule("Labels have their axes swapped (y x height width)", _rewritten("b, a, d, c")),
    "mirrored": _Rule(
        "Labels are those of the mirrored image: images or labels were flipped, not both",
        _rewritten("1 - a, b, c, d"),
    ),
    "upside_down": _Rule("Labels count from the lower edge of the image", _rewritten("a, 1 - b, c, d")),
    "padded_square": _Rule("Labels are of another frame: the image padded to a square, in its middle", _PADDED),
    "padded_below": _Rule("Labels are of another frame: the image padded to a square, in its corner", _PADDED),
    "next_image": _Rule("Each label file holds the labels of the next image", _PAIRING),
    "previous_image": _Rule("Each label file holds the labels of the previous image", _PAIRING),
}
