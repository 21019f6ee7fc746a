"""The report's JSON Schema, made from the models. `python -m runaudit.reports.json_schema` prints what is committed."""

from __future__ import annotations

import json
import sys

from runaudit.reports.schema import Report


def report_schema() -> str:
    """The schema as the text that is committed."""
    schema = Report.model_json_schema(mode="serialization")
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(report_schema())
