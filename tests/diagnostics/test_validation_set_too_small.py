"""The size of the validation split: width, instances, classes that can't be judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.diagnostics.validation_set_too_small import examine
from runaudit.runs.facts import Note, SameImages
from tests.diagnostics import cases


def judged(**changes: object):
    return examine(replace(cases.healthy(), evaluation=cases.evaluation(**changes)))


def test_a_narrow_interval_passes_with_its_width():
    result = judged(half_width=0.02)
    assert result.outcome == "passed" and result.effect == pytest.approx(0.02)


@pytest.mark.parametrize(("half_width", "outcome"), [(0.08, "warned"), (0.15, "failed")])
def test_a_wide_interval_is_found(half_width: float, outcome: str):
    result = judged(half_width=half_width)
    assert result.outcome == outcome
    assert result.finding is not None and result.finding.impact.direction == "unjudgeable"


def test_few_instances_are_major_though_the_bootstrap_looks_narrow():
    result = judged(map50_95=0.995, half_width=0.0, instances=(8, 7))
    assert result.outcome == "failed"


def test_copies_of_few_images_are_major_whatever_their_number():
    result = judged(half_width=0.01, distinct_images=2)
    assert result.finding is not None and result.finding.severity == "major"
    assert "Of 600 validation images, 2 labelled ones differ" in result.finding.title
    assert ("labelled images that differ", 2) in [(item.name, item.value) for item in result.finding.evidence]


@pytest.mark.parametrize(("distinct", "outcome"), [(5, "warned"), (19, "warned"), (20, "passed")])
def test_few_images_of_many_objects_are_minor_for_their_interval_is_too_narrow(distinct: int, outcome: str):
    result = judged(half_width=0.01, distinct_images=distinct, images=distinct)
    assert result.outcome == outcome
    assert ("narrower than it should be" in (result.finding.explanation if result.finding else "")) == (distinct < 20)


def test_groups_that_the_interval_rests_on_are_told():
    result = judged(half_width=0.08, distinct_images=590, groups=40)
    assert result.finding is not None and result.finding.severity == "minor"
    assert "come in 40 groups" in result.finding.explanation
    told = {item.name: item for item in result.finding.evidence}
    assert told["groups of images that the interval rests on"].value == 40
    assert told["groups of images that the interval rests on"].n == 600
    assert "come in 40 groups" in judged(half_width=0.02, distinct_images=590, groups=40).reason


@pytest.mark.parametrize(("groups", "outcome"), [(19, "warned"), (20, "passed"), (None, "passed"), (600, "passed")])
def test_many_frames_of_few_scenes_are_few(groups: int | None, outcome: str):
    result = judged(half_width=0.01, distinct_images=600, images=600, groups=groups)
    assert result.outcome == outcome
    told = result.finding.explanation if result.finding else result.reason
    assert ("groups say something of their own" in told) == (groups == 19)
    assert ("come in" in told) == (groups in (19, 20))


def test_mostly_thin_classes_are_named():
    result = judged(instances=(500, 10, 12))
    assert result.outcome == "warned"
    assert result.finding is not None and result.finding.affected_classes == ("class1", "class2")


def test_one_thin_class_of_three_is_no_finding():
    assert judged(instances=(500, 400, 12)).outcome == "passed"


def test_no_instance_is_critical_with_or_without_validation():
    empty = judged(instances=(0, 0))
    assert empty.finding is not None and empty.finding.severity == "critical"
    dataset = cases.dataset(val=(0, 0))
    result = examine(replace(cases.healthy(), evaluation=None, dataset=dataset))
    assert result.finding is not None and result.finding.severity == "critical"


def test_counts_without_an_interval_never_pass():
    result = examine(replace(cases.healthy(), evaluation=None, absent=dict(cases.ABSENT)))
    assert result.outcome == "inconclusive" and cases.ABSENT["evaluation"] in result.reason
    assert judged(ci95={}).outcome == "inconclusive"
    assert examine(cases.without_everything()).outcome == "not_run"


def test_a_validation_split_that_is_not_there_is_told_with_its_line():
    note = Note(code="data_split_missing", detail="The val images `valid` are not in the data.", place="data.yaml:4")
    data = cases.dataset(splits={"train": cases.split((500, 400))}, notes=(note,))
    result = examine(replace(cases.healthy(), evaluation=None, dataset=data))
    assert result.finding is not None and result.finding.severity == "major" and result.n == 0
    assert result.finding.evidence[0].source == "data.yaml:4"
    assert "`valid`" in result.finding.explanation and "900 of the split train" in result.finding.explanation


@pytest.mark.parametrize(("different", "outcome"), [(1, "failed"), (4, "failed"), (5, "inconclusive")])
def test_copies_of_one_image_are_told_without_a_model(different: int, outcome: str):
    files = SameImages(digest="0" * 64, distinct={"val": different}, validation=450, training=0)
    data = cases.dataset(same_images=files)
    result = examine(replace(cases.healthy(), evaluation=None, dataset=data))
    assert result.outcome == outcome
    if result.finding is not None:
        assert f"Of 450 validation images, {different} differ" in result.finding.title
