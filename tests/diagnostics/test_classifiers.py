"""What the checks, the policy, the verdict and the headline say of classification runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from runaudit.diagnostics import class_imbalance, class_mapping, metric_mismatch, validation_set_too_small
from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.policy import Policy
from runaudit.evaluation.classification_metrics import Accuracy, accuracy_intervals
from runaudit.evaluation.facts import AccuracyTrial
from runaudit.reports.markdown import render_markdown
from runaudit.reports.schema import Report
from runaudit.reports.text import render_text
from runaudit.runs.facts import CheckpointFacts
from tests.diagnostics import cases
from tests.diagnostics.classifier_cases import NAMES, classification, evidence, folders, unmeasured
from tests.reports.cases import build


def test_a_healthy_classifier_passes() -> None:
    known = evidence()
    outcomes = {result.cause: result for result in examine_all(known)}
    for cause in ("metric_mismatch", "class_mapping", "class_imbalance", "validation_set_too_small"):
        assert outcomes[cause].outcome == "passed", outcomes[cause]
    assert not [result for result in outcomes.values() if result.finding is not None]
    report = build(known)
    assert report.verdict == "pass"
    assert "top-1 accuracy is 0.900 (" in report.headline and "600 images" in report.headline


def test_every_check_answers_without_a_validation() -> None:
    known = unmeasured()
    outcomes = {result.cause: result for result in examine_all(known)}
    assert outcomes["metric_mismatch"].outcome == "not_run" and "depth" in outcomes["metric_mismatch"].reason
    assert outcomes["validation_set_too_small"].outcome == "inconclusive"
    report = build(known, depth="curves")
    assert report.verdict == "inconclusive" and "depth `curves`" in report.headline
    assert report.validation is None


# metric_mismatch ------------------------------------------------------------------------------------------------------


def test_reproduced_within_tolerance() -> None:
    result = metric_mismatch.examine(evidence(reported=0.897))
    assert result.outcome == "passed" and result.effect == pytest.approx(0.003)
    assert "results.csv" in result.reason and "0.9000 measured on 600 images" in result.reason


@pytest.mark.parametrize(
    ("reported", "severity"), [(0.89, "minor"), (0.95, "major"), (0.99, "major"), (0.7, "critical")]
)
def test_not_reproduced(reported: float, severity: str) -> None:
    result = metric_mismatch.examine(evidence(reported=reported))
    assert result.finding is not None and result.finding.severity == severity
    assert result.finding.impact.metric == "top1"
    assert result.finding.impact.direction == ("inflates" if reported > 0.9 else "lowers")
    assert result.finding.impact.value == pytest.approx(abs(0.9 - reported))
    low, high = result.finding.impact.ci95 or (1.0, 0.0)
    assert 0 <= low <= abs(0.9 - reported) <= high


def test_a_small_set_is_given_its_interval_and_one_image() -> None:
    small = classification((20, 20, 20))
    assert metric_mismatch.examine(evidence(small, reported=0.93)).outcome == "passed"
    three = classification((1, 1, 1), (1.0, 1.0, 0.0))
    assert metric_mismatch.examine(evidence(three, reported=1.0)).outcome == "passed"
    assert metric_mismatch.examine(evidence(three, reported=0.25)).outcome == "inconclusive", "the interval spans it"
    assert metric_mismatch.examine(evidence(three, reported=0.0)).outcome == "failed"


def test_copies_of_one_right_image_are_no_large_set_of_right_ones() -> None:
    ci95 = accuracy_intervals(Accuracy(1.0, 1.0), 1)
    copies = classification((60,), (1.0,), distinct_images=1, ci95=ci95)
    result = validation_set_too_small.examine(evidence(copies, reported=1.0))
    assert result.finding is not None and result.finding.severity == "major"
    assert "1 of them differs" in result.finding.explanation


def test_the_order_of_a_splits_own_folders_explains_it() -> None:
    measured = classification((0, 300, 300), own_order_top1=0.05)
    result = metric_mismatch.examine(evidence(measured, reported=0.052, version="8.3.92"))
    assert result.finding is not None
    assert "order of the class folders explains it" in result.finding.title
    assert result.finding.impact.grade == "intervention"
    other = metric_mismatch.examine(evidence(measured, reported=0.4, version="8.3.92"))
    assert other.finding is not None and "explains" not in other.finding.title


@pytest.mark.parametrize("name", ["test", "test_own_order"])
def test_the_test_folder_explains_it(name: str) -> None:
    trials = (
        AccuracyTrial(name="test", top1=0.5, images=90),
        AccuracyTrial(name="test_own_order", top1=0.2, images=90),
    )
    reported = {trial.name: trial.top1 for trial in trials}[name]
    result = metric_mismatch.examine(evidence(classification(trials=trials), reported=reported, version="8.3.92"))
    assert result.outcome == "warned" and result.finding is not None
    assert "the test folder explains it" in result.finding.title
    assert {item.value for item in result.finding.evidence} >= {0.5, 0.2}
    other = metric_mismatch.examine(evidence(classification(trials=trials), reported=0.7, version="8.3.92"))
    assert other.outcome == "failed"


def test_the_checkpoints_own_metrics_where_there_are_no_curves() -> None:
    known = evidence()
    stored = {"metrics/accuracy_top1": 0.9, "metrics/accuracy_top5": 1.0}
    run = known.run.model_copy(
        update={"curves": None, "best_row": None, "checkpoint": cases.checkpoint(train_metrics=stored)}
    )
    result = metric_mismatch.examine(replace(known, run=run))
    assert result.outcome == "passed" and "train_metrics" in result.reason
    bare = run.model_copy(update={"checkpoint": cases.checkpoint()})
    assert metric_mismatch.examine(replace(known, run=bare)).outcome == "not_run"


def test_curves_without_accuracy() -> None:
    known = evidence()
    run = cases.with_curves(known.run, metrics={})
    assert metric_mismatch.examine(replace(known, run=run)).outcome == "inconclusive"


# validation_set_too_small ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "recall", "outcome"),
    [
        ((200, 200, 200), 0.9, "passed"),
        ((35, 35, 35), 0.9, "warned"),
        ((20, 20, 20), 0.5, "failed"),
        ((9, 9, 9), 1.0, "failed"),
        ((600, 10, 10), 0.95, "warned"),
    ],
)
def test_size_of_the_split(images: tuple[int, ...], recall: float, outcome: str) -> None:
    result = validation_set_too_small.examine(evidence(classification(images, (recall,) * 3)))
    assert result.outcome == outcome, result
    if result.finding is not None:
        assert not any("instances" in item.name or "mAP" in item.name for item in result.finding.evidence)
    else:
        assert "top-1 accuracy is known to" in result.reason


# class_imbalance ------------------------------------------------------------------------------------------------------

MANY = tuple("abcdefgh")
COUNTS = (1000, 500, 250, 120, 60, 30, 15, 8)
FALLING = (0.97, 0.93, 0.88, 0.8, 0.74, 0.66, 0.55, 0.45)


def imbalanced(recall: tuple[float, ...], model: tuple[str, ...] = MANY) -> class_imbalance.CheckResult:
    by_name = dict(zip(MANY, recall, strict=True))
    measured = classification((100,) * 8, [by_name[name] for name in model], model)
    known = evidence(measured, dataset=folders(COUNTS, (100,) * 8, MANY), model=model)
    return class_imbalance.examine(known)


@pytest.mark.parametrize("model", [MANY, tuple(reversed(MANY))])
def test_rare_classes_with_a_lower_recall(model: tuple[str, ...]) -> None:
    """Whatever order the model has them in: counts are of folders, recalls of the model's classes."""
    result = imbalanced(FALLING, model)
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.impact.metric == "mean recall" and "mean recall" in result.finding.explanation
    assert set(result.finding.affected_classes) == {"e", "f", "g", "h"}
    said = json.dumps([remedy.patch for remedy in result.finding.remedies])
    assert "mosaic" not in said and "copy_paste" not in said


