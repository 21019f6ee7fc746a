"""The committed schema is the one that the models give."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from jsonschema import Draft202012Validator

from runaudit.reports.json_schema import report_schema

ROOT = Path(__file__).parents[2]


def test_the_committed_schema_is_the_generated_one():
    committed = (ROOT / "openapi" / "report.schema.json").read_text(encoding="utf-8")
    assert committed == report_schema(), "run: python -m runaudit.reports.json_schema > openapi/report.schema.json"


def test_it_is_a_valid_schema():
    Draft202012Validator.check_schema(json.loads(report_schema()))


def test_the_module_prints_it():
    printed = subprocess.run(
        [sys.executable, "-m", "runaudit.reports.json_schema"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert printed.stdout == report_schema()
