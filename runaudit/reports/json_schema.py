"""The report's JSON Schema, made from the models: `python -m runaudit.reports.json_schema > "
"openapi/report.schema.json`."""

from __future__ import annotations

import json
import sys

from runaudit.reports.schema import Report

DIALECT = "https://json-schema.org/draft/2020-12/schema"
IDENTIFIER = "https://runaudit.dev/schemas/report-1.json"


def report_schema() -> str:
    """The schema as the committed file holds it: sorted keys, two spaces, a newline at the end."""
    schema = {"$schema": DIALECT, "$id": IDENTIFIER, **Report.model_json_schema(mode="serialization")}
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(report_schema())