def test_rare_classes_that_do_as_well() -> None:
    assert imbalanced((0.9,) * 8).outcome != "failed"


def test_a_class_that_training_never_showed() -> None:
    known = evidence(dataset=folders((500, 500, 0)))
    result = class_imbalance.examine(known)
    assert result.finding is not None and result.finding.affected_classes == ("cat",)
    assert "without a training image" in result.finding.explanation


def test_counts_alone_without_a_validation() -> None:
    known = replace(unmeasured(), dataset=folders((1000, 900, 60), (200, 180, 12)))
    result = class_imbalance.examine(known)
    assert result.outcome == "inconclusive" and "depth `curves`" in result.reason


# class_mapping --------------------------------------------------------------------------------------------------------


def test_names_in_another_order() -> None:
    result = class_mapping.examine(evidence(model=("bee", "ant", "cat")))
    assert result.outcome == "warned" and "another order" in result.reason


def test_folders_that_the_model_has_no_class_for() -> None:
    known = evidence(dataset=folders(val=(200, 200, 100)), model=("ant", "bee", "Cat"))
    result = class_mapping.examine(known)
    assert result.outcome == "failed" and result.finding is not None
    assert result.effect == pytest.approx(0.2)
    assert result.finding.impact.direction == "inflates"
    assert result.finding.impact.value == pytest.approx(0.9 * 0.2)
    assert "cat is spelt differently" in result.finding.explanation
    few = class_mapping.examine(evidence(dataset=folders(val=(200, 200, 3)), model=("ant", "bee")))
    assert few.outcome == "warned"
    none = class_mapping.examine(evidence(dataset=folders(val=(200, 200, 0)), model=("ant", "bee")))
    assert none.outcome == "passed" and "hold no validation image" in none.reason


