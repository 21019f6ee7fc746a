"""What makes two audits the same: run, data, options, and the auditor's version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from runaudit import __version__


def fingerprint(
    inputs: Iterable[tuple[str, str, str]], depth: str, policy: dict[str, Any], environment: dict[str, Any]
) -> str:
    """SHA-256, hexadecimal. `inputs`: role, digest, and path, each empty where there is none."""
    same = {
        "inputs": sorted(list(given) for given in inputs),
        "depth": depth,
        "policy": policy,
        "environment": environment,
        "auditor": __version__,
    }
    return hashlib.sha256(json.dumps(same, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
