"""Class imbalance: counts alone are weak, the relation of AP and count is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runaudit.diagnostics.class_imbalance import examine
from tests.diagnostics import cases

LONG_TAIL = (5000, 2000, 800, 300, 120, 50, 20)
VAL = (400, 200, 150, 100, 80, 60, 40)


def long_tail(class_map: tuple[float, ...], **changes: object):
    evaluation = cases.evaluation(float(np.mean(class_map)), instances=VAL, class_map=class_map)
    return replace(cases.healthy(), dataset=cases.dataset(LONG_TAIL, LONG_TAIL, **changes), evaluation=evaluation)


def test_balanced_classes_pass():
    assert examine(cases.healthy()).outcome == "passed"


def test_rare_classes_that_do_worse_are_major_with_the_map_at_stake():
    result = examine(long_tail((0.8, 0.72, 0.65, 0.55, 0.45, 0.35, 0.2)))
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.severity == "major"
    impact = result.finding.impact
    # slope 0.108 an e-fold; the three classes below the median of 300 lack 0.92, 1.79 and 2.71 e-folds, shared by seven
    assert impact.value == pytest.approx(0.108 * (0.916 + 1.792 + 2.708) / 7, rel=0.15)
    assert impact.ci95 is not None and impact.ci95[0] > 0
    assert result.finding.affected_classes[0] == "class6"


def test_natural_imbalance_that_costs_nothing_passes():
    result = examine(long_tail((0.6, 0.55, 0.62, 0.58, 0.61, 0.57, 0.6)))
    assert result.outcome == "passed" and "don't do worse" in result.reason


def test_remedies_hold_computed_weights_and_no_focal_loss_while_labels_are_missing():
    worse = (0.8, 0.72, 0.65, 0.55, 0.45, 0.35, 0.2)
    finding = examine(long_tail(worse)).finding
    assert finding is not None
    code = "\n".join(remedy.code or "" for remedy in finding.remedies)
    assert "BCEWithLogitsLoss(pos_weight=weights)" in code and "sigmoid_focal_loss" in code
    weights = [float(cell) for cell in code.split("tensor([")[1].split("])")[0].split(",")]
    assert len(weights) == len(LONG_TAIL) and np.mean(weights) == pytest.approx(1.0, abs=0.01)
    assert weights == sorted(weights)
    train = cases.split(LONG_TAIL, missing_labels=3)
    missing = examine(long_tail(worse, splits={"train": train, "val": cases.split(LONG_TAIL)})).finding
    assert missing is not None
    assert not any("ocal" in remedy.title for remedy in missing.remedies)


def test_counts_alone_are_never_more_than_minor():
    evidence = replace(cases.healthy(), evaluation=None, dataset=cases.dataset(LONG_TAIL, LONG_TAIL))
    assert examine(evidence).outcome == "warned"
    mild = replace(evidence, dataset=cases.dataset((1000, 50), (1000, 50)))
    assert examine(mild).outcome == "inconclusive"


def test_a_class_that_training_never_showed_is_major():
    evidence = replace(
        cases.healthy(),
        dataset=cases.dataset((500, 0, 400), (100, 50, 100)),
        evaluation=cases.evaluation(0.4, instances=(100, 50, 100), class_map=(0.6, 0.0, 0.6)),
    )
    result = examine(evidence)
    assert result.finding is not None and result.finding.severity == "major"
    assert result.finding.affected_classes == ("class1",)
    assert result.finding.impact.value == pytest.approx(0.2)


def test_another_distribution_in_validation_is_minor_and_chance_is_not():
    skewed = replace(cases.healthy(), dataset=cases.dataset((900, 100), (100, 400)))
    result = examine(skewed)
    assert result.outcome == "warned" and result.finding is not None
    assert "distribution" in result.finding.title
    small = replace(cases.healthy(), dataset=cases.dataset((90, 10), (16, 4)))
    assert examine(small).outcome == "passed"


def test_the_split_test_keeps_its_level_where_boxes_cluster_in_images():
    """300 random splits of images with 1 to 10 boxes of one class each: alarms stay below 5 %."""
    generator = np.random.default_rng(0)
    alarms = 0
    for _ in range(300):
        boxes, kinds = generator.integers(1, 11, 250), generator.choice(4, 250, p=[0.4, 0.3, 0.2, 0.1])
        parts = {}
        for name, images in (("train", slice(0, 200)), ("val", slice(200, 250))):
            instances = tuple(int(boxes[images][kinds[images] == kind].sum()) for kind in range(4))
            holding = tuple(int((kinds[images] == kind).sum()) for kind in range(4))
            count = len(boxes[images])
            parts[name] = cases.split(instances, images=count, labelled=count, class_images=holding)
        result = examine(replace(cases.healthy(), evaluation=None, dataset=cases.dataset(splits=parts)))
        alarms += result.outcome == "warned"
    assert alarms <= 15


def test_one_class_passes_and_missing_parts_are_not_run():
    assert examine(replace(cases.healthy(), dataset=cases.dataset((500,), (100,)))).outcome == "passed"
    assert examine(cases.without_everything()).reason == cases.ABSENT["dataset"]
    no_train = cases.dataset(splits={"val": cases.split((10, 10))})
    assert examine(replace(cases.healthy(), dataset=no_train)).outcome == "not_run"
    empty = replace(cases.healthy(), dataset=cases.dataset((0, 0), (0, 0)))
    assert examine(empty).outcome == "inconclusive"
