"""Stride, anchors, imgsz and max_det against the objects, and objects that only look too small."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runaudit.diagnostics.evidence import CheckResult, Evidence
from runaudit.diagnostics.model_architecture import examine
from runaudit.diagnostics.small_objects import LIMITS, finest_stride
from runaudit.evaluation.detection_facts import SizeMetrics
from runaudit.evaluation.facts import EvaluationFacts
from tests.diagnostics import cases
from tests.diagnostics.comparisons import change

TINY, LARGE = (4.0, 4.0), (60.0, 60.0)


def sized(sides, *, longer=640, evaluation=None, arguments=None, architecture="yolov8n", **checkpoint) -> Evidence:
    """A run on data whose boxes have these sides, in both splits."""
    census = cases.boxes(sides, longer=longer)
    splits = {
        "train": cases.split((500, 400), box_census=census),
        "val": cases.split((250, 200), source="images/val", box_census=census),
    }
    run = cases.run(arguments=arguments).model_copy(update={"architecture": architecture})
    if checkpoint:
        run = run.model_copy(update={"checkpoint": cases.checkpoint(**checkpoint)})
    return Evidence(run, dataset=cases.dataset(splits=splits), evaluation=evaluation)


def recalled(recall: float) -> EvaluationFacts:
    facts = cases.evaluation(0.5)
    return facts.model_copy(
        update={"per_class": tuple(entry.model_copy(update={"recall": recall}) for entry in facts.per_class)}
    )


def test_objects_of_a_usual_size_pass_with_numbers():
    result = examine(cases.healthy())
    assert result.outcome == "passed"
    assert result.effect == 0.0
    assert "images/val" in result.reason


def test_objects_below_the_reach_of_the_stride_are_major():
    result = examine(sized([TINY, LARGE]))
    assert result.outcome == "failed" and result.finding is not None
    assert result.effect == pytest.approx(0.5)
    assert "50%" in result.finding.title
    head = next(remedy for remedy in result.finding.remedies if "P2" in remedy.title)
    assert head.patch == {"model": "yolov8n-p2.yaml", "pretrained": "yolov8n.pt"}


def test_large_images_are_shown_larger_or_in_tiles():
    result = examine(sized([(24, 24), (300, 300)], longer=3840))
    assert result.finding is not None
    patches = [remedy.patch for remedy in result.finding.remedies]
    imgsz = patches[0]["imgsz"]
    assert 24 / 3840 * imgsz >= LIMITS.reach * 8 and imgsz <= 3840
    assert any("sahi" in (remedy.code or "") for remedy in result.finding.remedies)


def test_images_without_more_pixels_are_not_enlarged():
    result = examine(sized([TINY, LARGE], longer=640))
    assert result.finding is not None
    assert all("imgsz" not in remedy.patch for remedy in result.finding.remedies)
    assert all("tiles" not in remedy.title for remedy in result.finding.remedies)


def test_a_small_share_is_minor_and_a_tiny_one_nothing():
    few = [TINY, *[LARGE] * 9]
    assert examine(sized(few)).outcome == "warned"
    assert examine(sized([TINY, *[LARGE] * 29])).outcome == "passed"


def test_a_finer_head_reaches_further():
    four = [(5.0, 5.0), LARGE]
    assert examine(sized(four)).outcome == "failed"
    assert examine(sized(four, architecture="yolov8n-p2")).outcome == "passed"
    assert examine(sized(four, stride=(4.0, 8.0, 16.0))).outcome == "passed"
    assert finest_stride(cases.run().model_copy(update={"architecture": "yolop2x"})) == 8.0


@pytest.mark.parametrize("stride", [(), (0.5, 8.0), (float("nan"), 8.0), (float("inf"),), (1e-200,)])
def test_strides_that_are_none_are_not_believed(stride: tuple[float, ...]):
    assert finest_stride(sized([LARGE], stride=stride).run) == 8.0


def test_small_objects_that_are_found_anyway_are_no_fault():
    assert examine(sized([TINY, LARGE], evaluation=recalled(0.9))).outcome == "passed"
    assert examine(sized([TINY, LARGE], evaluation=recalled(0.55))).outcome == "failed"


def sizes_rated(**rated: tuple[float | None, int]) -> EvaluationFacts:
    """An evaluation that finds few of the objects, with COCO's AP and number of the labels of these sizes."""
    areas: dict[Any, tuple[float, float | None]] = {
        "all": (0, None),
        "small": (0, 32**2),
        "medium": (32**2, 96**2),
        "large": (96**2, None),
    }
    entries = tuple(
        SizeMetrics(
            size=size, least=least, most=most, labels=labels, map50_95=value, map50=value, map75=value, recall=value
        )
        for size, (least, most) in areas.items()
        for value, labels in (rated.get(size, (None, 0)),)
    )
    return recalled(0.5).model_copy(update={"per_size": entries})


