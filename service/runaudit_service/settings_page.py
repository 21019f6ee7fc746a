"""docs/settings.md, made from the settings themselves. `python -m runaudit_service.settings_page` prints it."""

from __future__ import annotations

import sys
from pathlib import Path

from runaudit_service.store.settings import Settings

INTRODUCTION = """# Settings

Settings are environment variables with the prefix `RUNAUDIT_`. `runaudit doctor` shows the values in force.
A variable with `_FILE` at its end names a file that holds the value, as containers get their secrets
(`RUNAUDIT_DATABASE_URL_FILE=/run/secrets/database_url`); where both are set, the variable itself holds.

| variable | default | meaning |
|---|---|---|
"""


def page() -> str:
    """The page as it is committed."""
    prefix = Settings.model_config["env_prefix"]
    rows = []
    for name, field in Settings.model_fields.items():
        default = str(field.default) if isinstance(field.default, Path) else field.default
        shown = f"`{default}`" if default not in ("", None) else ""
        rows.append(f"| `{prefix}{name.upper()}` | {shown} | {field.description} |\n")
    return INTRODUCTION + "".join(rows)


if __name__ == "__main__":
    sys.stdout.write(page())
