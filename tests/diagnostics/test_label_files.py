"""Label files: what is lost, what is elsewhere, what is honest background, and what can't be told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runaudit.diagnostics.label_files import CHECK
from runaudit.runs.facts import Note, SplitFacts
from tests.diagnostics import cases

examine = CHECK.examine


def with_splits(**splits: SplitFacts):
    dataset = cases.dataset(splits={"train": cases.split((500, 400)), "val": cases.split((250, 200)), **splits})
    return replace(cases.healthy(), dataset=dataset)


def unlabelled(images: int, **changes: object) -> SplitFacts:
    facts = {"labelled": 0, "background": images, "missing_labels": images, "label_ids": {}}
    return cases.split((0, 0), images=images, **(facts | changes))


def test_sound_labels_pass_and_a_cache_is_named():
    result = examine(with_splits(val=cases.split((250, 200), caches=("labels/val.cache",), duplicate_rows=3)))
    assert result.outcome == "passed" and result.effect == 0.0
    assert (
        "labels/val.cache is a label cache; it was not opened" in result.reason and "3 repeated rows" in result.reason
    )


@pytest.mark.parametrize(("beyond", "severity"), [(4, None), (5, "minor"), (90, "major")])
def test_boxes_that_reach_beyond_their_image(beyond: int, severity: str | None):
    split = cases.split((250, 200), overhanging_boxes=beyond)
    finding = examine(replace(cases.healthy(), dataset=cases.dataset(splits={"train": split}))).finding
    assert (finding.severity if finding else None) == severity
    assert ("Two corners" in (finding.explanation if finding else "")) == (severity == "major")


@pytest.mark.parametrize("name", ["train", "val"])
def test_a_split_without_a_usable_label_is_critical(name: str):
    result = examine(with_splits(**{name: unlabelled(100)}))
    assert result.finding is not None and result.finding.severity == "critical"
    assert result.finding.impact.direction == ("lowers" if name == "train" else "unjudgeable")
    assert "100 have no label file" in result.finding.explanation


def test_empty_label_files_are_exported_again_rather_than_corrected():
    result = examine(with_splits(val=unlabelled(100, missing_labels=0)))
    assert result.finding is not None and "100 have an empty one" in result.finding.explanation
    assert [remedy.title for remedy in result.finding.remedies] == ["Export the labels again"]
    mixed = examine(with_splits(val=unlabelled(100, missing_labels=40)))
    assert mixed.finding is not None
    assert [remedy.title for remedy in mixed.finding.remedies] == [
        "Put the label files where the framework looks",
        "Export the labels again",
    ]


def test_an_unlabelled_test_split_is_minor():
    result = examine(with_splits(test=unlabelled(100)))
    assert result.outcome == "warned"


def test_labels_where_the_framework_does_not_look_are_named():
    lost = unlabelled(100, stray_labels=100, stray_folders=("dataset/labels_new/*.txt",))
    result = examine(with_splits(val=lost))
    assert result.finding is not None and "dataset/labels_new/*.txt" in result.finding.explanation
    assert result.finding.remedies[0].title.startswith("Put the label files where the framework looks")
    some = cases.split((250, 200), images=500, background=50, missing_labels=50, stray_labels=50)
    assert examine(with_splits(val=some)).finding.severity == "major"
    few = cases.split((250, 200), images=500, background=50, missing_labels=50, stray_labels=10)
    assert examine(with_splits(val=few)).finding.severity == "minor"


@pytest.mark.parametrize(("dropped", "severity"), [(1, "minor"), (49, "minor"), (51, "major")])
def test_dropped_images_are_weighed_by_their_share(dropped: int, severity: str):
    note = Note(code="label_out_of_bounds", detail="x", place="labels/val/a.txt:3")
    split = cases.split(
        (250, 200), rejected=dropped, rejected_by={"label_out_of_bounds": dropped, "image_unreadable": 7}, notes=(note,)
    )
    result = examine(with_splits(val=split))
    assert result.finding is not None and result.finding.severity == severity
    assert result.effect == pytest.approx(dropped / (450 + dropped))
    assert any(item.source == "labels/val/a.txt:3" and item.value == dropped for item in result.finding.evidence)


def test_real_background_is_no_fault_and_more_of_it_only_minor():
    little = cases.split((500, 400), images=990, background=90, missing_labels=90)
    assert examine(with_splits(train=little)).outcome == "passed"
    both = {
        "train": cases.split((500, 400), images=1800, background=900, missing_labels=900),
        "val": cases.split((250, 200), images=900, background=450, missing_labels=450),
    }
    result = examine(with_splits(**both))
    assert result.outcome == "warned" and "can't be told" in result.finding.explanation


def test_background_marked_by_empty_files_passes_however_much_there_is():
    marked = cases.split((500, 400), images=2700, background=1800, missing_labels=0)
    assert examine(with_splits(train=marked)).outcome == "passed"


def test_one_split_without_most_of_its_labels_is_major():
    lopsided = cases.split((250, 200), images=1800, background=1350, missing_labels=1350)
    result = examine(with_splits(val=lopsided))
    assert result.finding is not None and result.finding.severity == "major"
    tiny = cases.split((2, 2), images=16, background=12, missing_labels=12)
    assert examine(with_splits(val=tiny)).outcome == "warned"


@pytest.mark.parametrize(("rows", "outcome"), [(1, "passed"), (4, "warned"), (20, "failed")])
def test_boxes_without_area(rows: int, outcome: str):
    assert examine(with_splits(val=cases.split((250, 200), zero_area_rows=rows))).outcome == outcome


def test_several_problems_make_one_finding_headed_by_the_gravest():
    split = cases.split((250, 200), rejected_by={"label_mixed": 3}, zero_area_rows=3)
    result = examine(with_splits(train=split, val=unlabelled(10)))
    assert result.finding is not None and result.finding.title.startswith("No image of the val split")
    assert "Also: 3 of 453 train images are dropped" in result.finding.explanation


def test_what_is_missing_is_not_run():
    assert examine(cases.curves_only(cases.run())).reason == cases.ABSENT["dataset"]
    classify = replace(cases.healthy(), run=cases.run().model_copy(update={"task": "classify"}))
    assert examine(classify).outcome == "not_run"
    assert examine(replace(cases.healthy(), dataset=cases.dataset(splits={}))).outcome == "inconclusive"


@pytest.mark.parametrize(("rows", "severity"), [(450, "critical"), (3, "major")])
def test_boxes_where_the_task_needs_outlines(rows: int, severity: str):
    split = cases.split((250, 200), rows_without_outline=rows)
    evidence = replace(cases.healthy(), dataset=cases.dataset(splits={"val": split}))
    assert examine(evidence).outcome == "passed", "boxes are all that detection needs"
    segment = replace(evidence, run=evidence.run.model_copy(update={"task": "segment"}))
    finding = examine(segment).finding
    assert finding is not None
    assert (finding.severity, finding.impact.direction) == (severity, "unjudgeable")
    assert f"{rows} of 450 val labels" in finding.title and "outlines" in finding.title


@pytest.mark.parametrize(("whole", "outcome"), [(404, "passed"), (405, "failed")])
def test_boxes_of_the_whole_image(whole: int, outcome: str):
    split = cases.split((250, 200), whole_image_boxes=whole)
    result = examine(replace(cases.healthy(), dataset=cases.dataset(splits={"train": split})))
    assert result.outcome == outcome


def test_a_handful_of_close_ups_is_no_fault():
    split = cases.split((10, 9), whole_image_boxes=19)
    assert examine(replace(cases.healthy(), dataset=cases.dataset(splits={"train": split}))).outcome == "passed"
