"""Mirrored classes, flip_idx, absent and extreme augmentation; and what only looks like them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from runaudit.diagnostics.augmentation import LIMITS, examine
from runaudit.diagnostics.changed_meaning import LIMITS as MEANING
from runaudit.diagnostics.evidence import Evidence
from runaudit.evaluation.detection_facts import ClassConfusion, ClassErrors, ErrorTypesFacts
from runaudit.evaluation.facts import ClassAccuracy, ClassificationFacts, Confusion
from runaudit.evaluation.label_facts import ClassConfusion as SecondOpinion
from runaudit.evaluation.label_facts import LabelQualityFacts
from runaudit.runs.facts import DatasetFacts
from tests.diagnostics import cases

SIDES = {0: "hand_left", 1: "hand_right"}
OFF = dict.fromkeys(cases.AUGMENTATION, 0.0)


def low(map50: float = 0.5) -> np.ndarray:
    """A curve whose mAP50 ends at `map50`: `cases.run` takes 1.4 times mAP50-95 for it."""
    return cases.smooth(ceiling=map50 / 1.4, noise=0.0)


def named(names: dict[int, str], *, map50: float = 0.5, evaluation: Any = None, **arguments: Any) -> Evidence:
    counts = (100,) * len(names)
    dataset = cases.dataset(counts, counts, names=names)
    return Evidence(cases.run(low(map50), arguments=arguments), dataset=dataset, evaluation=evaluation)


def test_classes_without_sides_pass():
    result = examine(cases.healthy())
    assert result.outcome == "passed"
    assert "fliplr=0.5" in result.reason


def test_mirrored_classes_under_a_flip_are_major():
    result = examine(named(SIDES))
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.affected_classes == ("hand_left", "hand_right")
    assert result.finding.remedies[0].patch == {"fliplr": 0.0}
    assert "mirrored_class" in (result.finding.remedies[0].code or "")
    assert "400 of 400 labels" in result.finding.explanation


def test_a_small_share_of_the_classes_or_a_rare_flip_is_minor():
    many = {index: f"thing{index}" for index in range(18)} | {18: "left arrow", 19: "right arrow"}
    assert len(SIDES) / 20 == LIMITS.meaning.classes
    assert examine(named(many)).outcome == "failed"
    assert examine(named(many | {20: "other"})).outcome == "warned"
    assert examine(named(SIDES, fliplr=0.2)).outcome == "warned"
    assert examine(named(SIDES, fliplr=MEANING.often)).outcome == "failed"


def test_no_flip_no_finding():
    assert examine(named(SIDES, fliplr=0.0)).outcome == "passed"


def test_one_side_alone_is_no_pair():
    assert examine(named({0: "hand_left", 1: "foot"})).outcome == "passed"
    absent = cases.dataset((100, 0), (100, 0), names=SIDES)
    only = examine(Evidence(cases.run(low()), dataset=absent))
    assert only.finding is not None and only.finding.affected_classes == ("hand_left",)


def test_a_map50_that_confusion_would_not_allow_refutes_it():
    result = examine(named(SIDES, map50=0.7))
    assert result.outcome == "passed" and "tells them apart" in result.reason
    assert examine(named(SIDES, map50=0.6)).outcome == "failed"
    # Two of twenty classes could be confused at any mAP50 up to 1 - 0.1 * 0.35.
    many = {index: f"thing{index}" for index in range(18)} | {18: "left arrow", 19: "right arrow"}
    assert examine(named(many, map50=0.95)).outcome == "failed"
    assert examine(named(many, map50=0.98)).outcome == "passed"


def test_the_classes_own_ap_says_more_than_the_mean():
    names = {0: "left", 1: "right", 2: "stop", 3: "go"}
    facts = cases.evaluation(0.5, instances=(100,) * 4, class_map=(0.2, 0.2, 0.6, 0.6))

    def with_map50(value: float, instances: int = 100):
        entries = [
            entry.model_copy(update={"map50": value if entry.class_id < 2 else 0.9, "instances": instances})
            for entry in facts.per_class
        ]
        return facts.model_copy(update={"per_class": tuple(entries)})

    result = examine(named(names, evaluation=with_map50(0.5)))
    assert result.outcome == "failed" and result.finding is not None
    assert (result.finding.impact.value, result.finding.impact.grade) == (pytest.approx(0.2), "observational")
    assert examine(named(names, evaluation=with_map50(0.8))).outcome == "passed"
    # Too few instances to be judged by: what is left is the mean, which leaves room for the confusion.
    assert examine(named(names, evaluation=with_map50(0.8, instances=29))).outcome == "failed"


def with_mistakes(
    counts: dict[tuple[int, int], int], *, unlisted: int = 0, map50: float = 0.5, cls: float = 0.2
) -> Any:
    """An evaluation of two classes of 100 labels with AP50 as given, and with these mistakes (labelled, detected)."""
    facts = cases.evaluation(0.4, instances=(100, 100))
    errors = ErrorTypesFacts(
        foreground=0.5,
        background=0.1,
        max_detections=300,
        confidence=0.001,
        threshold=0.3,
        map50=map50,
        errors=(),
        per_class=tuple(ClassErrors(class_id=index, map50=map50, d_ap={"cls": cls}) for index in (0, 1)),
        confusions=tuple(ClassConfusion(labelled=a, detected=b, count=count) for (a, b), count in counts.items()),
        confused=sum(counts.values()) + unlisted,
    )
    entries = tuple(entry.model_copy(update={"map50": map50}) for entry in facts.per_class)
    return facts.model_copy(update={"error_types": errors, "per_class": entries})


def test_mistakes_that_were_counted_say_most():
    seen = examine(named(SIDES, evaluation=with_mistakes({(0, 1): 45, (1, 0): 50}, map50=0.8)))
    assert seen.outcome == "failed" and seen.finding is not None
    assert (seen.finding.impact.value, seen.finding.impact.grade) == (pytest.approx(0.2), "oracle")
    assert "95 of 200 cases" in seen.finding.explanation
    share = seen.finding.evidence[2]
    assert share.value == pytest.approx(0.475) and share.ci95 is not None and share.ci95[0] > 0.4
    assert examine(named(SIDES, evaluation=with_mistakes({(0, 1): 2, (1, 0): 3}, map50=0.3))).outcome == "passed"


def test_mistakes_near_the_line_leave_it_to_ap():
    near = {(0, 1): 10, (1, 0): 12}
    assert examine(named(SIDES, evaluation=with_mistakes(near, map50=0.8))).outcome == "passed"
    assert examine(named(SIDES, evaluation=with_mistakes(near, map50=0.5))).outcome == "failed"


def test_mistakes_that_are_not_listed_may_be_as_many_as_the_fewest_listed():
    listed = {(0, 1): 9}
    assert examine(named(SIDES, evaluation=with_mistakes(listed))).outcome == "passed"
    assert examine(named(SIDES, evaluation=with_mistakes(listed, unlisted=9))).outcome == "failed"


def test_mistakes_that_cost_little_are_minor_among_many_classes():
    many = SIDES | {index: f"thing{index}" for index in range(2, 25)}
    cheap = with_mistakes({(0, 1): 90, (1, 0): 90}, cls=0.001)
    costly = with_mistakes({(0, 1): 90, (1, 0): 90}, cls=0.3)
    assert examine(named(many, evaluation=cheap)).outcome == "warned"
    assert examine(named(many, evaluation=costly)).outcome == "failed"


def test_a_classifier_s_mistakes_count_too():
    run = cases.run(low()).model_copy(update={"task": "classify", "checkpoint": cases.checkpoint(names=SIDES)})

    def classified(wrong: int) -> str:
        facts = ClassificationFacts(
            split="val",
            images=200,
            top1=1 - wrong / 200,
            top5=1.0,
            ci95={},
            per_class=tuple(
                ClassAccuracy(class_id=index, name=name, images=100, correct=100 - wrong // 2, predicted=100)
                for index, name in SIDES.items()
            ),
            confusions=(
                Confusion(labelled="hand_left", predicted="hand_right", images=wrong // 2),
                Confusion(labelled="hand_right", predicted="hand_left", images=wrong // 2),
            ),
            settings={},
            device="cpu",
            seconds={},
        )
        return examine(Evidence(run, classification=facts)).outcome

    assert (classified(90), classified(4)) == ("failed", "passed")


def test_names_of_the_checkpoint_serve_where_no_data_came():
    run = cases.run(low()).model_copy(update={"checkpoint": cases.checkpoint(names=SIDES)})
    assert examine(cases.curves_only(run)).outcome == "failed"


@pytest.mark.parametrize(
    ("names", "arguments"),
    [
        ({0: "up", 1: "down"}, {"flipud": 0.5}),
        ({0: "left", 1: "right"}, {"fliplr": 0.0, "degrees": 180.0}),
        ({0: "red light", 1: "green light"}, {"hsv_h": 0.5}),
    ],
)
def test_other_changes_that_classes_do_not_survive(names: dict[int, str], arguments: dict[str, float]):
    assert examine(named(names, **arguments)).outcome == "failed"
    assert examine(named(names, fliplr=0.0, degrees=90.0, hsv_h=0.05)).outcome == "passed"


def test_writing_in_a_mirror_is_minor_unless_it_is_read_well():
    digits = {index: str(index) for index in range(10)}
    assert examine(named(digits)).outcome == "warned"
    assert examine(named(digits, map50=0.95)).outcome == "passed"
    assert examine(named(digits, fliplr=0.0)).outcome == "passed"
    assert examine(named({index: str(index) for index in range(9)})).outcome == "passed"


def pose(index: tuple[int, ...] | None, names: dict[int, str] | None = None, **arguments: Any) -> Evidence:
    dataset: DatasetFacts = cases.dataset(names=names or {0: "person", 1: "dog"}, flip_index=index, keypoints=3)
    run = cases.run(low(), arguments=arguments).model_copy(update={"task": "pose"})
    return Evidence(run, dataset=dataset)


@pytest.mark.parametrize("index", [(0, 2, 2), (1, 2, 0), (0, 1, 7), (0, 1, -1)])
def test_a_flip_idx_that_does_not_come_back_is_major(index: tuple[int, ...]):
    result = examine(pose(index))
    assert result.outcome == "failed" and "flip_idx" in result.reason
    assert examine(pose(index, fliplr=0.0)).outcome == "passed"


@pytest.mark.parametrize("index", [(0, 2, 1), (0, 1, 2), None])
def test_an_exchange_of_points_or_none_is_sound(index: tuple[int, ...] | None):
    assert examine(pose(index)).outcome == "passed"


def test_the_framework_does_not_flip_pose_images_without_flip_idx():
    assert examine(pose(None, SIDES)).outcome == "passed"
    assert examine(pose((0, 2, 1), SIDES)).outcome == "failed"


def test_augmentation_that_is_all_off_is_minor_on_little_data():
    result = examine(replace(cases.healthy(), run=cases.run(arguments=OFF)))
    assert result.outcome == "warned" and result.finding is not None
    assert result.finding.remedies[0].patch["mosaic"] == 1.0
    large = cases.dataset(splits={"train": cases.split((500, 400), images=2 * int(LIMITS.images_a_class))})
    assert examine(replace(cases.healthy(), dataset=large, run=cases.run(arguments=OFF))).outcome == "passed"


@pytest.mark.parametrize(("key", "value"), [("scale", 0.5), ("scale", [0.5, 1.5]), ("degrees", 5.0), ("hsv_v", 0.1)])
def test_some_augmentation_is_augmentation(key: str, value: Any):
    assert examine(replace(cases.healthy(), run=cases.run(arguments=OFF | {key: value}))).outcome == "passed"


def test_mosaic_that_is_closed_before_it_begins_is_none():
    closed = cases.run(arguments=OFF | {"mosaic": 1.0, "close_mosaic": cases.EPOCHS})
    assert examine(replace(cases.healthy(), run=closed)).outcome == "warned"
    open_to_the_end = cases.run(arguments=OFF | {"mosaic": 1.0, "close_mosaic": 0})
    assert examine(replace(cases.healthy(), run=open_to_the_end)).outcome == "passed"


def test_absent_augmentation_with_overfitting_points_to_it():
    metric = cases.smooth() * (1 - 0.3 * np.linspace(0, 1, cases.EPOCHS))
    val = cases.falling(seed=2) * (1 + np.linspace(0, 1, cases.EPOCHS))
    overfitted = replace(cases.healthy(), run=cases.run(metric, val=val, arguments=OFF), interventions=())
    result = examine(overfitted)
    assert result.outcome == "warned" and result.finding is not None
    assert "See overfitting" in result.finding.explanation
    augmented = replace(overfitted, run=cases.run(metric, val=val))
    assert examine(augmented).outcome == "passed"


@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        ({"perspective": 0.001}, "passed"),
        ({"perspective": 0.01}, "warned"),
        ({"scale": 0.99}, "passed"),
        ({"scale": 1.0}, "warned"),
    ],
)
def test_values_beyond_their_range(arguments: dict[str, float], outcome: str):
    assert examine(replace(cases.healthy(), run=cases.run(arguments=arguments))).outcome == outcome


def test_rotation_is_a_fault_only_with_loose_boxes():
    turned = cases.run(cases.smooth(), arguments={"degrees": 90.0})
    assert examine(replace(cases.healthy(), run=turned)).outcome == "passed"
    assert turned.curves is not None
    metrics = dict(turned.curves.metrics)
    metrics["map50"] = tuple(0.9 for _ in metrics["map50"])
    metrics["map50_95"] = tuple(0.4 for _ in metrics["map50_95"])
    loose = cases.with_curves(turned, metrics=metrics)
    assert examine(replace(cases.healthy(), run=loose)).outcome == "warned"
    plain = cases.with_curves(cases.run(), metrics=metrics)
    assert examine(replace(cases.healthy(), run=plain)).outcome == "passed"


def test_what_is_missing_is_said():
    nothing = dict.fromkeys(cases.AUGMENTATION)
    assert examine(cases.curves_only(cases.run(arguments=nothing))).outcome == "not_run"
    unnamed = examine(cases.curves_only(cases.run()))
    assert unnamed.outcome == "inconclusive" and "names" in unnamed.reason
    run = cases.run(arguments=OFF).model_copy(update={"checkpoint": cases.checkpoint()})
    assert "too small" in examine(cases.curves_only(run)).reason


@pytest.mark.parametrize(("both", "fliplr", "outcome"), [(60, 0.5, "failed"), (60, 0.1, "warned"), (12, 0.5, "passed")])
def test_classes_that_are_told_apart_but_shown_as_both_were_taught_both(both: int, fliplr: float, outcome: str):
    names = {0: "arrow left", 1: "arrow right", 2: "bar"}
    opinions = (
        SecondOpinion(labelled=0, detected=1, labels=both // 2),
        SecondOpinion(labelled=1, detected=0, labels=both // 2),
        SecondOpinion(labelled=2, detected=0, labels=90),
    )
    quality = LabelQualityFacts(second_opinions=opinions)
    facts = cases.evaluation(0.85, instances=(50, 50, 90), label_quality=quality)
    entries = tuple(entry.model_copy(update={"map50": 0.95}) for entry in facts.per_class)
    result = examine(named(names, evaluation=facts.model_copy(update={"per_class": entries}), fliplr=fliplr))
    assert result.outcome == outcome
    if result.finding is not None:
        assert f"{both} of 100 such objects" in result.finding.explanation
        assert result.finding.affected_classes == ("arrow left", "arrow right")
