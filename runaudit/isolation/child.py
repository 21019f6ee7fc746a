"""The entry of a child process: raise the walls, do one stage of the job, leave plain files behind.

Started as `python -I -m runaudit.isolation.child STAGE FOLDER PARENT PROGRESS_FD`; begins once `go` is on its standard
input, and ends quietly if that ends first. Exit codes: 0 done; 3 the input can't be audited, 4 this machine failed it
(a full disk, no memory), and problem.json says why; anything else is a crash.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from pydantic_core import PydanticSerializationError

from runaudit.errors import ChildMemoryError, InputError, RunauditError, dump_error
from runaudit.isolation import sandbox
from runaudit.isolation.job import INPUT_ERROR, MACHINE_ERROR, ChildName, JobFolder, JobSpec, Limits, Progress
from runaudit.isolation.process import GO

Report = Callable[[Progress], None]


def progress_writer(descriptor: int) -> Report:
    """A function that writes each progress as a line of JSON to the parent's pipe."""

    def write(progress: Progress) -> None:
        os.write(descriptor, progress.model_dump_json().encode() + b"\n")

    return write


def raise_walls(stage: ChildName, folder: JobFolder, limits: Limits) -> dict[str, str]:
    """Confine this process for its stage; what each layer does, by name."""
    reads = stage != "evaluate"
    sandbox.volunteer_to_be_killed()
    sandbox.limit_resources(memory_bytes=limits.memory_bytes if reads else None, file_bytes=limits.unpacked_bytes)
    writes = sandbox.confine_writes([folder.root])
    # CUDA's own daemons are spoken to over Unix sockets; nothing else in a child needs a socket.
    network = sandbox.block_network(allow_unix_sockets=not reads)
    return {"writes": writes, "network": network}


def _ingest() -> Callable[[JobFolder, JobSpec, Report, dict[str, str]], None]:
    from runaudit.isolation.ingest import ingest  # noqa: PLC0415 - evaluate needs none of it

    return ingest


def main(arguments: list[str]) -> int:
    """Run one stage. Returns the exit code."""
    stage, root, parent, descriptor = arguments
    sandbox.die_with_parent(int(parent))
    if stage == "ingest":
        # Our own modules, loaded while the parent makes the job ready. Nothing of the input is read before the walls.
        _ingest()
    if sys.stdin.buffer.readline() != GO:
        return 0
    return do_stage(cast(ChildName, stage), JobFolder(Path(root)), int(descriptor))


def do_stage(stage: ChildName, folder: JobFolder, descriptor: int) -> int:
    """Raise the walls and do the stage, with `descriptor` for progress. Returns the exit code."""
    report = progress_writer(descriptor)
    try:
        if stage == "data":
            from runaudit.isolation.data_job import DataJob  # noqa: PLC0415 - this child only
            from runaudit.isolation.data_stage import read_artifact  # noqa: PLC0415

            job = DataJob.model_validate_json(folder.spec.read_bytes())
            raise_walls("data", folder, job.limits)
            read_artifact(folder, job, report)
            return 0
        spec = JobSpec.model_validate_json(folder.spec.read_bytes())
        if stage == "ingest":
            ingest = _ingest()
            ingest(folder, spec, report, raise_walls("ingest", folder, spec.limits))
        else:
            walls = raise_walls("evaluate", folder, spec.limits)
            from runaudit.isolation.evaluate import evaluate  # noqa: PLC0415 - torch loads in this child only

            evaluate(folder, spec, report, walls)
    except RunauditError as error:
        folder.problem.write_text(json.dumps(dump_error(error)))
        return INPUT_ERROR if isinstance(error, InputError) else MACHINE_ERROR
    except MemoryError:
        # What reads has a limit of its own, so the input is to blame; evaluate has what the machine has.
        if stage != "evaluate":
            too_much: RunauditError = InputError(
                "Reading the input took more memory than a child process may use.", code="memory_limit_exceeded"
            )
        else:
            too_much = ChildMemoryError(
                "The machine ran out of memory while the model's results were examined. Run fewer audits at a time, "
                "or run them where there is more memory."
            )
        folder.problem.write_text(json.dumps(dump_error(too_much)))
        return INPUT_ERROR if stage != "evaluate" else MACHINE_ERROR
    except (UnicodeEncodeError, PydanticSerializationError) as error:
        # Only names from a file system hold such characters: archives and all texts are read as UTF-8.
        if "surrogates not allowed" not in str(error):
            raise
        unnamed = InputError(
            "The input has files or folders whose names are not UTF-8. Rename them.", code="file_name_encoding"
        )
        folder.problem.write_text(json.dumps(dump_error(unnamed)))
        return INPUT_ERROR
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # All that this process leaves are files, and they are closed: taking the interpreter apart would only cost time.
    os._exit(code)
