"""EXIF rotation, bit depth, channels, corrupt or truncated files: are images read as they were labelled?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from runaudit.diagnostics.answers import found, not_run, passed, why_absent
from runaudit.diagnostics.evidence import Check, CheckResult, Evidence, Measurement, Remedy, Severity
from runaudit.diagnostics.image_problems import Problem, blank, turned_after_labelling
from runaudit.diagnostics.lost_images import LIMITS as LOST
from runaudit.diagnostics.lost_images import Thresholds as LostThresholds
from runaudit.diagnostics.lost_images import severity_of_loss
from runaudit.diagnostics.ranking import SEVERITIES
from runaudit.diagnostics.thresholds import threshold
from runaudit.evaluation.facts import EvaluationFacts
from runaudit.runs.facts import DatasetFacts, ImageCensus, Split, SplitFacts

CAUSE: Final = "image_format"


@dataclass(frozen=True)
class Thresholds:
    lost: LostThresholds = LOST
    contrast: float = threshold(
        0.5,
        "Difference between train and val of the share of grey images, or of those above 8 bits. With 20 images a "
        "split "
        "its standard error is at most 0.16: no random split makes such a difference.",
    )
    contrast_images: int = threshold(20, "Images that each split needs for the contrast; see there.")
    bits: int = threshold(8, "Both families decode to 8 bits a channel (yolo.md C11, 55).")


LIMITS = Thresholds()
UNVERIFIED: Final = "image_unverified"
"""the flaw of an image that there was no memory to look at (`evaluation.image_verification`)"""


def examine(evidence: Evidence) -> CheckResult:
    dataset = evidence.dataset
    if dataset is None:
        return not_run(CAUSE, why_absent(evidence, "dataset"))
    if not any(_seen(split) for split in dataset.splits.values()):
        return not_run(CAUSE, "No image header was read.")
    problems = [problem for name, split in dataset.splits.items() for problem in _problems(name, split, evidence)]
    problems += blank(evidence)
    problems += _contrasts(dataset)
    problems += _not_decoded(dataset, evidence.evaluation)
    problems.sort(key=lambda problem: (SEVERITIES.index(problem.severity), -problem.share))
    return _finding(problems) if problems else _sound(dataset)


def _census(split: SplitFacts) -> ImageCensus:
    return split.image_census or ImageCensus()


def damaged_of(census: ImageCensus) -> dict[str, int]:
    """Images that were found broken, by what was found; those that there was no memory to look at are not."""
    return {flaw: images for flaw, images in census.flawed.items() if flaw != UNVERIFIED}


def _rejected(split: SplitFacts) -> int:
    return sum(count for code, count in split.rejected_by.items() if code.startswith("image"))


def _seen(split: SplitFacts) -> int:
    return _census(split).images + _rejected(split)


def _problems(name: Split, split: SplitFacts, evidence: Evidence) -> Iterator[Problem]:
    census, total = _census(split), _seen(split)
    if not total:
        return
    if rejected := _rejected(split):
        yield _unusable(name, split, rejected, total)
    if damaged_of(census):
        yield _flawed(name, split, total)
    # What was looked at whole needs no guess by its end.
    if not census.verified and census.unfinished >= LOST.at_stake * total and census.unfinished:
        yield _cut_off(name, split, census.unfinished, total)
    evaluated = evidence.evaluation is not None and evidence.evaluation.split == name
    if evaluated and (misdrawn := turned_after_labelling(evidence, split)) is not None:
        yield misdrawn
    elif (turned := census.turned) >= LOST.at_stake * total and turned:
        yield _turned(name, split, turned, total)
    deep = _deep(census)
    if deep >= LOST.at_stake * total and deep:
        yield _too_deep(name, split, deep, total)
    cmyk = census.channels.get("cmyk", 0)
    if cmyk >= LOST.at_stake * total and cmyk:
        yield _four_colours(name, split, cmyk, total)


def _deep(census: ImageCensus) -> int:
    return sum(images for bits, images in census.bits.items() if bits > LIMITS.bits)


def _unusable(name: Split, split: SplitFacts, rejected: int, total: int) -> Problem:
    kinds = ", ".join(
        f"{_WORDS.get(code, code)} ({count})"
        for code, count in sorted(split.rejected_by.items())
        if code.startswith("image")
    )
    places = [note.place for note in split.notes if note.code.startswith("image") and note.place is not None]
    severity: Severity = "critical" if rejected == total and name != "test" else severity_of_loss(rejected / total)
    return Problem(
        severity,
        rejected / total,
        total,
        f"{rejected} of {total} {name} images can't be used",
        f"The framework drops them in silence: {kinds}.",
        Measurement(
            f"share of {name} images dropped",
            round(rejected / total, 4),
            LOST.major,
            n=total,
            source=places[0] if places else split.source,
        ),
        _REPLACE,
    )


def _cut_off(name: Split, split: SplitFacts, unfinished: int, total: int) -> Problem:
    return Problem(
        severity_of_loss(unfinished / total),
        unfinished / total,
        total,
        f"{unfinished} of {total} {name} images end too early",
        "They lack the mark that ends a JPEG or PNG. A decoder fills what is missing with grey; ultralytics writes "
        "such "
        "JPEGs anew in place, and drops such PNGs.",
        _share(f"share of {name} images cut off", unfinished, total, LOST.at_stake, split),
        _REPLACE,
    )


def _flawed(name: Split, split: SplitFacts, total: int) -> Problem:
    """Images with a sound header that were looked at whole and found broken."""
    flawed = damaged_of(_census(split))
    count = sum(flawed.values())
    places = [note.place for note in split.notes if note.code in flawed and note.place is not None]
    kinds = ", ".join(f"{_WORDS.get(code, code)} ({images})" for code, images in sorted(flawed.items()))
    return Problem(
        severity_of_loss(count / total),
        count / total,
        total,
        f"{count} of {total} {name} images are damaged behind their header",
        f"{kinds}. Of what was damaged before training ultralytics drops PNGs, and writes JPEGs without an end anew in "
        "place; any other image that gives no picture stops it.",
        Measurement(
            f"share of {name} images damaged",
            round(count / total, 4),
            LOST.major,
            n=total,
            source=places[0] if places else split.source,
        ),
        _REPLACE,
    )


def _not_decoded(dataset: DatasetFacts, evaluation: EvaluationFacts | None) -> Iterator[Problem]:
    """Validation images that gave no picture when the model was run, and were not found broken before."""
    split = dataset.splits.get(evaluation.split) if evaluation is not None else None  # type: ignore[call-overload]
    if evaluation is None or split is None:
        return
    known = {note.place for note in split.notes if note.code in damaged_of(_census(split))}
    places = [note.place for note in evaluation.skipped if note.place not in known]
    if places and len(evaluation.skipped) > sum(damaged_of(_census(split)).values()):
        total = evaluation.images + len(evaluation.skipped)
        yield Problem(
            severity_of_loss(len(places) / total),
            len(places) / total,
            total,
            f"{len(places)} of {total} {evaluation.split} images gave no picture when the model was run",
            "The framework would stop at them, or drop them in silence; here they were left out of the figures.",
            Measurement(
                f"share of {evaluation.split} images without a picture",
                round(len(places) / total, 4),
                LOST.major,
                n=total,
                source=places[0],
            ),
            _REPLACE,
        )


def _turned(name: Split, split: SplitFacts, turned: int, total: int) -> Problem:
    return Problem(
        "minor",
        turned / total,
        total,
        f"{turned} of {total} {name} images are turned by their EXIF tag",
        "The framework turns them before it looks at the labels. If the labels were drawn by a tool that ignores the "
        "tag, "
        "all boxes of these images lie elsewhere; from the headers alone that can't be told.",
        _share(f"share of {name} images with EXIF orientation 5 to 8", turned, total, LOST.at_stake, split),
        _BAKE,
    )


def _too_deep(name: Split, split: SplitFacts, deep: int, total: int) -> Problem:
    return Problem(
        "minor",
        deep / total,
        total,
        f"{deep} of {total} {name} images have more than 8 bits a channel",
        "They are read with 8 bits, of which a sensor's 12 bits in a 16-bit file leave 4: dark and flat.",
        _share(f"share of {name} images above 8 bits", deep, total, LOST.at_stake, split),
        _SCALE,
    )


def _four_colours(name: Split, split: SplitFacts, cmyk: int, total: int) -> Problem:
    return Problem(
        "minor",
        cmyk / total,
        total,
        f"{cmyk} of {total} {name} images are CMYK",
        "Libraries convert print colours differently: what the annotator saw need not be what the model sees.",
        _share(f"share of {name} images in CMYK", cmyk, total, LOST.at_stake, split),
        Remedy("Convert them to RGB", "With their colour profile, once, before labelling."),
    )


def _share(name: str, count: int, total: int, limit: float, split: SplitFacts) -> Measurement:
    return Measurement(name, round(count / total, 4), limit, n=total, source=split.source)


def _contrasts(dataset: DatasetFacts) -> Iterator[Problem]:
    """Properties that nearly all images of one split have and hardly any of the other."""
    train, val = dataset.splits.get("train"), dataset.splits.get("val")
    if train is None or val is None:
        return
    first, second = _census(train), _census(val)
    if min(first.images, second.images) < LIMITS.contrast_images:
        return
    properties = (
        ("grey", _grey(first) / first.images, _grey(second) / second.images),
        ("above 8 bits", _deep(first) / first.images, _deep(second) / second.images),
    )
    for what, in_train, in_val in properties:
        if abs(in_val - in_train) >= LIMITS.contrast:
            yield Problem(
                "major",
                abs(in_val - in_train),
                second.images,
                f"{in_val:.0%} of the val images are {what}, {in_train:.0%} of the train images",
                "The model is validated on another kind of image than it was trained on.",
                Measurement(
                    f"share of val images {what}",
                    round(in_val, 4),
                    threshold=round(in_train, 4),
                    n=second.images,
                    source=val.source,
                ),
                Remedy("Give both splits the same kind of images", "Convert one of them, or split the data again."),
            )


def _grey(census: ImageCensus) -> int:
    return census.channels.get("grey", 0) + census.channels.get("grey_alpha", 0)


def _finding(problems: list[Problem]) -> CheckResult:
    """All problems in one finding, headed by the gravest."""
    first = problems[0]
    more = "".join(f" Also: {problem.title}." for problem in problems[1:])
    return found(
        CAUSE,
        first.severity,
        first.title,
        first.explanation + more,
        evidence=tuple(problem.evidence for problem in problems),
        impact=first.impact,
        remedies=tuple({problem.remedy.title: problem.remedy for problem in problems}.values()),
        images=tuple(dict.fromkeys(file for problem in problems for file in problem.files)),
        effect=first.share,
        n=first.images,
    )


def _sound(dataset: DatasetFacts) -> CheckResult:
    formats: dict[str, int] = {}
    for split in dataset.splits.values():
        for kind, count in _census(split).formats.items():
            formats[kind] = formats.get(kind, 0) + count
    images = sum(_seen(split) for split in dataset.splits.values())
    return passed(
        CAUSE,
        f"All {images} images can be read ({_listed(formats)}); next to none is turned by EXIF, has more than 8 bits a "
        f"channel, or is cut off. {_how_far(dataset)}",
        effect=0.0,
        n=images,
    )


def _how_far(dataset: DatasetFacts) -> str:
    """What the images were judged by."""
    censuses = [_census(split) for split in dataset.splits.values() if _seen(split)]
    if unverified := sum(census.flawed.get(UNVERIFIED, 0) for census in censuses):
        return f"There was no memory to look at {unverified} of them: whether they are damaged is not known."
    if all(census.verified and census.decoded for census in censuses):
        return "Each of them was looked at whole, and all but PNGs were decoded."
    if all(census.verified for census in censuses):
        return "Each file was looked at whole; pixels are decoded only where validation is run, or with depth `deep`."
    return "Pixels are looked at only where validation is run."


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items(), key=lambda item: -item[1]))


_WORDS: Final = {
    "image_unreadable": "unreadable",
    "image_too_small": "fewer than 10 pixels a side",
    "image_too_large": "absurdly large",
    "image_undecodable": "Without a picture",
    "image_damaged": "With data missing or out of place",
    "image_size_differs": "Of another size than their header says",
}
_REPLACE = Remedy(
    "Replace or remove the files that are named",
    "Mostly broken downloads and copies; compare their sizes with the originals.",
)
_BAKE = Remedy(
    "Turn the pixels and drop the tag, then look at the boxes",
    "Look at some of these images with their boxes first: if the boxes fit the turned image, the labels are right.",
    code="from PIL import Image, ImageOps\n"
    "with Image.open(path) as image:\n"
    "    ImageOps.exif_transpose(image).save(path, quality=95)\n",
)
_SCALE = Remedy(
    "Scale to 8 bits by the range that is used",
    "Once for all images, by the same limits, so that brightness stays comparable.",
    code="low, high = np.percentile(sample_of_all_images, [0.1, 99.9])\n"
    "image8 = (np.clip((image16 - low) / (high - low), 0, 1) * 255).astype(np.uint8)\n",
)

CHECK = Check(
    cause=CAUSE,
    title="Image format",
    question=__doc__ or "",
    statistic=(
        "From all images, split by split: shares of images that can't be used, that are damaged (by the structure of "
        "their files, with depth `deep` by decoding them), whose "
        "EXIF orientation (5 to 8) swaps width and height, with more than 8 bits a channel, in CMYK; and the "
        "difference "
        "between train and val of the shares of grey and of deep images. From the validated images: those of one "
        "colour, and mAP50-95 without them; and where EXIF turns images, mAP50-95 with their labels turned too."
    ),
    thresholds=LIMITS,
    false_positives=(
        "Photographs of phones are turned by EXIF and mostly labelled as seen: minor, to be looked at.",
        "16-bit images whose full range is used lose little.",
        "Without a look at the whole file, JPEGs with more than 64 bytes behind their end mark count as cut off.",
        "Colour files that hold only grey pixels count as colour.",
    ),
    references=("yolo.md A5, C4 (26), C11 (55)", "Hestness et al., arXiv:1712.00409"),
    examine=examine,
)
