"""Class names and ids: the same, moved, renamed, foreign, missing, counted from 1."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.class_mapping import CHECK
from runaudit.diagnostics.class_names import compare_names
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.policy import Policy, judge
from runaudit.diagnostics.ranking import explain_away, rank
from runaudit.diagnostics.verdict import decide
from runaudit.evaluation.facts import InterventionFacts
from runaudit.evaluation.label_facts import ClassPermutationFacts
from runaudit.runs.facts import Note
from tests.diagnostics import cases

examine = CHECK.examine
ANIMALS = {0: "cat", 1: "dog"}


def named(model: dict[int, str], data: dict[int, str], **changes: object) -> Evidence:
    evidence = cases.with_checkpoint(cases.healthy(), names=model, **changes)
    counts = tuple(300 for _ in data)
    return replace(evidence, dataset=cases.dataset(counts, counts, names=data))


def test_the_same_names_pass():
    result = examine(named(ANIMALS, dict(ANIMALS)))
    assert result.outcome == "passed" and result.n == 2


def test_a_permutation_is_critical_where_the_model_is_not_seen_to_find_the_labels():
    permuted = named(ANIMALS, {0: "dog", 1: "cat"})
    for evaluation in (None, cases.evaluation(0.05)):
        result = examine(replace(permuted, evaluation=evaluation, absent={"evaluation": "none"}))
        assert result.finding is not None and result.finding.severity == "critical"
        assert result.finding.impact.direction == "unjudgeable" and result.finding.affected_classes == ("dog", "cat")
        assert "`cat` in the checkpoint and `dog` in data.yaml" in result.finding.explanation


def test_a_permutation_of_which_the_model_finds_the_labels_is_one_of_names():
    result = examine(named(ANIMALS, {0: "dog", 1: "cat"}))
    assert result.finding is not None and result.finding.severity == "major"
    assert "data.yaml whose names are wrong" in result.finding.explanation


def test_another_spelling_is_minor():
    result = examine(named({0: "traffic light", 1: "Dog"}, {0: "traffic_light", 1: "dog"}))
    assert result.outcome == "warned" and result.effect == 0.0


def test_renamed_classes_that_the_model_finds_are_minor_and_foreign_ones_critical():
    renamed = named(ANIMALS, {0: "Katze", 1: "Hund"})
    assert examine(renamed).finding.severity == "minor"
    foreign = replace(renamed, evaluation=cases.evaluation(0.02))
    assert examine(foreign).finding.severity == "critical"
    unmeasured = replace(renamed, evaluation=None, absent={"evaluation": "none"})
    assert examine(unmeasured).finding.severity == "major"


def test_a_model_on_a_foreign_data_set_never_passes():
    """Also where it reported next to nothing itself, so that re-validation reproduces its figure."""
    poor = cases.run(0.02 * cases.smooth() / 0.6)
    foreign = replace(
        named(ANIMALS, {0: "car", 1: "bus"}), evaluation=cases.evaluation(cases.best_metric(poor), half_width=0.005)
    )
    foreign = replace(foreign, run=poor.model_copy(update={"checkpoint": foreign.run.checkpoint}))
    results = explain_away(examine_all(foreign))
    assert decide(rank(results), judge(Policy(), foreign.evaluation), foreign.evaluation, "standard") == "fail"
    assert rank(results)[0].cause == "class_mapping"


def test_classes_that_the_model_lacks_count_as_zero():
    result = examine(named(ANIMALS, {**ANIMALS, 2: "cow"}))
    assert result.finding is not None and result.finding.severity == "major"
    assert result.finding.affected_classes == ("cow",) and result.effect == pytest.approx(1 / 3)
    assert result.finding.impact.value == pytest.approx(cases.best_metric(cases.run()) * 0.5, rel=1e-6)
    unused = named(ANIMALS, {**ANIMALS, 2: "cow"})
    unused = replace(unused, dataset=cases.dataset((300, 300, 0), (300, 300, 0), names={**ANIMALS, 2: "cow"}))
    assert examine(unused).outcome == "warned"
    assert examine(named({**ANIMALS, 2: "cow"}, ANIMALS)).outcome == "warned"


def test_labels_that_count_from_one_are_critical():
    evidence = named(ANIMALS, ANIMALS)
    split = cases.split((0, 100), label_ids={1: 100, 2: 80}, rejected_by={"label_class_unknown": 80})
    evidence = replace(evidence, dataset=cases.dataset(splits={"train": split, "val": split}, names=ANIMALS))
    result = examine(evidence)
    assert result.finding is not None and "count classes from 1" in result.finding.title


def test_an_unused_first_class_is_no_shift():
    evidence = named({0: "background", 1: "dog"}, {0: "background", 1: "dog"})
    split = cases.split((0, 100))
    names = {0: "background", 1: "dog"}
    evidence = replace(evidence, dataset=cases.dataset(splits={"train": split, "val": split}, names=names))
    assert examine(evidence).outcome == "passed"


@pytest.mark.parametrize(("rows", "severity"), [(10, "minor"), (200, "major")])
def test_unknown_class_ids_are_weighed_by_their_share(rows: int, severity: str):
    split = cases.split((300, 300), label_ids={0: 300, 1: 300, 7: rows})
    evidence = replace(named(ANIMALS, ANIMALS), dataset=cases.dataset(splits={"val": split}, names=ANIMALS))
    result = examine(evidence)
    assert result.finding is not None and result.finding.severity == severity
    assert result.effect == pytest.approx(rows / (600 + rows))


def test_numbers_say_nothing_beside_names():
    assert examine(named({0: "0", 1: "1"}, ANIMALS)).outcome == "inconclusive"
    assert examine(named(ANIMALS, {0: "class0", 1: "class1"})).outcome == "inconclusive"


def test_single_cls_is_one_class_by_design():
    evidence = named({0: "item"}, ANIMALS)
    facts = cases.run(arguments={"single_cls": True}).model_copy(update={"checkpoint": evidence.run.checkpoint})
    assert examine(replace(evidence, run=facts)).outcome == "passed"
    split = cases.dataset((600,), (600,)).splits["val"].model_copy(update={"label_ids": {1: 300, 2: 300, 9: 4}})
    one = cases.dataset(splits={"val": split}, names={0: "item"}).model_copy(update={"single_cls": True})
    several = cases.with_checkpoint(cases.healthy(), names={0: "a", 1: "b", 2: "c"})
    assert examine(replace(several, dataset=one)).outcome == "passed"


def test_more_outputs_than_names_is_major():
    result = examine(named(ANIMALS, ANIMALS, model_yaml={"nc": 80}))
    assert result.finding is not None and "80 classes but 2 names" in result.finding.title


def test_what_is_missing_is_not_run_or_inconclusive():
    assert examine(cases.curves_only(cases.run())).reason == cases.ABSENT["dataset"]
    assert examine(named({}, ANIMALS)).outcome == "inconclusive"
    no_checkpoint = replace(named(ANIMALS, ANIMALS), run=cases.run(), absent={"checkpoint": "There is none."})
    assert examine(no_checkpoint).reason.endswith("There is none.")
    assert examine(named(ANIMALS, {})).outcome == "inconclusive"


names = st.dictionaries(st.integers(0, 6), st.sampled_from(["a", "A", "b", "c c", "c_c", "d", ""]), max_size=7)


@given(model=names, data=names)
def test_each_id_is_in_one_group_at_most(model: dict[int, str], data: dict[int, str]):
    found = compare_names(model, data)
    ids = [*found.moved, *found.other, *found.respelt, *found.only_model, *found.only_data]
    assert len(ids) == len(set(ids)) and set(ids) <= set(model) | set(data)
    assert compare_names(model, model).same
    assert compare_names(data, model).only_model == found.only_data


def permuted(gain: float, half_width: float = 0.01) -> Evidence:
    quality = cases.label_quality().model_copy(
        update={
            "permutation": ClassPermutationFacts(
                map50_95=0.1,
                agnostic_map50_95=0.62,
                mapped_map50_95=0.1 + gain,
                mapping={0: 1, 1: 0} if gain else {},
                gain=gain,
                ci95=(gain - half_width, gain + half_width) if gain else None,
                kept=0.02,
                moved=0.95,
                n=500,
            )
        }
    )
    names = {0: "class0", 1: "class1"}
    return replace(named(names, names), evaluation=cases.evaluation(0.1, label_quality=quality))


def test_ids_that_detections_show_to_be_permuted_are_critical_whatever_the_names_say():
    result = CHECK.examine(permuted(0.5))
    assert result.finding is not None and result.finding.severity == "critical"
    assert result.finding.impact.value == 0.5 and result.finding.impact.grade == "intervention"
    assert result.finding.affected_classes == ("class0", "class1")
    code = result.finding.remedies[0].code
    assert code is not None and "{0: 1, 1: 0}" in code
    compile(code, "remedy", "exec")


def test_two_rare_classes_that_are_permuted_are_major():
    result = CHECK.examine(permuted(0.008, half_width=0.001))
    assert result.finding is not None and result.finding.severity == "major"


def test_no_mapping_and_an_unsure_one_are_no_finding():
    assert CHECK.examine(permuted(0.0)).outcome == "passed"
    assert CHECK.examine(permuted(0.01, half_width=0.02)).outcome == "passed"


@pytest.mark.parametrize(("measured", "severity"), [(None, "minor"), (0.05, "major"), (0.5, "minor")])
def test_labels_of_one_class_though_several_are_named(measured: float | None, severity: str):
    data = cases.dataset((500, 0), (250, 0))
    evidence = replace(cases.healthy(), dataset=data, evaluation=None)
    if measured is not None:
        entry = cases.healthy().evaluation.per_class[0].model_copy(update={"map50_95": measured})
        facts = cases.healthy().evaluation.model_copy(update={"per_class": (entry,)})
        evidence = replace(evidence, evaluation=facts)
    finding = examine(evidence).finding
    assert finding is not None and finding.severity == severity
    assert finding.title.startswith("All 750 labels are of class 0") and finding.affected_classes == ("class1",)


@pytest.mark.parametrize(("gain", "severity"), [(0.3, "major"), (0.005, "minor")])
def test_labels_of_one_class_where_the_model_finds_several_have_lost_their_ids(gain: float, severity: str):
    blind = InterventionFacts(
        name="class_agnostic",
        description="All classes counted as one.",
        grade="oracle",
        before=0.4,
        after=0.4 + gain,
        difference=gain,
        ci95=(gain - 0.01, gain + 0.01),
        images=250,
    )
    data = cases.dataset((500, 0), (250, 0))
    finding = examine(replace(cases.healthy(), dataset=data, interventions=(blind,))).finding
    assert finding is not None and finding.severity == severity
    assert finding.impact.value == (pytest.approx(gain) if severity == "major" else None)


def test_one_split_that_counts_from_1_is_named():
    val = cases.split((0, 200), label_ids={1: 200, 2: 150}, source="images/val")
    data = cases.dataset(splits={"train": cases.split((500, 400)), "val": val})
    finding = examine(replace(cases.healthy(), dataset=data, evaluation=None)).finding
    assert finding is not None and finding.severity == "critical"
    assert finding.title == "The val labels alone count classes from 1, YOLO counts from 0"
    assert "labels/val" in (finding.remedies[0].code or "")
    # A model that finds each class where it is labelled speaks against it.
    assert "alone count" not in examine(replace(cases.healthy(), dataset=data)).reason
    other = cases.dataset(splits={"train": cases.split((500, 400)), "test": val})
    assert "alone count" not in examine(replace(cases.healthy(), dataset=other, evaluation=None)).reason


def test_a_count_of_classes_that_contradicts_the_names_is_told_where_nothing_graver_is():
    note = Note(code="class_count_conflict", detail="`nc: 3` contradicts the 2 names.", place="data.yaml:3")
    result = examine(replace(cases.healthy(), dataset=cases.dataset(notes=(note,))))
    assert result.outcome == "warned" and result.finding is not None
    assert "`nc: 3`" in result.finding.explanation and result.finding.evidence[0].source == "data.yaml:3"
    lost = cases.dataset((500, 0), (250, 0), notes=(note,))
    graver = examine(replace(cases.healthy(), dataset=lost)).finding
    assert graver is not None and "labels are of class 0" in graver.title


def test_a_few_labels_of_one_class_and_one_named_class_are_no_fault():
    assert examine(replace(cases.healthy(), dataset=cases.dataset((20, 0), (20, 0)))).outcome == "passed"
