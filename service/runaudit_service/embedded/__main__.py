"""`python -m runaudit_service.embedded --data-dir DIR --host H --port N`: what `runaudit serve` becomes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from runaudit_service.embedded.folder import FolderInUseError, FolderUnusableError
from runaudit_service.embedded.serve import Options, ServeError, Service
from runaudit_service.store.settings import Settings, settings

FAILED = 3
"""exit code of design.md for a service that failed"""
UNUSABLE = 2
"""and for what the one who calls can mend"""


def _options(configured: Settings) -> Options:
    parser = argparse.ArgumentParser(prog="runaudit serve", description="Runs the whole service on this machine.")
    parser.add_argument("--data-dir", type=Path, default=configured.data_dir, help="where it keeps everything")
    parser.add_argument("--host", default=configured.host, help="address to listen on")
    parser.add_argument("--port", type=int, default=configured.port, help="port to listen on; 0: any free one")
    parser.add_argument("--workers", type=int, default=1, help="worker processes")
    parser.add_argument(
        "--concurrency", type=int, default=configured.concurrency, help="audits a worker runs at a time"
    )
    options = parser.parse_args()
    return Options(options.data_dir, options.host, options.port, options.workers, options.concurrency)


def main() -> int:
    """Serves until told to stop; the exit code is 3 if it could not start, 2 if its folder can be none."""
    configured = settings()
    try:
        Service(_options(configured), configured).run()
    except FolderUnusableError as error:
        sys.stderr.write(f"runaudit serve: {error}\n")
        return UNUSABLE
    except (ServeError, FolderInUseError) as error:
        sys.stderr.write(f"runaudit serve: {error}\n")
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
