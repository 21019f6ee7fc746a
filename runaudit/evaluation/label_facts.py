"""The facts on the quality of labels: suspects, rates of errors, habits of annotators, permuted ids."""

from __future__ import annotations

from typing import Final, Literal

from runaudit.runs.facts import Facts

SuspectKind = Literal["overlooked", "spurious", "swapped", "misplaced", "duplicated"]
Contradiction = Literal["overlooked", "swapped", "misplaced"]
"""what a detection is of that agrees with no label: of none, of one of another class, beside one"""
Interval = tuple[float, float]
Box = tuple[float, float, float, float]
READ_AS: Final = "labels_read_as_"
"""begins the name of an intervention in which labels were read by another rule (`label_readings`)"""
BEFORE_TURNING: Final = "before_turning"
"""the rule of labels drawn before EXIF's orientation turned the image"""


class SuspectFacts(Facts):
    """A label that is probably wrong, or an object that probably lacks one.

    `image` is its file. `class_id` and `box` (x1, y1, x2, y2 in pixels of the image) are the label's, None for an
    overlooked object; `suggested_class` and `suggested_box` what the model sees instead, None where a label should go.
    `score` in [0, 1] is the estimated probability that the label, not the model, is wrong. `at_stake` is that times the
    mAP50-95 that putting it right moves, None where that was not computed.
    """

    kind: SuspectKind
    image: str
    class_id: int | None = None
    box: Box | None = None
    suggested_class: int | None = None
    suggested_box: Box | None = None
    score: float
    at_stake: float | None = None


class LabelErrorRate(Facts):
    """How many labels (or, of `overlooked`, objects) are wrong in one way.

    `rate` is the estimated share with the model's own mistakes taken off, and `ci95` its interval by resampling images;
    both None where too little is known, and `why` then says why. `n` counts what was judged, `candidates` the suspects
    found, `classes` those of each class (the suggested one of an overlooked object), of the classes with any.
    """

    kind: SuspectKind
    rate: float | None
    ci95: Interval | None
    n: int
    candidates: int
    classes: dict[int, int] = {}
    why: str | None = None


class BoxHabitFacts(Facts):
    """How labels differ from sure detections on average; of one class, or of all (`class_id` None).

    `width` and `height` are label over detection, 1 where alike; `right` and `down` how far the label's centre is off,
    over the detection's sides. Edges at the border of the image don't count, so that each edge has boxes of its own;
    `boxes` are those of the edge that has fewest. Intervals take images as the units drawn.
    """

    class_id: int | None = None
    boxes: int
    width: float
    width_ci95: Interval
    height: float
    height_ci95: Interval
    right: float
    right_ci95: Interval
    down: float
    down_ci95: Interval


class ClassPermutationFacts(Facts):
    """mAP50-95 with class ids as they are, blind to classes, and with ids mapped by the best permutation.

    `mapping` has the ids that it moves, from the model's to the labels': {} where none is better than what stands.
    `gain` is what it adds to mAP50-95, with `ci95` by resampling images. `kept` and `moved` are, over found labels of
    the moved classes, the shares detected with their own id and with that which the mapping asks for;
    `n` counts these labels.
    """

    map50_95: float
    agnostic_map50_95: float
    mapped_map50_95: float
    mapping: dict[int, int] = {}
    gain: float = 0.0
    ci95: Interval | None = None
    kept: float | None = None
    moved: float | None = None
    n: int = 0


class ClassConfusion(Facts):
    """How many labels of the class `labelled` the model detects as the class `detected`."""

    labelled: int
    detected: int
    labels: int


class LabelQualityFacts(Facts):
    """All that detections tell of the labels of one split.

    `suspects` are the likeliest, at most `label_review.MOST_SUSPECTS`, by falling `at_stake`; `total_suspects` counts
    those with a score of 0.5 or more. `too_little` says why the model can't judge labels, where it can't.
    """

    rates: tuple[LabelErrorRate, ...] = ()
    suspects: tuple[SuspectFacts, ...] = ()
    total_suspects: int = 0
    habits: tuple[BoxHabitFacts, ...] = ()
    permutation: ClassPermutationFacts | None = None
    confusions: tuple[ClassConfusion, ...] = ()
    """by the best detection of each label, the most frequent ones, at most `label_review.MOST_CONFUSIONS`"""
    second_opinions: tuple[ClassConfusion, ...] = ()
    """of labels detected as their own class and as another, both at the default confidence; as many"""
    found: dict[int, int] = {}
    """class -> labels of it with a detection of any class on them"""
    too_little: str | None = None


class ContrastFacts(Facts):
    """What share of the detections contradicts the training labels in one way, and what share of equally sure ones the
    validation labels (`label_contrast`); in [0, 1].

    `difference` is training less validation, `ci95` its interval by resampling images; `detections` counts those of
    training. `images` are the training images with such detections, the surest first.
    """

    kind: Contradiction
    training: float
    validation: float
    difference: float
    ci95: Interval
    detections: int
    images: tuple[str, ...] = ()
