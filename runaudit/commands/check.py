"""`runaudit check`: audit a run on this machine, without a service."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from runaudit.commands.inputs import (
    AUDIT_MODULES,
    DepthOption,
    Format,
    data_source,
    read_policy,
    refuse_labels,
    require_extra,
    require_format,
    run_source,
)
from runaudit.commands.outcome import EXIT_OF_SIGNAL, FailOn, exit_code
from runaudit.commands.output import deliver, say, shown_progress
from runaudit.errors import RunauditError

if TYPE_CHECKING:
    from runaudit.isolation.job import JobSpec
    from runaudit.reports.schema import Report


def check(  # noqa: PLR0917 - typer makes options of them
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
    require_format(format)
    refuse_labels(labels or [])
    if depth is not DepthOption.curves:
        require_extra("audit", AUDIT_MODULES, f"check --depth {depth}")
    from runaudit.isolation.job import JobSpec  # noqa: PLC0415

    spec = JobSpec(
        run=run_source(run),
        data=data_source(data) if data is not None else None,
        depth=depth.value,
        policy=read_policy(policy),
        own_machine=True,
    )
    report = _audit(spec)
    deliver(_render(report, format), output)
    if output is not None:
        say(f"verdict: {report.verdict}. {report.headline}")
    severities = [finding.severity for finding in report.findings]
    raise typer.Exit(exit_code(severities, [rule.outcome for rule in report.policy], fail_on))


def _audit(spec: JobSpec) -> Report:
    from runaudit.isolation.audit import run_audit  # noqa: PLC0415
    from runaudit.isolation.job import Progress  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(prefix="runaudit-") as folder,
        _stop_on_signal() as stop,
        shown_progress() as show,
    ):

        def on_progress(progress: Progress) -> None:
            show(progress.stage, progress.done, progress.total)

        try:
            return run_audit(spec, Path(folder), on_progress=on_progress, should_stop=stop.asked)
        except RunauditError as error:
            if stop.number is None:
                raise
            say("runaudit: stopped; no process is left behind [cancelled]")
            raise typer.Exit(EXIT_OF_SIGNAL + stop.number) from error


@dataclass
class _Stop:
    """The signal that asked for an end, if one did."""

    number: int | None = None

    def asked(self) -> bool:
        return self.number is not None


@contextmanager
def _stop_on_signal() -> Iterator[_Stop]:
    """Notes SIGINT and SIGTERM, so that the audit ends its children in order.

    A second signal of the same kind takes its default way.
    """
    stop = _Stop()

    def note(number: int, _: FrameType | None) -> None:
        stop.number = number
        signal.signal(number, before[number])

    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _render(report: Report, format: Format) -> str:
    if format is Format.json:
        return report.model_dump_json(indent=2)
    if format is Format.markdown:
        from runaudit.reports.markdown import render_markdown  # noqa: PLC0415

        return render_markdown(report)
    from runaudit.reports.text import render_text  # noqa: PLC0415

    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    return render_text(report)
