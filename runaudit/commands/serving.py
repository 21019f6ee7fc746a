"""`runaudit serve` and `runaudit worker`: this process becomes the service or a worker."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
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
    _become("runaudit_service.embedded", options)


def worker(
    queues: Annotated[str | None, typer.Option(help="The queues it works on, separated by commas.")] = None,
    concurrency: Annotated[int | None, typer.Option(min=1, help="Audits that it runs at a time.")] = None,
) -> None:
    """Start one worker of a service that runs elsewhere: RUNAUDIT_DATABASE_URL and RUNAUDIT_BROKER_URL name it."""
    require_extra("worker", (*SERVICE_MODULES, *AUDIT_MODULES), "worker")
    _become("runaudit_worker", {"--queues": queues, "--concurrency": concurrency})


def _become(module: str, options: Mapping[str, object]) -> NoReturn:
    """Replace this process, so that signals and the exit code are the module's own. Options of None are left out."""
    arguments = [word for name, value in options.items() if value is not None for word in (name, str(value))]
    # -P: a module that lies in the working folder, which may be a stranger's run, is never imported.
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606
