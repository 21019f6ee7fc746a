"""What an audit says of the parts of the evidence that are missing."""

from __future__ import annotations

from runaudit.isolation.conclude import evidence_of
from runaudit.isolation.job import JobSpec, Source
from runaudit.runs.facts import IngestFacts, Note, RunFacts

SPEC = JobSpec(run=Source(kind="folder", path="run"))


def without_curves(*notes: Note) -> str:
    run = RunFacts(folder="", framework="ultralytics", task="detect", status="interrupted", notes=notes)
    return evidence_of(IngestFacts(run=run), None, None, "Nothing was run.", SPEC).absent["curves"]


def test_a_file_without_a_row_is_not_a_missing_one():
    empty = Note(code="results_empty", detail="It holds a header and no row.", place="results.csv:1")
    assert without_curves(empty) == "results.csv:1: It holds a header and no row."
    missing = Note(code="results_missing", detail="There is no results.csv to tell how the run ended.")
    assert without_curves(missing).startswith("The run holds no results.csv")
