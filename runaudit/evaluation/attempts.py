"""Runs what an audit can do without, part by part, so that one part's failure does not take the rest with it."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from runaudit.errors import RunauditError
from runaudit.evaluation.memory import ran_out_of_memory

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


@dataclass
class Attempts:
    """`not_run` says in a sentence why a part has no result, by the part's name."""

    not_run: dict[str, str] = field(default_factory=dict)

    def at(self, name: str, do: Callable[[], Result]) -> Result | None:
        """What `do` gives; None if it failed, and then `not_run` says why.

        The memory that it held is given back, to this process and to other users of the GPU. What is no error of the
        input is written to the log, so that a fault of ours is not hidden.
        """
        try:
            return do()
        except Exception as error:
            self.not_run[name] = reason(error)
            if not isinstance(error, RunauditError) and not ran_out_of_memory(error):
                _log.exception("%s failed", name)
        # Only now are the frames gone that the error's traceback kept, and with them their arrays.
        gc.collect()
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.empty_cache()
        return None


def reason(error: Exception) -> str:
    """Why something failed, as a sentence."""
    if ran_out_of_memory(error):
        return "It ran out of memory."
    if isinstance(error, RunauditError):
        return error.detail
    return f"It failed ({type(error).__name__}: {error!s:.200})."
