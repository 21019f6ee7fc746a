"""The commands by name."""

from __future__ import annotations

from typing import Annotated

import typer

from runaudit import __version__
from runaudit.commands import check, doctor, service, serving

app = typer.Typer(
    name="runaudit",
    help="Says why a YOLO model fails validation, and what would fix it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("check")(check.check)
app.command("serve")(serving.serve)
app.command("worker")(serving.worker)
app.command("submit")(service.submit)
app.command("show")(service.show)
app.command("list")(service.list_audits)
app.command("report")(service.report)
app.add_typer(service.keys, name="keys")
app.command("doctor")(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"runaudit {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
