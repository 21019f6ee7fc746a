"""`runaudit serve` and `runaudit worker`: this process becomes the service or a worker."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runaudit.commands.inputs import AUDIT_MODULES, SERVICE_MODULES, require_extra


def serve(
    data_dir: Annotated[Path | None, typer.Option(help="Where database, blobs and credentials.json are kept.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="The port; 0: any free one.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Worker processes.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Audits that a worker runs at a time.")] = None,
) -> None:
    """Start the whole service on this machine: database, broker, API and workers. Ctrl-C ends all of it.

    What is not given comes from the RUNAUDIT_ settings (`runaudit doctor` lists them).
    """
    require_extra("worker", (*SERVICE_MODULES, *AUDIT_MODULES), "serve")
    options = {
        "--data-dir": data_dir,
        "--host": host,
        "--port": port,
        "--workers": workers,
        "--concurrency": concurrency,
    }
    given = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    _become("runaudit_service.embedded", given)


def worker(context: typer.Context) -> None:
    """Start one worker for a service that runs elsewhere. Options are the worker's own: see `worker -- --help`."""
    require_extra("worker", (*SERVICE_MODULES, *AUDIT_MODULES), "worker")
    _become("runaudit_worker", context.args)


def _become(module: str, arguments: list[str]) -> NoReturn:
    """Replace this process, so that signals and the exit code are the service's own."""
    # -P: a module that lies in the working folder, which may be a stranger's run, is never imported.
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606
