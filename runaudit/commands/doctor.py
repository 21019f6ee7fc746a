"""`runaudit doctor`: what is installed, what this machine has, how things are set, and whether the service answers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from typing import Annotated, Any, Final

import typer

from runaudit import __version__
from runaudit.commands.inputs import AUDIT_MODULES, SERVICE_MODULES
from runaudit.commands.outcome import EXIT_PASS, EXIT_SERVICE
from runaudit.commands.output import deliver
from runaudit.errors import RunauditError

PACKAGES: Final = ("numpy", "pydantic", "torch", "torchvision", "ultralytics", "fastapi", "celery", "sqlalchemy")
EXTRAS: Final = {"audit": AUDIT_MODULES, "service": SERVICE_MODULES}
CLIENT_SETTINGS: Final = {
    "RUNAUDIT_URL": "the service that client commands talk to; empty: as credentials.json of DATA_DIR says",
    "RUNAUDIT_API_KEY": "the key that client commands use; empty: as credentials.json of DATA_DIR says",
}
CHILD_SECONDS: Final = 120


def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False) -> None:
    """Show versions, extras, accelerators, isolation, every setting, and whether artifacts can be stored and the
    service be reached.

    Exit code 3 if a service is configured but does not answer, a setting is not valid or the artifact store does not
    work, else 0.
    """
    found = _examine()
    deliver(json.dumps(found, indent=2) if as_json else _described(found), None)
    broken = {"error", "errors"} & found["settings"].keys()
    stored = found["settings"].get("blob_store", {}).get("state") != "error"
    healthy = not broken and stored and found["service"]["state"] in ("ready", "not_configured")
    raise typer.Exit(EXIT_PASS if healthy else EXIT_SERVICE)


def _examine() -> dict[str, Any]:
    from runaudit.isolation.sandbox import active_layers  # noqa: PLC0415

    extras = {name: _missing(modules) for name, modules in EXTRAS.items()}
    no_service = f"not installed: pip install 'runaudit[service]' (missing: {', '.join(extras['service'])})"
    no_torch = f"not installed: pip install 'runaudit[audit]' (missing: {', '.join(extras['audit'])})"
    return {
        "versions": {
            "runaudit": __version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in PACKAGES},
        },
        "extras": {name: {"installed": not missing, "missing": missing} for name, missing in extras.items()},
        "accelerators": _child("runaudit.evaluation.accelerators") if not _missing(["torch"]) else {"error": no_torch},
        "isolation": active_layers(),
        "client": _client_settings(),
        "settings": _child("runaudit_service.doctor") if not extras["service"] else {"note": no_service},
        "service": _service(),
    }


def _client_settings() -> list[dict[str, Any]]:
    """The settings of the client commands, in the form of the service's own."""
    return [
        {
            "variable": variable,
            "value": os.environ.get(variable, "")
            and ("***" if variable == "RUNAUDIT_API_KEY" else os.environ[variable]),
            "default": "",
            "is_set": bool(os.environ.get(variable)),
            "description": description,
        }
        for variable, description in CLIENT_SETTINGS.items()
    ]


def _missing(modules: tuple[str, ...] | list[str]) -> list[str]:
    return [module for module in modules if importlib.util.find_spec(module) is None]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _child(module: str) -> dict[str, Any]:
    """The JSON that `python -m module` prints, else `{"error"}`."""
    try:
        ended = subprocess.run(
            [sys.executable, "-P", "-m", module], capture_output=True, text=True, timeout=CHILD_SECONDS, check=False
        )
        answer = json.loads(ended.stdout) if ended.returncode == 0 else None
    except (subprocess.TimeoutExpired, ValueError) as error:
        return {"error": f"{module} gave no answer: {error}"}
    if not isinstance(answer, dict):
        last = (ended.stderr.strip().splitlines() or ["no output"])[-1]
        return {"error": f"{module} ended with {ended.returncode}: {last}"}
    return answer


def _service() -> dict[str, str]:
    from runaudit.client import Client, CredentialsError, load_credentials  # noqa: PLC0415
    from runaudit.client.retry import Retry  # noqa: PLC0415

    try:
        credentials = load_credentials()
    except CredentialsError as error:
        state = "not_configured" if error.error_code == CredentialsError.code else "error"
        return {"state": state, "detail": error.detail}
    known = {"url": credentials.url, "credentials": credentials.source}
    try:
        with Client(credentials.url, credentials.key, retry=Retry(attempts=1), timeout=5.0) as client:
            client.ready()
            next(client.list(page_size=1), None)
    except RunauditError as error:
        return known | {"state": "error", "detail": f"{error.detail} [{error.error_code}]"}
    return known | {"state": "ready", "detail": "it answers and takes the key"}


def _described(found: dict[str, Any]) -> str:
    sections = [
        ("Versions", [f"{name:<13} {version or 'not installed'}" for name, version in found["versions"].items()]),
        ("Extras", [_extra_line(name, state) for name, state in found["extras"].items()]),
        ("Accelerators", _accelerator_lines(found["accelerators"])),
        ("Isolation of the child processes", [f"{name:<13} {state}" for name, state in found["isolation"].items()]),
        ("Settings of the client commands", _setting_lines({"settings": found["client"]})),
        ("Settings of the service", _setting_lines(found["settings"])),
        ("Artifact store", [f"{name:<13} {value}" for name, value in found["settings"].get("blob_store", {}).items()]),
        ("Service", [f"{name:<13} {value}" for name, value in found["service"].items()]),
    ]
    return "\n\n".join("\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in sections if lines)


def _extra_line(name: str, state: dict[str, Any]) -> str:
    if state["installed"]:
        return f"{name:<13} installed"
    return f"{name:<13} pip install 'runaudit[{name}]' (missing: {', '.join(state['missing'])})"


def _accelerator_lines(found: dict[str, Any]) -> list[str]:
    if "error" in found:
        return [found["error"]]
    lines = [f"torch {found['torch']}, CUDA {found['cuda'] or 'not built in'}"]
    devices = [f"{device['name']}, {device['memory_bytes'] / 2**30:.1f} GiB" for device in found["devices"]]
    return lines + (devices or ["no GPU found: models run on the CPU"])


def _setting_lines(found: dict[str, Any]) -> list[str]:
    if "settings" not in found:
        return [str(line) for line in found.get("errors") or [found.get("error") or found.get("note")]]
    return [line for one in found["settings"] for line in (_setting_line(one), f"    {one['description']}")]


def _setting_line(one: dict[str, Any]) -> str:
    return f"{one['variable']:<26} {one['value'] or '-'}{'' if one['is_set'] else ' (default)'}"
