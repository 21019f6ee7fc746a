"""Which runs are handed on to be run, and why the others are not."""

from __future__ import annotations

import pytest

from runaudit.isolation.ingest import why_not_evaluated
from runaudit.isolation.job import JobSpec, Source
from runaudit.runs.facts import CheckpointFacts, DatasetFacts, Framework, Note, RunFacts, SplitFacts, Task

CHECKPOINT = CheckpointFacts(source="weights/best.pt", sha256="0" * 64, size=1)


def spec(depth: str = "standard") -> JobSpec:
    return JobSpec.model_validate({"run": Source(kind="folder", path="/nowhere"), "depth": depth})


def run(
    framework: Framework = "ultralytics", task: Task = "detect", checkpoint: CheckpointFacts | None = CHECKPOINT
) -> RunFacts:
    return RunFacts(folder="", framework=framework, task=task, status="finished", checkpoint=checkpoint)


def dataset(instances: int = 3) -> DatasetFacts:
    split = SplitFacts(
        **{"source": "images/val", "images": 2, "labelled": 1, "background": 1, "missing_labels": 0, "rejected": 0},
        **{"instances": instances, "class_instances": (instances,), "class_images": (1,)},
    )
    return DatasetFacts(source="data.yaml", names={0: "thing"}, splits={"val": split})


@pytest.mark.parametrize("framework", ["ultralytics", "yolov5"])
def test_detectors_of_both_families_are_run(framework: Framework) -> None:
    assert why_not_evaluated(spec(), run(framework), dataset(), None) is None


def test_others_are_not_and_the_reason_names_them() -> None:
    assert "yolov9 detect" in str(why_not_evaluated(spec(), run("yolov9"), dataset(), None))
    assert "yolov5 segment" in str(why_not_evaluated(spec(), run("yolov5", "segment"), dataset(), None))


def test_without_what_a_validation_needs() -> None:
    problem = Note(code="checkpoint_truncated", detail="It was cut off.")
    broken = CHECKPOINT.model_copy(update={"problem": problem})
    no_val = dataset().model_copy(update={"splits": {}})
    assert "curves" in str(why_not_evaluated(spec("curves"), run(), dataset(), None))
    assert "no checkpoint" in str(why_not_evaluated(spec(), run(checkpoint=None), dataset(), None))
    assert "It was cut off." in str(why_not_evaluated(spec(), run(checkpoint=broken), dataset(), None))
    assert why_not_evaluated(spec(), run(), None, "There are none.") == "There are none."
    assert "no validation split" in str(why_not_evaluated(spec(), run(), no_val, None))
    assert "No validation image has a label" in str(why_not_evaluated(spec(), run(), dataset(0), None))