def by_size(small: float, large: float, *, labels: int = 300) -> EvaluationFacts:
    return sizes_rated(all=((small + large) / 2, 300 + labels), small=(small, labels), large=(large, 300))


def test_ap_by_size_tells_what_is_at_stake():
    result = examine(sized([TINY, LARGE], evaluation=by_size(0.1, 0.5)))
    assert result.outcome == "failed" and result.finding is not None
    assert (result.finding.impact.value, result.finding.impact.grade) == (pytest.approx(0.2), "observational")
    assert "AP of labels below 32 x 32 pixels" in [item.name for item in result.finding.evidence]


def test_small_objects_that_are_found_as_well_as_large_ones_are_no_fault():
    assert examine(sized([TINY, LARGE], evaluation=by_size(0.5, 0.5))).outcome == "passed"
    # Too few labels to tell, and objects that are small at imgsz but large in the image.
    assert examine(sized([TINY, LARGE], evaluation=by_size(0.5, 0.5, labels=29))).outcome == "failed"
    shrunk = sized([(40, 40), (600, 600)], longer=6400, evaluation=by_size(0.5, 0.5))
    assert examine(shrunk).outcome == "failed"


def test_the_same_objects_at_a_larger_imgsz_pass():
    assert examine(sized([TINY, LARGE], arguments={"imgsz": 1280})).outcome == "passed"


def test_images_that_are_shrunk_until_most_objects_have_two_cells_are_minor():
    sides = [(20.0, 20.0), (28.0, 28.0), (200.0, 200.0)]
    result = examine(sized(sides, longer=1280))
    assert result.outcome == "warned" and result.finding is not None
    assert "shrunk to 640" in result.finding.title
    assert result.effect == pytest.approx(2 / 3)
    proposed = result.finding.remedies[0].patch["imgsz"]
    assert 640 < proposed <= 1280


def test_shrinking_alone_or_small_objects_alone_are_nothing():
    assert examine(sized([(40.0, 40.0), (200.0, 200.0)], longer=1280)).outcome == "passed"
    assert examine(sized([(14.0, 14.0), (100.0, 100.0)], longer=640)).outcome == "passed"
    assert examine(sized([(20.0, 20.0)], longer=950)).outcome == "passed"
    assert examine(sized([(20.0, 20.0)], longer=960)).outcome == "warned"


def test_ap_by_size_makes_it_major_or_refutes_it():
    sides = [(20.0, 20.0), (28.0, 28.0), (200.0, 200.0)]
    assert examine(sized(sides, longer=1280, evaluation=by_size(0.2, 0.5))).outcome == "failed"
    assert examine(sized(sides, longer=1280, evaluation=by_size(0.48, 0.5))).outcome == "warned"
    assert examine(sized(sides, longer=1280, evaluation=by_size(0.5, 0.5))).outcome == "passed"


CELLS = [(36.0, 36.0)] * 7 + [(90.0, 90.0)] * 84 + [(200.0, 200.0)] * 9
"""blood cells on images of 416 pixels: at imgsz 64 a cell's two strides are 104 pixels of the image"""


