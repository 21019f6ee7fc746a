"""A classifier's training loss bounds what it gets wrong in training."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.history import history_of
from runaudit.diagnostics.learnt_by_heart import least_accuracy
from runaudit.diagnostics.overfitting import examine
from tests.diagnostics import cases, classifier_cases


def at(loss: float, reported: float, version: str | None = "8.4.190", batch: int = 16) -> Evidence:
    """A classifier at the end of whose training the loss is `loss`, and that validated at `reported` at best."""
    run = classifier_cases.run(reported, batch=batch)
    losses = {"loss": tuple(float(value) for value in np.linspace(1.5, loss, cases.EPOCHS - 3)) + (loss,) * 3}
    run = cases.with_curves(run, train_losses=losses).model_copy(update={"framework_version": version})
    return replace(classifier_cases.unmeasured(), run=run)


def test_the_bound_is_the_share_that_costs_ln_2_each():
    # A tenth of the images at a probability of 1/2, all others certain.
    evidence = at(0.1 * math.log(2.0), 0.3)
    history = history_of(evidence.run)
    assert history is not None and least_accuracy(evidence, history) == pytest.approx(0.9)


def test_training_known_by_heart_and_validation_at_chance_is_major():
    result = examine(at(0.04, 0.3))
    finding = result.finding
    assert finding is not None and (finding.severity, result.cause) == ("major", "overfitting")
    assert "0.94 of them at least" in finding.title and "at best 0.30" in finding.title
    assert finding.impact.metric == "top1" and finding.impact.value is None


@pytest.mark.parametrize(
    ("loss", "reported"),
    [
        pytest.param(0.01, 0.92, id="a good classifier"),
        pytest.param(0.3, 0.4, id="a loss that leaves half of them open"),
        pytest.param(1.4, 0.3, id="a classifier that learnt nothing"),
    ],
)
def test_what_the_loss_does_not_prove_is_no_finding(loss: float, reported: float):
    assert examine(at(loss, reported)).finding is None


def test_losses_of_versions_that_divide_by_64_are_taken_as_the_larger():
    assert examine(at(0.04, 0.6, "8.0.20", batch=16)).finding is None
    assert examine(at(0.04, 0.6, None, batch=16)).finding is None
    assert examine(at(0.04, 0.6, "8.0.20", batch=64)).finding is not None


def test_detection_has_no_such_bound():
    run = at(0.04, 0.3).run.model_copy(update={"task": "detect"})
    assert examine(cases.curves_only(run)).finding is None
