"""The commands that talk to a service: submit, show, list, report, keys."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from runaudit.commands.inputs import (
    SERVICE_MODULES,
    DepthOption,
    Format,
    read_pairs,
    read_policy,
    require_extra,
    require_path,
    require_writable,
)
from runaudit.commands.outcome import (
    EXIT_PASS,
    EXIT_SERVICE,
    FailOn,
    exit_code,
    problem_exit_code,
)
from runaudit.commands.output import deliver, say, shown_progress
from runaudit.reports.escape import visible_code

if TYPE_CHECKING:
    from runaudit.client import Audit, Client
    from runaudit.client.client import ReportFormat

keys = typer.Typer(no_args_is_help=True, help="API keys of the service.")
AuditId = Annotated[str, typer.Argument(metavar="ID", help="The audit's id.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


def submit(  # noqa: PLR0917 - typer makes options of them
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or an archive of one.")],
    data: Annotated[Path | None, typer.Option(help="The data set: data.yaml, its folder, or an archive.")] = None,
    depth: Annotated[DepthOption, typer.Option(case_sensitive=False)] = DepthOption.standard,
    policy: Annotated[Path | None, typer.Option(help="YAML or JSON file with what counts as passing.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A label to find it by.")] = None,
    run_name: Annotated[str | None, typer.Option(help="The run's name in the history.")] = None,
    project: Annotated[str | None, typer.Option(help="The project that it belongs to.")] = None,
    callback_url: Annotated[str | None, typer.Option(help="Where the service posts the result.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Audit again what has been audited already.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the verdict and exit by it, as check does.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait at most.")] = None,
    format: Annotated[
        Format, typer.Option(help="With --wait: how the report is written.", case_sensitive=False)
    ] = Format.text,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the report into this file.")] = None,
    fail_on: Annotated[FailOn, typer.Option(case_sensitive=False)] = FailOn.major,
) -> None:
    """Hand a run to the service. Prints the audit's id; with --wait, waits and prints the report."""
    for path, what in ((run, "RUN"), (data, "--data")):
        if path is not None:
            require_path(path, what)
    require_writable(output)
    with _client() as client:
        audit = client.submit(
            run,
            data,
            depth=depth.value,
            policy=read_policy(policy) or None,
            labels=read_pairs(label or [], "--label") or None,
            run_name=run_name,
            project=project,
            callback_url=callback_url,
            force=force,
        )
        if not wait:
            deliver(audit.id, None)
            return
        say(f"audit {audit.id}; it goes on if this command is stopped: runaudit show {audit.id}")
        audit = _await(client, audit, timeout)
        if audit.state != "succeeded":
            raise typer.Exit(_failed(audit))
        deliver(_report(client, audit.id, format), output)
        if output is not None:
            say(f"verdict: {audit.verdict}. {audit.headline}")
        raise typer.Exit(_verdict_code(json.loads(client.report(audit.id, "json")), fail_on))


def show(audit_id: AuditId, as_json: AsJson = False) -> None:
    """Show one audit: its state, progress and verdict."""
    with _client() as client:
        audit = client.get(audit_id)
    deliver(audit.model_dump_json(indent=2) if as_json else _described(audit), None)


