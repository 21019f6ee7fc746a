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


def rounded(run: Any, decimals: int, *, lifted: float = 0.0) -> Any:
    metric = tuple(None if cell is None else round(cell + lifted, decimals) for cell in run.curves.metrics["map50_95"])
    return cases.with_curves(run, metrics=run.curves.metrics | {"map50_95": metric})


@pytest.mark.parametrize(("lifted", "outcome"), [(0.0, "passed"), (0.03, "failed")])
def test_a_file_that_somebody_rounded_is_not_altered_unless_by_more(lifted: float, outcome: str):
    run = rounded(cases.run(), 2, lifted=lifted)
    run = run.model_copy(update={"checkpoint": cases.checkpoint(train_results=recorded(cases.run()))})
    assert examine(replace(cases.healthy(), run=run)).outcome == outcome


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


def contradicted(written: dict[str, Any], stored: dict[str, Any], **changes: Any) -> Any:
    """The answer for a run whose args.yaml says `written` and whose checkpoint says `stored`."""
    run = cases.run(arguments=written)
    assert run.configuration is not None
    places = {key: f"args.yaml:{line}" for line, key in enumerate(run.configuration.values, start=1)}
    configuration = run.configuration.model_copy(update={"places": places})
    arguments = dict(run.configuration.values) | stored
    run = run.model_copy(
        update={"configuration": configuration, "checkpoint": cases.checkpoint(train_args=arguments)} | changes
    )
    return examine(replace(cases.healthy(), run=run))


@pytest.mark.parametrize(
    ("key", "written", "stored"),
    [("imgsz", 320, 640), ("task", "detect", "segment"), ("single_cls", False, True)],
)
def test_arguments_that_change_the_metric_and_contradict_the_checkpoint_are_major(key: str, written: Any, stored: Any):
    result = contradicted({key: written}, {key: stored})
    assert result.finding is not None and result.finding.severity == "major"
    first = result.finding.evidence[0]
    assert (first.name, first.threshold) == (f"{key} in args.yaml", str(stored))
    assert first.source is not None and first.source.startswith("args.yaml:")
    assert str(stored) in result.finding.title + result.finding.explanation


@pytest.mark.parametrize(
    ("key", "written", "stored"),
    [
        ("epochs", 300, 100),
        ("batch", 64, 12),
        ("optimizer", "AdamW", "SGD"),
        ("lr0", 0.001, 0.01),
        ("data", "/data/cats.yaml", "C:\\sets\\dogs.yaml"),
        ("seed", 1, 0),
    ],
)
def test_training_arguments_that_contradict_the_checkpoint_are_minor(key: str, written: Any, stored: Any):
    result = contradicted({key: written}, {key: stored})
    assert result.outcome == "warned" and result.finding is not None
    assert result.finding.evidence[0].name == f"{key} in args.yaml"


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ({"imgsz": 500}, {"imgsz": 512}),  # rounded up to the stride
        ({"imgsz": "640"}, {"imgsz": 640}),
        ({"imgsz": [640, 480]}, {"imgsz": 640}),
        ({"batch": -1}, {"batch": 22}),  # AutoBatch
        ({"batch": 0.7}, {"batch": 22}),
        ({"batch": 64}, {"batch": 16}),  # halved twice after running out of memory
        ({"epochs": 100, "time": 1.5}, {"epochs": 37, "time": 1.5}),
        ({"lr0": 0.01}, {"lr0": 0.010000000000000002}),
        ({"lr0": "1e-3"}, {"lr0": 0.001}),
        ({"data": "/kaggle/input/set/data.yaml"}, {"data": "D:\\set\\data.yaml"}),
        ({"data": "https://host/coco8.zip"}, {"data": "/datasets/coco8/data.yaml"}),
        ({"optimizer": "SGD"}, {"optimizer": "sgd"}),
        ({"save_dir": "a", "name": "x", "device": "0", "workers": 8, "mosaic": 1.0, "warmup_bias_lr": 0.1},
         {"save_dir": "b", "name": "y", "device": "cpu", "workers": 0, "mosaic": 0.0, "warmup_bias_lr": 0.0}),
        ({"single_cls": None}, {"single_cls": False}),
    ],
)  # fmt: skip
def test_what_the_framework_itself_changes_in_its_arguments_is_no_contradiction(written: Any, stored: Any):
    assert contradicted(written, stored).outcome == "passed"


def test_arguments_that_may_be_given_anew_with_a_resume_are_no_contradiction():
    resumed = (Note(code="run_resumed", detail="The clock restarts.", place="results.csv:20"),)
    anew = {"imgsz": 320, "batch": 8, "epochs": 200, "patience": 5}
    assert contradicted(anew, {"imgsz": 640, "batch": 10, "epochs": 100, "patience": 100}, notes=resumed).outcome == (
        "passed"
    )
    assert contradicted({"task": "detect"}, {"task": "segment"}, notes=resumed).outcome == "failed"


def test_hyperparameters_of_yolov5_are_compared_with_those_in_the_checkpoints_options():
    run = cases.run(arguments={"lr0": 0.02})
    stored = {"imgsz": 640, "hyp": {"lr0": 0.01, "momentum": 0.937}}
    run = run.model_copy(update={"framework": "yolov5", "checkpoint": cases.checkpoint(train_args=stored)})
    result = examine(replace(cases.healthy(), run=run))
    assert result.outcome == "warned" and result.finding is not None
    assert [item.name for item in result.finding.evidence] == ["lr0 in args.yaml"]


def test_a_contradicted_task_is_told_rather_than_that_the_network_does_not_fit_it():
    problem = Note(code="checkpoint_unreadable", detail="The head is of another task.", place="weights/best.pt")
    run = cases.run(arguments={"task": "segment"})
    run = run.model_copy(
        update={"checkpoint": cases.checkpoint(problem=problem, weights=None, train_args={"task": "detect"})}
    )
    result = examine(replace(cases.healthy(), run=run))
    assert result.finding is not None and result.finding.severity == "critical"
    assert "task" in result.finding.title and "The head is of another task." in result.finding.explanation


def test_contradictions_stand_beside_rows_that_contradict_the_plan():
    notes = (Note(code="epochs_beyond_plan", detail="50 epochs were planned.", place="results.csv:52"),)
    result = contradicted({"epochs": 50}, {"epochs": 100}, status="inconsistent", notes=notes)
    assert result.finding is not None
    assert "epochs in args.yaml" in [item.name for item in result.finding.evidence]


@pytest.mark.parametrize(("place", "outcome"), [("results.csv:101", "passed"), ("results.csv:50", "failed")])
def test_a_last_line_that_was_half_written_is_no_alteration(place: str, outcome: str):
    rows = recorded(cases.run())
    columns = {"train": cases.falling(), "val": cases.falling(seed=2), "rate": cases.linear_rate()}
    short = cases.run(cases.smooth()[:-1], **{name: column[:-1] for name, column in columns.items()})
    short = short.model_copy(
        update={
            "notes": (Note(code="row_length", detail="It has 5 cells.", place=place),),
            "checkpoint": cases.checkpoint(train_results=rows),
        }
    )
    assert examine(replace(cases.healthy(), run=short)).outcome == outcome