def cells(sides: list[tuple[float, float]] = CELLS, **rated: tuple[float | None, int]) -> CheckResult:
    return examine(sized(sides, longer=416, arguments={"imgsz": 64}, evaluation=sizes_rated(**rated)))


def test_where_images_are_shrunk_far_medium_labels_are_among_the_small_ones():
    result = cells(small=(0.0, 89), medium=(0.324, 1181), large=(0.666, 84))
    assert result.outcome == "failed" and result.finding is not None
    assert "shrunk to 64" in result.finding.title
    lacking = 0.666 - 0.324 * 1181 / 1270
    assert result.finding.impact.value == pytest.approx(lacking * 1270 / 1354, abs=1e-4)
    evidence = {item.name: (item.value, item.n) for item in result.finding.evidence}
    assert evidence["AP of labels below 96 x 96 pixels, small and medium by their number"] == (0.3013, 1270)
    assert evidence["AP of large labels"] == (0.666, 84)


def test_a_size_of_few_labels_counts_by_its_share_and_not_by_its_ap():
    for few in ((0.9, 29), (None, 29)):
        result = cells(small=few, medium=(0.3, 271), large=(0.6, 100))
        assert result.finding is not None
        assert result.finding.impact.value == pytest.approx(0.3 * 300 / 400)
        assert "AP of labels from 32 x 32 to 96 x 96 pixels" in [item.name for item in result.finding.evidence]
    below = cells(small=(0.3, 271), medium=(0.9, 29), large=(0.6, 100))
    assert below.finding is not None and below.finding.impact.value == pytest.approx(0.3 * 300 / 400)
    assert "AP of labels below 32 x 32 pixels" in [item.name for item in below.finding.evidence]


def test_without_enough_labels_on_both_sides_no_stake_is_told():
    for rated in (
        {"small": (0.1, 29), "medium": (0.3, 29), "large": (0.6, 100)},
        {"small": (0.1, 100), "medium": (0.3, 100), "large": (0.6, 29)},
        {"small": (0.1, 100), "medium": (0.3, 100)},
    ):
        result = cells(CELLS[7:], **rated)
        assert result.outcome == "warned" and result.finding is not None
        assert result.finding.impact.value is None


def test_labels_smaller_than_the_limit_can_t_refute_what_reaches_beyond_them():
    for sides in (CELLS, CELLS[7:]):
        result = cells(sides, small=(0.6, 89), medium=(0.6, 1181), large=(0.6, 84))
        assert result.outcome == "warned" and result.finding is not None
        assert result.finding.impact.value is None
        assert not [item.name for item in result.finding.evidence if item.name.startswith("AP")]


def test_the_graver_of_too_small_and_shrunk_names_the_finding():
    few = [(10.0, 10.0), *[(28.0, 28.0)] * 6, *[(200.0, 200.0)] * 3]
    assert "finest stride" in examine(sized(few, longer=1280)).reason, "both are minor: the first"
    graver = examine(sized(few, longer=1280, evaluation=by_size(0.2, 0.5)))
    assert graver.outcome == "failed" and graver.finding is not None
    assert "shrunk to 640" in graver.finding.title
    assert len([remedy for remedy in graver.finding.remedies if "imgsz" in remedy.patch]) == 1
    many = [*few, (10.0, 10.0)]
    assert "finest stride" in examine(sized(many, longer=1280, evaluation=by_size(0.2, 0.5))).reason, "both are major"


def crowded(counts, **arguments) -> Evidence:
    census = cases.boxes(crowd=counts)
    splits = {"val": cases.split((250, 200), source="images/val", box_census=census)}
    return Evidence(cases.run(arguments=arguments), dataset=cases.dataset(splits=splits), evaluation=cases.evaluation())


def test_images_fuller_than_max_det_are_found():
    result = examine(crowded((500, 500)))
    assert result.outcome == "failed" and result.finding is not None
    assert result.effect == pytest.approx(400 / 1200)
    assert result.finding.impact.value == pytest.approx(0.6 * 400 / 1200, abs=1e-4)
    assert result.finding.remedies[0].patch == {"max_det": 700}


