"""Whether augmentation makes one class look like another, by the classes' names, the arguments, and the metrics."""

from __future__ import annotations

from dataclasses import dataclass

from runaudit.diagnostics.class_support import ClassSupport, best_map50
from runaudit.diagnostics.evidence import Evidence, Measurement, Remedy, Severity
from runaudit.diagnostics.history import number
from runaudit.diagnostics.opposite_names import Change, Pairs, characters, opposite_pairs
from runaudit.diagnostics.parts import Part
from runaudit.diagnostics.thresholds import threshold
from runaudit.diagnostics.told_apart import LIMITS as TOLD
from runaudit.diagnostics.told_apart import Thresholds as ToldThresholds
from runaudit.diagnostics.told_apart import confusion_impact, doubts_of, mistakes_of, told_apart, told_evidence
from runaudit.runs.facts import RunFacts


@dataclass(frozen=True)
class Thresholds:
    classes: float = threshold(
        0.1,
        "Share of the classes in such pairs from which the finding is major: at 0.1 what they lose, up to 0.35 of "
        "mAP50 each, is 3.5 points of the mean. In a reported case mAP went from 0.5 to 0.9 without flips (yolo.md "
        "row 51).",
    )
    at_stake: float = threshold(0.02, "The report contract's 2 points of mAP, of whatever share of the classes.")
    often: float = threshold(
        0.25,
        "Probability of the flip from which it is major. At the default of 0.5 half of what training shows has the "
        "label of the other class, at a quarter every fourth.",
    )
    half_turn: float = threshold(135.0, "Degrees of rotation beyond which left is nearer to right than to up or down.")
    hue: float = threshold(
        0.1,
        "hsv_h moves the hue by up to this share of the colour circle; red and yellow are 0.17 apart, and the default "
        "is 0.015 (yolo.md A3).",
    )
    characters: int = threshold(
        10, "Classes of single letters or digits that make a data set one of writing: the ten digits."
    )
    legible: float = threshold(0.9, "mAP50 from which mirrored writing is not seen to have cost anything.")
    told: ToldThresholds = TOLD


LIMITS = Thresholds()


@dataclass(frozen=True)
class ChangedMeaning:
    """A change of the image that an argument asks for, and why it changes what a class is."""

    change: Change
    argument: str
    value: float
    does: str
    without: dict[str, object]


def value_of(run: RunFacts, key: str) -> float:
    """The training argument as a number; 0 where it isn't stated."""
    return number(run.argument(key), 0.0)


def place_of(run: RunFacts, key: str) -> str | None:
    """Where the argument stands, `args.yaml:41`."""
    return run.configuration.places.get(key) if run.configuration is not None else None


def changes(run: RunFacts) -> tuple[ChangedMeaning, ...]:
    """What the arguments do that some classes do not survive. A pose run without flip_idx is not flipped at all."""
    fliplr, flipud, degrees, hue = (value_of(run, key) for key in ("fliplr", "flipud", "degrees", "hsv_h"))
    possible = (
        ChangedMeaning("fliplr", "fliplr", fliplr, "mirrors images left to right", {"fliplr": 0.0}),
        ChangedMeaning("flipud", "flipud", flipud, "mirrors images top to bottom", {"flipud": 0.0}),
        ChangedMeaning("rotation", "degrees", degrees, "turns images by up to half a turn", {"degrees": 10.0}),
        ChangedMeaning("hue", "hsv_h", hue, "changes colours for others", {"hsv_h": 0.015}),
    )
    least = {"rotation": LIMITS.half_turn, "hue": LIMITS.hue}
    return tuple(change for change in possible if change.value > least.get(change.change, 0.0))


def confusion(evidence: Evidence, change: ChangedMeaning, support: ClassSupport) -> Part | None:
    """Classes that the change makes of one another, unless the metrics show that they are told apart."""
    run = evidence.run
    if change.change in ("fliplr", "flipud") and _not_flipped(evidence):
        return None
    pairs = opposite_pairs(support.names, change.change)
    affected = sorted({index for pair in pairs for index in pair if support.occurs(index)})
    if not affected or support.classes == 0:
        return None
    share = len(affected) / support.classes
    mistakes = mistakes_of(evidence, support, pairs)
    if told_apart(evidence, mistakes, affected, share):
        return _shown_as_both(evidence, change, support, pairs, affected)
    impact = confusion_impact(evidence, affected)
    often = change.value >= LIMITS.often or change.change in ("rotation", "hue")
    costly = impact.value is not None and impact.value >= LIMITS.at_stake
    severity: Severity = "major" if often and (share >= LIMITS.classes or costly) else "minor"
    named = [f"{support.name(first)} / {support.name(second)}" for first, second in pairs]
    instances = support.instances_of(affected)
    counted = f" They have {instances} of {support.instances} labels." if support.instances else ""
    return Part(
        severity,
        f"{change.argument}={change.value:g} makes classes of one another: {', '.join(named[:3])}"
        + (f" and {len(named) - 3} more pairs" if len(named) > 3 else ""),
        f"Training {change.does} and keeps the class, so that what is shown as the one is often labelled as the other. "
        + (
            "The names say so; whether the objects look that way should be seen."
            if mistakes is None
            else f"The model takes the one for the other in {mistakes.count} of {mistakes.labels} cases."
        )
        + counted,
        (
            Measurement(
                "share of the classes that are in such pairs",
                round(share, 4),
                LIMITS.classes,
                n=support.classes,
                source=support.source,
            ),
            Measurement(change.argument, change.value, threshold=0, source=place_of(run, change.argument)),
            *told_evidence(evidence, mistakes, affected),
        ),
        (_without(change),),
        impact,
        tuple(support.name(index) for index in affected),
        share,
        support.classes,
    )


