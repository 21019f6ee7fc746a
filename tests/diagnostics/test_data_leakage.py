"""How grave leaked images are: by what they inflate, and by how many they are."""

from __future__ import annotations

import pytest

from runaudit.diagnostics.data_leakage import CHECK
from runaudit.diagnostics.evidence import CheckResult, Evidence
from runaudit.evaluation.facts import InterventionFacts, LeakageFacts
from runaudit.runs.facts import SameImages
from tests.diagnostics.cases import dataset, run, split
from tests.diagnostics.comparisons import change, leakage

NO_WEIGHTS = "The run holds no checkpoint."


def judged(
    facts: LeakageFacts | None, *changes: InterventionFacts, absent: dict[str, str] | None = None
) -> CheckResult:
    said = absent or {"training": "The data set has no training split.", "dataset": "No data came with the run."}
    return CHECK.examine(Evidence(run=run(), leakage=facts, interventions=changes, absent=said))


def by_bytes(shared: int, *, same_file: int = 0, validation: int = 100, training: int = 400) -> CheckResult:
    files = SameImages(
        digest="0" * 64,
        distinct={"train": training, "val": validation},
        validation=validation,
        training=training,
        shared=shared,
        same_file=same_file,
        pairs=tuple((f"val/{row}.jpg", f"train/{row}.jpg") for row in range(shared)),
        named=tuple(f"val/{row}.jpg" for row in range(shared)),
    )
    splits = {"train": split((500,), source="data.yaml:2"), "val": split((200,), source="data.yaml:3")}
    data = dataset((500,), (200,), splits=splits, same_images=files)
    return CHECK.examine(Evidence(run=run(), dataset=data, absent={"training": NO_WEIGHTS}))


def test_nothing_leaked() -> None:
    result = judged(leakage())
    assert (result.outcome, result.effect, result.n) == ("passed", 0.0, 100)


def test_nothing_to_compare_with() -> None:
    assert (judged(None).outcome, judged(None).reason) == ("not_run", "No data came with the run.")


@pytest.mark.parametrize(
    ("facts", "without", "severity"),
    [
        (leakage(near=10), change("without_leaked_images", 0.6, 0.55, 0.01), "major"),
        (leakage(near=10), change("without_leaked_images", 0.6, 0.595, 0.01), "minor"),
        (leakage(near=10), change("without_leaked_images", 0.6, 0.55, 0.08), "minor"),
        (leakage(exact=1), change("without_leaked_images", 0.6, 0.601, 0.001), "minor"),
        (leakage(exact=30, near=30), change("without_leaked_images", 0.6, 0.59, 0.01), "major"),
        (leakage(exact=30, near=30), change("without_leaked_images", 0.6, 0.599, 0.01), "minor"),
        (leakage(exact=30, near=30), change("without_leaked_images", 0.6, 0.5, 0.03), "critical"),
        (leakage(exact=5), None, "minor"),
        (leakage(exact=15), None, "major"),
        (leakage(exact=90), None, "critical"),
    ],
)
def test_copies(facts: LeakageFacts, without: InterventionFacts | None, severity: str) -> None:
    result = judged(facts, *([without] if without else []))
    assert result.finding is not None
    assert result.finding.severity == severity
    assert result.finding.affected_images == facts.leaked
    impact = result.finding.impact
    if without is None:
        assert impact.direction == "unjudgeable"
    else:
        assert (impact.direction, impact.grade) == ("inflates", "intervention")
        assert impact.value == pytest.approx(max(0.0, without.before - without.after))


def test_scenes_that_both_splits_show_are_a_warning() -> None:
    result = judged(leakage(scene=40))
    assert (result.outcome, result.effect) == ("warned", pytest.approx(0.4))
    assert judged(leakage(scene=3)).outcome == "passed"


@pytest.mark.parametrize(("shared", "severity"), [(1, "minor"), (12, "major"), (60, "critical")])
def test_without_a_model_equal_bytes_are_told_and_their_cost_is_not_known(shared: int, severity: str) -> None:
    result = by_bytes(shared)
    finding = result.finding
    assert finding is not None
    assert (finding.severity, finding.impact.direction, finding.impact.grade) == (severity, "unjudgeable", "none")
    assert finding.impact.value is None
    assert (result.effect, result.n) == (shared / 100, 100)
    assert result.ci95 is not None and result.ci95[0] < shared / 100 < result.ci95[1]
    assert finding.title == f"{shared} of 100 validation images stand in training too"
    assert NO_WEIGHTS in finding.explanation
    assert finding.evidence[1].source == "val/0.jpg" and finding.evidence[1].value == "train/0.jpg"


def test_without_a_model_different_bytes_are_no_pass() -> None:
    result = by_bytes(0)
    assert (result.outcome, result.effect, result.n) == ("inconclusive", 0.0, 100)
    assert "encoded again" in result.reason and NO_WEIGHTS in result.reason


def test_a_validation_path_to_the_training_images_is_told_as_what_it_is() -> None:
    finding = by_bytes(400, same_file=400, validation=400).finding
    assert finding is not None
    assert finding.severity == "critical"
    assert finding.title == (
        "Validation is done on the training images: `val` (data.yaml:3) points to the same images as `train`"
    )
    assert "there is no validation split" in finding.explanation
    assert [remedy.title for remedy in finding.remedies] == [
        "Split the images into training and validation, and name both in data.yaml",
        "Train again on the new training split",
    ]


def test_a_validation_split_inside_the_training_split() -> None:
    finding = by_bytes(100, same_file=100).finding
    assert finding is not None
    assert finding.title.endswith("points to 100 of the images of `train`")
    finding = by_bytes(90, same_file=80).finding
    assert finding is not None
    assert finding.title == "80 of 100 validation images are the very files of the training split"
    assert "both lead to 80 files" in finding.explanation


def test_a_failure_to_measure_the_cost_is_told() -> None:
    absent = {"intervention without_leaked_images": "It ran out of memory."}
    finding = judged(leakage(exact=15), absent=absent).finding
    assert finding is not None and "was not measured. It ran out of memory." in finding.explanation


def test_the_interval_of_the_inflation_is_told() -> None:
    finding = judged(leakage(near=10), change("without_leaked_images", 0.6, 0.595, 0.01)).finding
    assert finding is not None
    inflation = next(item for item in finding.evidence if item.name == "inflation of mAP50-95")
    assert inflation.value == pytest.approx(0.005)
    assert inflation.ci95 == (pytest.approx(-0.005), pytest.approx(0.015))
    assert "by 0.015 at most" in finding.explanation
