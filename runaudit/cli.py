"""The command line: names the commands, and turns errors into sentences and exit codes."""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from runaudit import __version__
from runaudit.commands import check, doctor, service, serving
from runaudit.commands.outcome import EXIT_INTERRUPTED, EXIT_SERVICE, error_exit_code
from runaudit.commands.output import describe_error, say
from runaudit.errors import RunauditError

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


def main() -> None:
    """The console script. An error of our own is one sentence; a bug shows its trace and exits with 3, never 1."""
    try:
        app()
    except RunauditError as error:
        say(describe_error(error))
        sys.exit(error_exit_code(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception:
        traceback.print_exc()
        say("runaudit: this is a bug in Runaudit itself [internal_error]")
        sys.exit(EXIT_SERVICE)


if __name__ == "__main__":
    main()