def _shown_as_both(
    evidence: Evidence, change: ChangedMeaning, support: ClassSupport, pairs: Pairs, affected: list[int]
) -> Part | None:
    """Classes that are told apart by their surest detection, but shown as the opposite too: what flips taught."""
    doubts = doubts_of(evidence, pairs)
    if doubts is None or doubts.ci95[0] < TOLD.doubted:
        return None
    named = [f"{support.name(first)} / {support.name(second)}" for first, second in pairs]
    return Part(
        "major" if change.value >= LIMITS.often else "minor",
        f"{change.argument}={change.value:g} made the model see both of {', '.join(named[:3])} in one object",
        f"Training {change.does} and keeps the class. The right class still has the surest detection, but "
        f"{doubts.count} of {doubts.labels} such objects are detected as the opposite as well, at the default "
        "confidence of 0.25, where each of these counts as a false detection.",
        (
            Measurement(
                "share of their labels that are detected as both",
                round(doubts.share, 4),
                TOLD.doubted,
                doubts.ci95,
                doubts.labels,
            ),
            Measurement(change.argument, change.value, threshold=0, source=place_of(evidence.run, change.argument)),
        ),
        (_without(change),),
        confusion_impact(evidence, affected),
        tuple(support.name(index) for index in affected),
        doubts.share,
        doubts.labels,
    )


def _without(change: ChangedMeaning) -> Remedy:
    return Remedy(
        f"Train with {', '.join(f'{key}={value}' for key, value in change.without.items())}",
        "What the classes are told apart by then stays as it is labelled.",
        dict(change.without),
        _SWAP_CODE if change.change == "fliplr" else None,
        "https://github.com/ultralytics/yolov5/issues/2520",
    )


def _not_flipped(evidence: Evidence) -> bool:
    """ultralytics switches both flips off where a pose data set has no flip_idx (data/augment.py v8_transforms)."""
    dataset = evidence.dataset
    return (
        evidence.run.task == "pose"
        and evidence.run.framework == "ultralytics"
        and dataset is not None
        and dataset.flip_index is None
    )


def writing(evidence: Evidence, support: ClassSupport) -> Part | None:
    """Letters and digits are no letters and digits in a mirror, even where none becomes another."""
    run = evidence.run
    flips = {key: value_of(run, key) for key in ("fliplr", "flipud") if value_of(run, key) > 0}
    written = [index for index in characters(support.names) if support.occurs(index)]
    best = best_map50(evidence)
    if not flips or len(written) < LIMITS.characters or (best is not None and best >= LIMITS.legible):
        return None
    key = next(iter(flips))
    return Part(
        "minor",
        f"{len(written)} classes are letters or digits, and {key}={flips[key]:g} shows them mirrored",
        "No image that the model is used on shows such shapes, and some come close to other characters.",
        (
            Measurement("classes of single characters", len(written), LIMITS.characters, n=support.classes),
            Measurement(key, flips[key], threshold=0, source=place_of(run, key)),
        ),
        (Remedy("Train without flips", "Writing has a direction.", dict.fromkeys(flips, 0.0)),),
        classes=tuple(support.name(index) for index in written),
        effect=len(written) / max(1, support.classes),
        n=support.classes,
    )


def flip_index(evidence: Evidence) -> Part | None:
    """A flip_idx that is no exchange of points mixes keypoints up in every mirrored image."""
    dataset = evidence.dataset
    if dataset is None or dataset.flip_index is None or evidence.run.task != "pose":
        return None
    index, points = dataset.flip_index, len(dataset.flip_index)
    flips = max(value_of(evidence.run, "fliplr"), value_of(evidence.run, "flipud"))
    wrong = [point for point, other in enumerate(index) if not 0 <= other < points or index[other] != point]
    if not wrong or flips <= 0:
        return None
    return Part(
        "major",
        f"flip_idx is no exchange of keypoints: {len(wrong)} of {points} points don't come back",
        "Mirroring twice must give each point its own index again, index[index[i]] = i. As it stands, mirrored images "
        "teach wrong points.",
        (Measurement("keypoints that two mirrors move", len(wrong), 0, n=points, source=dataset.source),),
        (
            Remedy(
                "Correct flip_idx, or train without flips",
                "It names for each keypoint the one that it becomes in a mirror: left eye and right eye exchange.",
                {"fliplr": 0.0, "flipud": 0.0},
                reference="https://docs.ultralytics.com/datasets/pose/",
            ),
        ),
        effect=len(wrong) / points,
        n=points,
    )


_SWAP_CODE = """\
# Instead of switching the flip off: exchange the classes with the sides (in a training loop of one's own).
if random.random() < 0.5:
    image, boxes = flip_left_right(image, boxes)
    classes = mirrored_class[classes]  # mirrored_class[left] = right, mirrored_class[right] = left, else itself
"""
