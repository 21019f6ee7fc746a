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
from runaudit.runs.facts import Configuration
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
