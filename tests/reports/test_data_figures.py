"""Figures of data and labels: bars of what the report says, and nothing where it says nothing."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from runaudit.reports import schema
from runaudit.reports.data_figures import class_ids, interventions, label_errors, label_files, shares, sizes
from runaudit.reports.schema import EvidenceItem, Report
from tests.diagnostics import cases
from tests.reports.cases import build

SVG = "{http://www.w3.org/2000/svg}"


def bars(picture: str | None) -> dict[str, str]:
    """Name -> value in words, of each row of a bar chart."""
    assert picture is not None
    words = list(ET.fromstring(picture).iter(f"{SVG}text"))
    names = [part for part in words if part.attrib["text-anchor"] == "end"]
    values = [part for part in words if part.attrib["text-anchor"] == "start"]
    # A name that was cut carries the whole one as its title.
    whole = [part.find(f"{SVG}title") for part in names]
    return {
        (title.text if title is not None else name.text) or "": value.text or ""
        for name, title, value in zip(names, whole, values, strict=True)
    }


def with_evidence(*items: EvidenceItem) -> Report:
    report = build(cases.healthy())
    finding = schema.Finding(
        rank=1,
        cause="image_format",
        severity="minor",
        title="t",
        explanation="e",
        evidence=list(items),
        impact=schema.Impact(direction="lowers", grade="none"),
    )
    return report.model_copy(update={"findings": [finding]})


def test_missing_and_rejected_label_files_are_counted_by_split() -> None:
    split = cases.split((250, 200), source="images/val").model_copy(update={"missing_labels": 40, "rejected": 7})
    evidence = replace(cases.healthy(), dataset=cases.dataset(splits={"train": cases.split((9, 9)), "val": split}))
    found = bars(label_files(build(evidence)))
    assert found["val: without a label file"] == "40" and found["val: rejected"] == "7"
    assert found["train: labelled"] == "18" and found["train: rejected"] == "0"


def test_without_a_lack_there_is_no_picture_of_label_files() -> None:
    assert label_files(build(cases.healthy())) is None


def test_each_way_of_being_wrong_has_its_estimated_share() -> None:
    report = build(cases.healthy())
    assert report.validation is not None and report.validation.labels is not None
    rates = [
        schema.LabelErrorRate(kind="overlooked", rate=0.25, ci95=(0.2, 0.3), n=400, candidates=90),
        schema.LabelErrorRate(kind="swapped", n=0, candidates=0, why="too few"),
    ]
    labels = report.validation.labels.model_copy(update={"rates": rates})
    changed = report.model_copy(update={"validation": report.validation.model_copy(update={"labels": labels})})
    assert bars(label_errors(changed)) == {"overlooked (n = 400)": "0.250"}


def test_class_ids_are_shown_as_they_stand_blind_and_mapped() -> None:
    permutation = schema.ClassPermutation(
        map50_95=0.1, agnostic_map50_95=0.6, mapped_map50_95=0.58, mapping={"0": 1, "1": 0}, gain=0.48
    )
    report = build(cases.healthy())
    assert report.validation is not None and report.validation.labels is not None
    labels = report.validation.labels.model_copy(update={"permutation": permutation})
    changed = report.model_copy(update={"validation": report.validation.model_copy(update={"labels": labels})})
    assert list(bars(class_ids(changed)).values()) == ["0.100", "0.600", "0.580"]


def test_sizes_without_labels_are_left_out() -> None:
    report = build(cases.healthy())
    assert report.validation is not None
    per_size = [
        schema.SizeResult(size="all", least_area=0, labels=50, ap=0.5),
        schema.SizeResult(size="small", least_area=0, most_area=1024, labels=50, ap=0.1, recall=0.3),
        schema.SizeResult(size="large", least_area=9216, labels=0),
    ]
    changed = report.model_copy(update={"validation": report.validation.model_copy(update={"per_size": per_size})})
    assert bars(sizes(changed)) == {"small (n = 50): AP": "0.100", "small (n = 50): recall": "0.300"}


def test_an_intervention_shows_what_it_brings_also_where_that_is_less() -> None:
    intervention = schema.Intervention(
        name="without_leaked_images", description="d", grade="intervention", before=0.7, after=0.5, difference=-0.2,
        ci95=(-0.25, -0.15), n=60,
    )  # fmt: skip
    report = build(cases.healthy()).model_copy(
        update={"interventions": [intervention, intervention.model_copy(update={"metric": "f1", "name": "other"})]}
    )
    assert bars(interventions(report)) == {"without leaked images": "-0.200"}


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (EvidenceItem(name="share of images", value=0.8, threshold=0.02), ["0.800", "0.020"]),
        (EvidenceItem(name="rows that differ", value=6, threshold=0, n=60), ["0.100", "0.000"]),
        (EvidenceItem(name="share of images", value=0.8), None),
        (EvidenceItem(name="epochs written", value=20, threshold=60), None),
        (EvidenceItem(name="ratio", value=0.8, threshold=0.5), None),
        (EvidenceItem(name="share said", value="much", threshold=0.5), None),
        (EvidenceItem(name="flag", value=True, threshold=0, n=4), None),
    ],
)
def test_only_what_is_a_share_is_drawn_as_one(item: EvidenceItem, shown: list[str] | None) -> None:
    picture = shares(with_evidence(item))
    assert (picture is None) if shown is None else list(bars(picture).values()) == shown


def test_a_report_without_a_model_has_none_of_them() -> None:
    report = build(cases.without_everything())
    assert [draw(report) for draw in (label_files, label_errors, class_ids, sizes, interventions)] == [None] * 5
