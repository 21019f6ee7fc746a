"""Image headers: what is dropped, cut off, turned, deep, or of another kind than in training."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.diagnostics.image_format import CHECK
from runaudit.evaluation.facts import BlankFacts, InterventionFacts
from runaudit.runs.facts import Note
from tests.diagnostics import cases

examine = CHECK.examine


def with_val(**changes: object):
    images = 450
    facts = {"image_census": cases.census(images, **changes.pop("census", {}))} | changes
    splits = {"train": cases.split((500, 400)), "val": cases.split((250, 200), **facts)}
    return replace(cases.healthy(), dataset=cases.dataset(splits=splits))


def test_ordinary_images_pass_with_their_formats():
    result = examine(with_val())
    assert result.outcome == "passed" and "1350 JPEG" in result.reason and result.n == 1350


@pytest.mark.parametrize(("turned", "outcome"), [(8, "passed"), (9, "warned"), (450, "warned")])
def test_turned_images_are_never_more_than_minor(turned: int, outcome: str):
    result = examine(with_val(census={"orientations": {1: 450 - turned, 6: turned}}))
    assert result.outcome == outcome


def test_images_upside_down_keep_their_shape_and_are_not_counted():
    assert examine(with_val(census={"orientations": {1: 100, 3: 350}})).outcome == "passed"


@pytest.mark.parametrize(("rejected", "severity"), [(1, "minor"), (60, "major")])
def test_images_that_cannot_be_used_are_weighed_by_their_share(rejected: int, severity: str):
    result = examine(with_val(rejected_by={"image_unreadable": rejected, "label_mixed": 400}))
    assert result.finding is not None and result.finding.severity == severity
    assert result.effect == pytest.approx(rejected / (450 + rejected))


def test_a_split_of_which_no_image_can_be_read_is_critical():
    empty = cases.split((0, 0), images=1, image_census=cases.census(0), rejected_by={"image_unreadable": 30})
    evidence = replace(cases.healthy(), dataset=cases.dataset(splits={"val": empty}))
    result = examine(evidence)
    assert result.finding is not None and result.finding.severity == "critical"


def test_truncated_and_deep_and_printed_images_are_found():
    assert "end too early" in examine(with_val(census={"unfinished": 20})).reason
    assert "more than 8 bits" in examine(with_val(census={"bits": {8: 400, 16: 50}})).reason
    assert "CMYK" in examine(with_val(census={"channels": {"colour": 400, "cmyk": 50}})).reason


@pytest.mark.parametrize(("damaged", "severity"), [(1, "minor"), (100, "major")])
def test_images_damaged_behind_their_header_are_weighed_by_their_share(damaged: int, severity: str):
    census = {"verified": 450, "flawed": {"image_undecodable": damaged - 1, "image_damaged": 1}, "unfinished": 90}
    notes = (Note(code="image_damaged", detail="It was cut off.", place="images/val/7.jpg"),)
    result = examine(with_val(census=census, notes=notes))
    assert result.finding is not None and result.finding.severity == severity
    assert result.finding.title == f"{damaged} of 450 val images are damaged behind their header"
    assert result.finding.evidence[0].source == "images/val/7.jpg"
    assert "end too early" not in result.finding.explanation


def test_how_far_images_were_looked_at_is_said():
    whole = {"verified": 450, "decoded": False}
    splits = {"val": cases.split((250, 200), image_census=cases.census(450, **whole))}
    assert "looked at whole; pixels" in examine(replace(cases.healthy(), dataset=cases.dataset(splits=splits))).reason
    decoded = {"val": cases.split((250, 200), image_census=cases.census(450, **whole | {"decoded": True}))}
    assert "were decoded" in examine(replace(cases.healthy(), dataset=cases.dataset(splits=decoded))).reason
    assert "only where validation is run." in examine(with_val()).reason


def test_validation_images_without_a_picture_are_found_where_only_the_model_met_them():
    skipped = (Note(code="image_skipped", detail="Left out of the validation.", place="images/val/7.webp"),)
    evidence = replace(with_val(), evaluation=cases.evaluation(0.6, skipped=skipped))
    result = examine(evidence)
    assert result.finding is not None and "1 of 601 val images gave no picture" in result.finding.title
    known = with_val(
        census={"verified": 450, "flawed": {"image_undecodable": 1}},
        notes=(Note(code="image_undecodable", detail="It was cut off.", place="images/val/7.webp"),),
    )
    again = examine(replace(known, evaluation=cases.evaluation(0.6, skipped=skipped)))
    assert again.finding is not None and len(again.finding.evidence) == 1


@pytest.mark.parametrize("change", [{"channels": {"grey": 450}}, {"bits": {16: 450}}])
def test_one_split_of_another_kind_is_major(change: dict[str, dict[object, int]]):
    result = examine(with_val(census=change))
    assert result.finding is not None and result.finding.severity == "major"
    assert "validated on another kind of image" in result.finding.explanation


def test_grey_images_in_both_splits_are_no_fault():
    grey = {"channels": {"grey": 450}}
    splits = {name: cases.split((250, 200), image_census=cases.census(450, **grey)) for name in ("train", "val")}
    assert examine(replace(cases.healthy(), dataset=cases.dataset(splits=splits))).outcome == "passed"


def test_what_is_missing_is_not_run():
    assert examine(cases.curves_only(cases.run())).reason == cases.ABSENT["dataset"]
    splits = {"val": cases.split((250, 200), image_census=None)}
    assert examine(replace(cases.healthy(), dataset=cases.dataset(splits=splits))).outcome == "not_run"


def test_images_that_there_was_no_memory_to_look_at_are_not_called_damaged():
    result = examine(with_val(census={"verified": 450, "flawed": {"image_unverified": 7}}))
    assert result.outcome == "passed" and "no memory to look at 7" in result.reason


def change(name: str, difference: float) -> InterventionFacts:
    return InterventionFacts(
        name=name,
        description="Changed.",
        grade="intervention",
        before=0.4,
        after=0.4 + difference,
        difference=difference,
        ci95=(difference - 0.05, difference + 0.05),
        images=450,
    )


def test_turned_images_whose_labels_were_not_turned_are_major_with_what_it_costs():
    turned = with_val(census={"orientations": {1: 250, 6: 200}})
    misdrawn = change("labels_read_as_before_turning", 0.3)
    result = examine(replace(turned, evaluation=cases.evaluation(0.4), interventions=(misdrawn,)))
    assert result.finding is not None and result.finding.severity == "major"
    assert "200 of 450" in result.finding.title and result.finding.impact.value == pytest.approx(0.3)


@pytest.mark.parametrize(("blank", "labelled", "severity"), [(200, 200, "major"), (30, 3, "minor"), (30, 0, "minor")])
def test_images_that_show_nothing_are_weighed_by_their_labels(blank: int, labelled: int, severity: str):
    facts = BlankFacts(images=blank, labelled=labelled, files=("images/val/3.jpg",))
    evaluation = cases.evaluation(0.4).model_copy(update={"blank": facts})
    result = examine(replace(with_val(), evaluation=evaluation, interventions=(change("without_blank_images", 0.25),)))
    assert result.finding is not None and result.finding.severity == severity
    assert f"{blank} of {evaluation.images} val images show nothing" in result.finding.title
    assert result.finding.affected_images == ("images/val/3.jpg",)
    assert result.finding.impact.value == pytest.approx(0.25)


def test_training_images_that_show_nothing_are_found_too():
    training = cases.evaluation(0.4).model_copy(
        update={"split": "train", "blank": BlankFacts(images=300, labelled=300)}
    )
    result = examine(replace(with_val(), training=training))
    assert result.finding is not None and "train images show nothing" in result.finding.title