def test_no_name_in_common() -> None:
    renamed = evidence(dataset=folders(names=("fourmi", "abeille", "chat")))
    assert class_mapping.examine(renamed).outcome == "warned", "the model finds them"
    lost = evidence(classification(recall=(0.1, 0.1, 0.1)), dataset=folders(names=("x", "y", "z")))
    finding = class_mapping.examine(lost).finding
    assert finding is not None and finding.severity == "critical" and finding.impact.direction == "unjudgeable"
    unknown = replace(unmeasured(), dataset=folders(names=("x", "y", "z")))
    finding = class_mapping.examine(unknown).finding
    assert finding is not None and finding.severity == "major"
    numbers = replace(unmeasured(), dataset=folders(names=("0", "1", "2")))
    assert class_mapping.examine(numbers).outcome == "inconclusive"


def test_classes_without_a_folder() -> None:
    result = class_mapping.examine(evidence(model=(*NAMES, "dog")))
    assert result.outcome == "warned" and result.finding is not None
    assert result.finding.affected_classes == ("dog",)


@pytest.mark.parametrize(("version", "outcome"), [("8.3.92", "warned"), ("8.4.190", "passed"), ("8.4.200", "passed")])
def test_a_split_without_all_folders_under_old_and_new_versions(version: str, outcome: str) -> None:
    measured = classification((0, 300, 300), own_order_top1=0.1)
    known = evidence(measured, dataset=folders(val=(0, 300, 300)), version=version)
    assert class_mapping.examine(known).outcome == outcome


def test_imagenets_codes_and_checkpoints_without_names() -> None:
    codes = evidence(dataset=folders(names=("n01440764", "n01443537", "n01484850")))
    assert class_mapping.examine(codes).outcome == "inconclusive"
    known = evidence()
    nameless = known.run.model_copy(update={"checkpoint": cases.checkpoint(names={})})
    assert class_mapping.examine(replace(known, run=nameless)).outcome == "inconclusive"
    six: CheckpointFacts = cases.checkpoint(names=dict(enumerate(NAMES)), model_yaml={"nc": 6})
    six_outputs = known.run.model_copy(update={"checkpoint": six})
    assert class_mapping.examine(replace(known, run=six_outputs)).outcome == "failed"


# policy, verdict, report ----------------------------------------------------------------------------------------------


def test_rules_on_map_are_not_run() -> None:
    report = build(evidence(), Policy(min_map50_95=0.5, min_class_map50_95={"ant": 0.3}))
    assert [(rule.outcome, rule.reason) for rule in report.policy] == [
        ("not_run", "A classification run has no mAP.")
    ] * 2
    assert report.verdict == "inconclusive"
    assert "the policy can't be judged" in report.headline and "top-1 accuracy 0.900" in report.headline


def test_what_is_at_stake_is_told_in_accuracy() -> None:
    report = build(evidence(dataset=folders((500, 500, 0))))
    assert report.verdict == "fail" and "mAP" not in report.headline


def test_the_report_has_accuracy_classes_and_confusions() -> None:
    report = build(evidence(classification((200, 200, 200), (0.9, 0.8, 1.0)), reported=0.9))
    assert report.validation is not None
    assert report.validation.metrics.top1 == pytest.approx(0.9) and report.validation.metrics.box is None
    assert set(report.validation.ci95) == {"top1", "top5"}
    assert report.validation.reported["top1"] == 0.9 and report.validation.reproduced is True
    assert report.validation.difference["top1"] == pytest.approx(0.0)
    ant, bee, cat = report.validation.per_class
    assert (bee.name, bee.images, bee.instances, bee.recall) == ("bee", 200, 200, 0.8)
    assert bee.recall_ci95 is not None and bee.recall_ci95[0] < 0.8 < bee.recall_ci95[1]
    assert cat.precision == pytest.approx(200 / 240)
    assert ant.f1 == pytest.approx(2 * 180 / (200 + 180))
    confusions = report.validation.error_types.confusions
    assert [(pair.labelled, pair.predicted, pair.images) for pair in confusions] == [
        ("bee", "cat", 40),
        ("ant", "bee", 20),
    ]
    assert np.isfinite(json.loads(report.model_dump_json())["validation"]["metrics"]["top5"])


@pytest.mark.parametrize("render", [render_text, render_markdown])
def test_both_renderings_show_accuracy_and_confusions(render: Callable[[Report], str]) -> None:
    shown = render(build(evidence(classification((200, 200, 200), (0.9, 0.8, 1.0)), reported=0.88)))
    assert "top-1 accuracy" in shown and "top-5 accuracy" in shown
    assert "0.9 (0.8" in shown and "+0.0200" in shown
    assert "taken for" in shown and "mAP50-95" not in shown.split("Checks")[0]


def test_names_of_classes_are_escaped() -> None:
    hostile = ("a|b", "<script>", "\x1b[31mred")
    measured = classification(recall=(0.5, 0.5, 0.5), names=hostile)
    report = build(evidence(measured, dataset=folders(names=hostile), model=hostile))
    assert "\x1b" not in render_text(report)
    assert "<script>" not in render_markdown(report) and "a\\|b" in render_markdown(report)
