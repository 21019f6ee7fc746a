"""Underfitting needs a low mAP on training images, and nothing else to explain it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from runaudit.diagnostics.evidence import CheckResult, Evidence
from runaudit.diagnostics.fitted import LIMITS as FITTED
from runaudit.diagnostics.underfitting import CHECK
from runaudit.runs.facts import RunFacts
from tests.diagnostics.cases import checkpoint, dataset, evaluation, falling, run
from tests.diagnostics.comparisons import change


def evidence(trained: float, *, gap: float = 0.01, instances: tuple[int, ...] = (300, 300), **changes: Any) -> Evidence:
    validated = trained - gap
    return Evidence(
        run=changes.pop("run", run()),
        dataset=dataset(),
        evaluation=evaluation(validated),
        training=evaluation(trained, split="train", instances=instances),
        interventions=(change("training_images", validated, trained, 0.02, grade="observational"),),
        **changes,
    )


def judged(trained: float, **changes: Any) -> CheckResult:
    return CHECK.examine(evidence(trained, **changes))


def test_a_model_that_fits_nothing_after_convergence_underfits() -> None:
    result = judged(0.3)
    assert (result.outcome, result.effect) == ("failed", pytest.approx(0.42))
    assert result.finding is not None
    assert result.finding.severity == "major"
    assert result.finding.remedies[1].patch == {"imgsz": 960}


def test_a_model_that_fits_its_training_images_passes() -> None:
    assert judged(0.6).outcome == "passed"


def test_a_low_value_whose_interval_is_not_low_is_minor() -> None:
    lower = judged(0.53)
    assert lower.ci95 is not None and lower.effect is not None
    assert lower.effect < FITTED.low <= lower.ci95[1]
    assert lower.finding is not None and lower.finding.severity == "minor"


@pytest.mark.parametrize(
    ("framework", "freeze", "layers"),
    [
        ("ultralytics", 22, "22 layers were frozen"),
        ("ultralytics", [0, 1, 2], "3 layers were frozen"),
        ("ultralytics", [0], "1 layer was frozen"),
        ("yolov5", [10], "10 layers were frozen"),
        ("yolov5", [0], None),
        ("ultralytics", None, None),
        ("ultralytics", 0, None),
        ("ultralytics", True, None),
    ],
)
def test_layers_that_were_frozen_are_thawed_first(framework: str, freeze: object, layers: str | None) -> None:
    result = judged(0.3, run=run(arguments={"freeze": freeze}).model_copy(update={"framework": framework}))
    assert result.finding is not None
    assert (layers is None) == ("frozen" not in result.finding.explanation)
    assert layers is None or layers in result.finding.explanation
    assert (result.finding.remedies[0].patch == {"freeze": None}) == (layers is not None)


def test_a_wide_gap_is_another_cause() -> None:
    assert judged(0.4, gap=0.2).outcome == "passed"


def test_few_objects_tell_nothing() -> None:
    assert judged(0.3, instances=(30, 30)).outcome == "inconclusive"


def test_without_curves_convergence_is_not_known() -> None:
    assert judged(0.3, run=run().model_copy(update={"curves": None})).outcome == "inconclusive"


def test_a_run_that_was_cut_short_is_not_underfitted() -> None:
    result = judged(0.3, run=run(planned=300, status="interrupted"))
    assert result.outcome == "inconclusive"
    assert "not converged" in result.reason


def still_rising(**changes: Any) -> RunFacts:
    """60 epochs whose second half brought 0.07: twice as many are projected to add 0.02, and 0.07 at most."""
    return run(0.02 + 0.1 * np.log(np.arange(1, 61)), **changes)


def test_more_epochs_excuse_only_what_they_could_mend() -> None:
    # mAP50 of 0.70 and of 0.42 on training images, where 0.75 would do.
    near, far = judged(0.5, run=still_rising()), judged(0.3, run=still_rising())
    assert near.outcome == "inconclusive" and "not converged" in near.reason
    assert far.outcome == "failed" and far.finding is not None and "doesn't make it fit" in far.finding.explanation


def test_from_random_weights_too_few_epochs_come_before_capacity() -> None:
    scratch = still_rising(arguments={"model": "yolov8n.yaml", "pretrained": False})
    assert judged(0.3, run=scratch).outcome == "inconclusive"


def test_a_network_far_smaller_than_any_stock_one_underfits_even_if_it_still_improves() -> None:
    scratch = still_rising(arguments={"model": "narrow.yaml", "pretrained": False})
    small = scratch.model_copy(update={"checkpoint": checkpoint(parameters=120_000)})
    stock = scratch.model_copy(update={"checkpoint": checkpoint(parameters=2_600_000)})
    result = judged(0.3, run=small)
    assert result.outcome == "failed" and result.finding is not None
    assert ("parameters", 120_000) in [(item.name, item.value) for item in result.finding.evidence]
    assert judged(0.3, run=stock).outcome == "inconclusive"
    assert judged(0.6, run=small).outcome == "passed", "small networks may fit easy data"


def test_a_run_that_diverged_is_not_underfitted() -> None:
    loss = falling()
    loss[50:] = np.nan
    assert judged(0.3, run=run(train=loss)).outcome == "inconclusive"


def test_without_training_images_it_is_not_run() -> None:
    bare = replace(evidence(0.3), training=None, absent={"training": "None is there."})
    assert (CHECK.examine(bare).outcome, CHECK.examine(bare).reason) == ("not_run", "None is there.")
