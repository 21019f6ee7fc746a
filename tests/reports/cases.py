"""Reports for the tests, built from real evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from runaudit.diagnostics.catalogue import examine_all
from runaudit.diagnostics.evidence import Evidence
from runaudit.diagnostics.policy import Policy
from runaudit.reports.build import build_report
from runaudit.reports.schema import Provenance, Report
from runaudit.runs.facts import AnnotatorFacts, Configuration, Note
from tests.diagnostics import cases

HOSTILE = (
    "\x1b[31mred\x1b[0m | `code` <script>alert(1)</script>\n# heading ![x](http://evil.test/x.png) "
    "\u202etxt.exe \x07\x00\x1b]8;;http://evil.test\x07link\x1b]8;;\x07 \ud800 *b* [l](javascript:x) \u2028 end"
)


def provenance() -> Provenance:
    return Provenance(runaudit_version="0.1.0", versions={"numpy": "2.0"}, device="cpu", artifacts={"run": "0" * 64})


def build(evidence: Evidence, policy: Policy | None = None, **changes: Any) -> Report:
    return build_report(evidence, examine_all(evidence), policy or Policy(), provenance=provenance(), **changes)


def faulty_evidence() -> Evidence:
    """Diverged at a high learning rate, with a policy to break, and findings of every severity."""
    after = np.maximum(0, np.arange(100) - 50) / 100
    run = cases.run(
        cases.smooth() * np.exp(-30 * after),
        train=cases.falling() * np.exp(np.minimum(3, 30 * after)),
        rate=cases.linear_rate(lr0=0.5),
        arguments={"lr0": 0.5},
    ).model_copy(update={"checkpoint": cases.checkpoint()})
    return Evidence(run, dataset=cases.dataset(), evaluation=cases.evaluation(0.3, half_width=0.08))


def noted_evidence() -> Evidence:
    """A data set with something to tell of each of its parts: 30 notes in all."""
    rows = tuple(
        Note(code="row_length", detail="A row has 4 values", place=f"labels/{letter}.txt:1") for letter in "abc"
    )
    splits = {
        "train": cases.split((1000, 800)).model_copy(
            update={
                "images": 900, "labelled": 800, "background": 100, "missing_labels": 40, "rejected": 7, "notes": rows
            }
        ),
        "val": cases.split((250, 200), source="images/val").model_copy(
            update={"images": 450, "labelled": 450, "background": 0, "missing_labels": 0}
        ),
    }  # fmt: skip
    ada = AnnotatorFacts(
        **{"name": "ada", "images": 430, "labelled": 400, "background": 30, "not_annotated": 20, "rejected": 1},
        **{"unmatched_files": 1, "instances": 500, "class_instances": (300, 200), "class_images": (300, 200)},
        notes=(Note(code="unmatched", detail="A file belongs to no image"),),
    )
    conflict = Note(code="class_count_conflict", detail="nc: 3 contradicts the 2 names", place="data.yaml:2")
    notes = (conflict, *(Note(code="x", detail=f"Something else, {number}") for number in range(25)))
    return replace(cases.healthy(), dataset=cases.dataset(splits=splits, notes=notes, annotators={"ada": ada}))


def hostile_evidence() -> Evidence:
    """Every string that a run can bring along is hostile."""
    run = cases.run().model_copy(
        update={
            "architecture": HOSTILE,
            "framework_version": HOSTILE,
            "configuration": Configuration(
                sources=(HOSTILE,), values={HOSTILE: HOSTILE, "x": float("nan"), "y": [float("inf"), {"z": HOSTILE}]},
                places={},
            ),
            "checkpoint": cases.checkpoint(source=HOSTILE, foreign_globals=(HOSTILE, "posix.system")),
        }
    )  # fmt: skip
    assert run.curves is not None
    run = cases.with_curves(run, source=HOSTILE)
    names = {0: HOSTILE, 1: HOSTILE}
    evaluation = cases.evaluation(0.2, instances=(10, 300))
    per_class = tuple(entry.model_copy(update={"name": HOSTILE}) for entry in evaluation.per_class)
    return replace(
        cases.healthy(),
        run=run,
        dataset=cases.dataset((900, 100), (100, 400), names=names),
        evaluation=evaluation.model_copy(update={"per_class": per_class}),
        absent={"log": HOSTILE},
    )
