"""`runaudit check`: audit a run on this machine, without a service."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runaudit.commands.inputs import (
    AUDIT_MODULES,
    DepthOption,
    Format,
    data_source,
    label_sources,
    read_policy,
    require_extra,
    require_writable,
    run_source,
)
from runaudit.commands.outcome import EXIT_OF_SIGNAL, FailOn, exit_code
from runaudit.commands.output import deliver, say, shown_progress
from runaudit.commands.preparation import Preparation, prepared
from runaudit.errors import RunauditError

if TYPE_CHECKING:
    from runaudit.isolation.job import JobSpec
    from runaudit.reports.schema import Report


def check(  # noqa: PLR0917 - typer makes options of them
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or an archive of one.")],
    data: Annotated[
        Path | None, typer.Option(help="The data set: data.yaml, its folder, or an archive. Wins over one in RUN.")
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option(metavar="NAME=DIR", help="Another annotator's labels of the same images.")
    ] = None,
    depth: Annotated[
        DepthOption, typer.Option(help="curves needs no weights and no data.", case_sensitive=False)
    ] = DepthOption.standard,
    policy: Annotated[Path | None, typer.Option(help="YAML or JSON file with what counts as passing.")] = None,
    format: Annotated[Format, typer.Option(help="How the report is written.", case_sensitive=False)] = Format.text,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the report into this file.")] = None,
    fail_on: Annotated[
        FailOn, typer.Option(help="The least severity that makes the exit code 1.", case_sensitive=False)
    ] = FailOn.major,
) -> None:
    """Audit a training run on this machine and say why its model fails validation.

    Exit codes: 0 pass, 1 a finding at or above --fail-on or a broken policy, 2 usage or unreadable input,
    3 the audit itself failed.
    """
    require_writable(output)
    if depth is not DepthOption.curves:
        require_extra("audit", AUDIT_MODULES, f"check --depth {depth}")
    from runaudit.isolation.job import JobSpec  # noqa: PLC0415

    spec = JobSpec(
        run=run_source(run),
        data=data_source(data) if data is not None else None,
        annotators=label_sources(labels or [], depth),
        depth=depth.value,
        policy=read_policy(policy),
        own_machine=True,
    )
    # `main` made the preparation before anything was loaded; other callers of this command have not.
    ready = nullcontext(context.obj) if isinstance(context.obj, Preparation) else prepared()
    with ready as preparation:
        report = _audit(spec, preparation)
    deliver(_render(report, format), output)
    if output is not None:
        say(f"verdict: {report.verdict}. {report.headline}")
    severities = [finding.severity for finding in report.findings]
    raise typer.Exit(exit_code(severities, [rule.outcome for rule in report.policy], fail_on))


def _audit(spec: JobSpec, preparation: Preparation) -> Report:
    from runaudit.isolation.audit import run_audit  # noqa: PLC0415
    from runaudit.isolation.job import Progress  # noqa: PLC0415

    stop = preparation.stop
    with shown_progress() as show:

        def on_progress(progress: Progress) -> None:
            show(progress.stage, progress.done, progress.total)

        try:
            return run_audit(
                spec,
                preparation.folder,
                on_progress=on_progress,
                should_stop=stop.asked,
                started=preparation.child,
            )
        except RunauditError as error:
            if stop.number is None:
                raise
            say("runaudit: stopped; no process is left behind [cancelled]")
            raise typer.Exit(EXIT_OF_SIGNAL + stop.number) from error


def _render(report: Report, format: Format) -> str:
    from runaudit.reports.renderings import render  # noqa: PLC0415

    if format is Format.text:
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return render(report, format.value)
