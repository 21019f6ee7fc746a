"""The command line: runs a command, and turns errors into sentences and exit codes."""

from __future__ import annotations

import sys
import traceback
from contextlib import nullcontext

from runaudit.commands.outcome import EXIT_INTERRUPTED, EXIT_SERVICE, error_exit_code
from runaudit.commands.output import describe_error, say
from runaudit.commands.preparation import prepared
from runaudit.errors import RunauditError


def main() -> None:
    """The console script. An error of our own is one sentence; a bug shows its trace and exits with 3, never 1."""
    try:
        # The child that reads the run starts before the commands and what they need are loaded.
        with prepared() if _is_check(sys.argv[1:]) else nullcontext() as preparation:
            from runaudit.commands.app import app  # noqa: PLC0415

            app(obj=preparation)
    except RunauditError as error:
        say(describe_error(error))
        sys.exit(error_exit_code(error))
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception:
        traceback.print_exc()
        say("runaudit: this is a bug in Runaudit itself [internal_error]")
        sys.exit(EXIT_SERVICE)


def _is_check(arguments: list[str]) -> bool:
    return arguments[:1] == ["check"] and len(arguments) > 1 and "--help" not in arguments


if __name__ == "__main__":
    main()
