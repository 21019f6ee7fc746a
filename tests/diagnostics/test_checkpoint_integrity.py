"""The checkpoint: foreign code, damage, an altered csv, an unfinished run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runaudit.diagnostics.checkpoint_integrity import examine
from runaudit.runs.facts import Column, Note
from tests.diagnostics import cases


def recorded(run: Any, *, first_epoch: int = 1) -> dict[str, Column]:
    """The rows of a run as a checkpoint keeps them."""
    curves = run.curves
    return {
        "epoch": tuple(float(epoch - 1 + first_epoch) for epoch in curves.epochs),
        "train/box_loss": curves.train_losses["box"],
        "metrics/mAP50-95(B)": curves.metrics["map50_95"],
        "lr/pg0": curves.learning_rates["pg0"],
    }


def test_a_sound_checkpoint_passes():
    evidence = cases.with_checkpoint(cases.healthy(), train_results=recorded(cases.run()))
    result = examine(evidence)
    assert result.outcome == "passed" and result.n == cases.EPOCHS


@pytest.mark.parametrize("first_epoch", [0, 1])
def test_rounding_and_counting_from_zero_are_no_difference(first_epoch: int):
    rows = {
        name: tuple(None if cell is None else float(f"{cell:.5g}") for cell in column)
        for name, column in recorded(cases.run(), first_epoch=first_epoch).items()
    }
    assert examine(cases.with_checkpoint(cases.healthy(), train_results=rows)).outcome == "passed"


def test_foreign_globals_are_critical_and_named():
    result = examine(cases.with_checkpoint(cases.healthy(), foreign_globals=("posix.system", "custom.Net")))
    assert result.finding is not None and result.finding.severity == "critical"
    assert "posix.system" in result.finding.title
    assert "posix.system" in result.reason


def test_an_unreadable_checkpoint_is_critical():
    problem = Note(code="checkpoint_truncated", detail="The archive ends early.", place="weights/best.pt")
    result = examine(cases.with_checkpoint(cases.healthy(), problem=problem, weights=None))
    assert result.finding is not None and result.finding.severity == "critical"
    assert "ends early" in result.finding.explanation


def test_an_altered_csv_is_critical_with_its_line():
    rows = recorded(cases.run())
    run = cases.spoil(cases.run(), "metrics", "map50_95", {70: 0.95})
    run = run.model_copy(update={"checkpoint": cases.checkpoint(train_results=rows)})
    result = examine(replace(cases.healthy(), run=run))
    assert result.finding is not None and result.finding.severity == "critical"
    assert result.finding.evidence[0].source == "results.csv:72"
    assert result.finding.evidence[0].value == 1


def test_a_removed_row_is_an_alteration_and_a_later_row_is_not():
    full = cases.run()
    assert full.curves is not None
    rows = recorded(full)
    longer = cases.with_curves(full, epochs=(*range(1, 100), 200))
    longer = longer.model_copy(update={"checkpoint": cases.checkpoint(train_results=rows)})
    assert examine(replace(cases.healthy(), run=longer)).outcome == "failed"
    prefix = {name: column[:40] for name, column in rows.items()}
    assert examine(cases.with_checkpoint(cases.healthy(), train_results=prefix)).outcome == "passed"


def test_one_of_the_rows_of_a_repeated_epoch_may_agree():
    run = cases.run(status="resumed")
    rows = {name: column[:50] for name, column in recorded(run).items()}
    repeated = cases.with_curves(run, epochs=(*range(1, 51), *range(1, 51)))
    repeated = repeated.model_copy(update={"checkpoint": cases.checkpoint(train_results=rows)})
    assert examine(replace(cases.healthy(), run=repeated)).outcome == "passed"


@pytest.mark.parametrize("status", ["finished", "interrupted"])
def test_an_unfinished_checkpoint_of_a_finished_csv_is_major(status: str):
    run = cases.run(status=status).model_copy(update={"checkpoint": cases.checkpoint(epoch=39, optimizer_present=True)})
    result = examine(replace(cases.healthy(), run=run))
    assert result.finding is not None and result.finding.severity == "major"
    assert "epoch 40" in result.finding.title


def test_an_unfinished_checkpoint_of_the_last_epoch_is_minor():
    result = examine(cases.with_checkpoint(cases.healthy(), epoch=99, optimizer_present=True))
    assert result.outcome == "warned"


def test_an_unfinished_checkpoint_of_an_interrupted_run_is_what_it_says():
    run = cases.run(cases.smooth(40), planned=100, status="interrupted")
    run = run.model_copy(update={"checkpoint": cases.checkpoint(epoch=39, optimizer_present=True)})
    assert examine(replace(cases.healthy(), run=run)).outcome == "passed"


def test_stored_metrics_of_no_row_are_minor():
    result = examine(cases.with_checkpoint(cases.healthy(), train_metrics={"metrics/mAP50-95(B)": 0.91}))
    assert result.outcome == "warned"
    same = cases.best_metric(cases.run())
    assert (
        examine(cases.with_checkpoint(cases.healthy(), train_metrics={"metrics/mAP50-95(B)": same})).outcome == "passed"
    )


def test_files_that_contradict_each_other_are_major_without_a_checkpoint():
    notes = (Note(code="epoch_gap", detail="Epoch 10 follows epoch 1.", place="results.csv:3"),)
    run = cases.run(status="inconsistent").model_copy(update={"notes": notes})
    result = examine(cases.curves_only(run))
    assert result.outcome == "failed" and result.finding is not None
    assert result.finding.evidence[0].source == "results.csv:3"


def test_no_checkpoint_is_not_run():
    assert examine(cases.curves_only(cases.run())).reason == cases.ABSENT["checkpoint"]