def test_one_box_too_many_is_minor_and_a_raised_max_det_passes():
    assert examine(crowded((301,))).outcome == "warned"
    assert examine(crowded((301,), max_det=400)).outcome == "passed"
    assert examine(crowded((300,))).outcome == "passed"
    assert examine(crowded((150,), max_det=100)).outcome == "failed"


ANCHORS = (((10.0, 13.0), (16.0, 30.0)), ((60.0, 60.0), (120.0, 90.0)))


def test_anchors_that_miss_a_tenth_are_major():
    result = examine(sized([(400, 20), LARGE], anchors=ANCHORS))
    assert result.outcome == "failed" and result.finding is not None
    assert result.effect == pytest.approx(0.5)
    assert result.finding.remedies[0].patch == {"noautoanchor": False}
    assert "kmean_anchors" in (result.finding.remedies[0].code or "")


def test_anchors_that_miss_a_few_are_minor_and_those_that_fit_pass():
    few = [(400, 20), *[LARGE] * 19]
    assert examine(sized(few, anchors=ANCHORS)).outcome == "warned"
    fits = examine(sized([LARGE], anchors=ANCHORS))
    assert fits.outcome == "passed" and "anchors fit 100.0%" in fits.reason


def test_two_faults_are_one_finding_with_the_evidence_of_both():
    result = examine(sized([TINY, LARGE, (600, 20)], anchors=(((60.0, 60.0),),)))
    assert result.finding is not None
    assert "Besides" in result.finding.explanation
    names = [item.name for item in result.finding.evidence]
    assert "best possible recall of the anchors" in names and "imgsz" in names


def test_what_is_missing_is_said():
    assert examine(cases.without_everything()).outcome == "not_run"
    assert examine(cases.without_everything()).reason == cases.ABSENT["dataset"]
    assert examine(sized([TINY, LARGE], arguments={"imgsz": None})).outcome == "inconclusive"
    few = cases.dataset(splits={"val": cases.split((10,), box_census=cases.boxes([TINY], repeat=29))})
    assert examine(Evidence(cases.run(), dataset=few)).outcome == "inconclusive"
    uncounted = cases.dataset(splits={"val": cases.split((10,), box_census=None)})
    assert examine(Evidence(cases.run(), dataset=uncounted)).outcome == "inconclusive"
    classifier = cases.run().model_copy(update={"task": "classify"})
    assert examine(replace(cases.healthy(), run=classifier)).outcome == "not_run"


def test_training_is_judged_where_there_is_no_validation_split():
    splits = {"train": cases.split((500, 400), box_census=cases.boxes([TINY]))}
    result = examine(Evidence(cases.run(), dataset=cases.dataset(splits=splits)))
    assert result.outcome == "failed"
    assert result.finding is not None and result.finding.evidence[0].source == "images/train"


def swept(**gained: float) -> Evidence:
    changes = tuple(change(f"imgsz_{size[1:]}", 0.5, 0.5 + gain, 0.015) for size, gain in gained.items())
    return replace(cases.healthy(), interventions=changes)


def test_another_size_that_serves_surely_better_is_major_with_what_it_gains():
    result = examine(swept(i480=-0.05, i800=0.03, i960=0.06))
    assert result.finding is not None and result.finding.severity == "major"
    assert "imgsz 960 than at 640" in result.finding.title
    assert result.finding.impact.value == pytest.approx(0.06) and result.finding.impact.grade == "intervention"
    assert result.finding.remedies[0].patch == {"imgsz": 960}
    assert [item.value for item in result.finding.evidence] == [-0.05, 0.03, 0.06]


def test_a_size_that_gains_little_or_not_surely_is_none():
    assert examine(swept(i800=0.034, i960=-0.1)).outcome == "passed"
    assert examine(swept(i800=0.036)).outcome == "failed"