def list_audits(  # noqa: PLR0917 - typer makes options of them
    state: Annotated[
        list[str] | None, typer.Option(help="queued, fetching, running, succeeded, failed, cancelled; may be repeated.")
    ] = None,
    verdict: Annotated[list[str] | None, typer.Option(help="pass, warn, fail, inconclusive; may be repeated.")] = None,
    project: Annotated[list[str] | None, typer.Option(help="Of this project; may be repeated.")] = None,
    cause: Annotated[list[str] | None, typer.Option(help="With a finding of this cause; may be repeated.")] = None,
    framework: Annotated[list[str] | None, typer.Option(help="yolov5, yolov9, ultralytics; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="With this label.")] = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Created after, in UTC.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="Created before, in UTC.")
    ] = None,
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Instead of newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List audits, newest first."""
    from itertools import islice  # noqa: PLC0415

    with _client() as client:
        found = client.list(
            state=state or (),
            verdict=verdict or (),
            project=project or (),
            cause=cause or (),
            framework=framework or (),
            labels=read_pairs(label or [], "--label"),
            created_after=since.replace(tzinfo=UTC) if since is not None else None,
            created_before=until.replace(tzinfo=UTC) if until is not None else None,
            sort="created_at" if oldest_first else "-created_at",
            page_size=min(limit, 100),
        )
        audits = [*islice(found, limit)]
    if as_json:
        deliver(json.dumps([audit.model_dump(mode="json") for audit in audits], indent=2), None)
        return
    for audit in audits:
        created = audit.created_at.strftime("%Y-%m-%d %H:%M")
        deliver(
            f"{audit.id}  {created}  {audit.state:<9}  {audit.verdict or '-':<12}  {audit.run_name or ''}".rstrip(),
            None,
        )


def report(
    audit_id: AuditId,
    format: Annotated[Format, typer.Option(case_sensitive=False)] = Format.text,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the report into this file.")] = None,
) -> None:
    """Print the report of an audit that has ended."""
    require_writable(output)
    with _client() as client:
        deliver(_report(client, audit_id, format), output)


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the key is for.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="What the key may do; may be repeated. Without: read and write audits.")
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option(
            help="For operators: make it in the database itself, for this tenant, which is made if it is not there. "
            "Without --scope it then has all scopes."
        ),
    ] = None,
) -> None:
    """Make an API key and print it, this once."""
    if tenant is not None:
        raise typer.Exit(_create_in_database(tenant, name, scope or []))
    with _client() as client:
        created = client.create_key(name, scope) if scope else client.create_key(name)
    say(f"key {created.name} ({', '.join(created.scopes)}); it can't be shown again")
    deliver(created.key, None)


def _create_in_database(tenant: str, name: str, scopes: list[str]) -> int:
    """Has the service's own code make the key, in a process of its own: the client knows no database."""
    require_extra("service", SERVICE_MODULES, "keys create --tenant")
    options = [argument for scope in scopes for argument in ("--scope", scope)]
    command = [sys.executable, "-P", "-m", "runaudit_service.store.tenants", *options, "--", tenant, name]
    return subprocess.run(command, check=False).returncode


def _client() -> Client:
    from runaudit.client import Client  # noqa: PLC0415

    return Client.from_environment()


def _await(client: Client, audit: Audit, timeout: float | None) -> Audit:
    with shown_progress() as progress:
        for event in client.follow(audit.id, timeout=timeout):
            audit = event.audit
            progress(audit.progress.stage, audit.progress.done, audit.progress.total)
    return audit


def _failed(audit: Audit) -> int:
    """Say why an audit has no report; 2 if the input is to blame, else 3."""
    error = audit.error or {}
    detail, code = error.get("detail", "no reason was given"), error.get("code", audit.state)
    say(f"runaudit: audit {audit.id} {audit.state}: {detail} [{code}]")
    status = error.get("status")
    return problem_exit_code(status) if audit.state == "failed" and isinstance(status, int) else EXIT_SERVICE


def _report(client: Client, audit_id: str, format: Format) -> str:
    if format is not Format.text:
        return client.report(audit_id, cast("ReportFormat", format.value))
    from runaudit.client.models import read_answer  # noqa: PLC0415
    from runaudit.reports.schema import Report  # noqa: PLC0415
    from runaudit.reports.text import render_text  # noqa: PLC0415

    return render_text(read_answer(Report, client.report(audit_id, "json").encode()))


def _verdict_code(document: dict[str, Any], fail_on: FailOn) -> int:
    code = exit_code(
        [finding["severity"] for finding in document["findings"]],
        [rule["outcome"] for rule in document["policy"]],
        fail_on,
    )
    return code or EXIT_PASS


def _described(audit: Audit) -> str:
    progress = audit.progress
    counted = f" {progress.done} of {progress.total}" if progress.total else ""
    lines = [
        ("id", audit.id),
        ("run", audit.run_name),
        ("project", audit.project),
        ("state", audit.state if audit.ended else f"{audit.state} ({progress.stage.replace('_', ' ')}{counted})"),
        ("verdict", audit.verdict),
        ("headline", audit.headline),
        ("error", f"{audit.error.get('detail')} [{audit.error.get('code')}]" if audit.error else None),
        ("created", audit.created_at.isoformat()),
        ("ended", audit.ended_at.isoformat() if audit.ended_at else None),
    ]
    return "\n".join(f"{name:<9} {visible_code(value)}" for name, value in lines if value is not None)
