"""The image size that a run is validated with, as its arguments state it."""

from __future__ import annotations

import math
import re
from typing import Final

from pydantic import JsonValue

from runaudit.errors import InputError
from runaudit.runs.facts import RunFacts

DEFAULT_IMGSZ: Final = 640
"""the framework's, for a run that says nothing"""
MOST_IMGSZ: Final = 8192
"""beyond this a batch of 16 needs more than 12 GB for its input alone"""
_STEP: Final = 32
"""the largest stride of a network, of which the framework makes sizes a multiple"""
_LIST: Final = r"\s*\d{1,9}(\s*,\s*\d{1,9})*\s*,?\s*"
_NUMBERS: Final = re.compile(rf"\s*(\[{_LIST}\]|\({_LIST}\)|{_LIST})\s*")


def image_size(run: RunFacts, *, default: int = DEFAULT_IMGSZ) -> int:
    """The imgsz that the run is validated with: its own, of several the largest, rounded up to a multiple of 32.

    `default` is taken for a run that says nothing. A number or a list in quotes is read as the framework reads it
    (ultralytics utils/checks.py check_imgsz). YOLOv5 up to 5.0 wrote `img_size: [training, validation]`.

    Raises InputError `imgsz_invalid` if it is not a number of pixels from 1 to MOST_IMGSZ.
    """
    key, written = "imgsz", run.argument("imgsz")
    if written is None:
        key, older = "img_size", run.argument("img_size")
        written = older[-1] if isinstance(older, list) and older else older
    unquoted = _unquoted(written)
    sizes = unquoted if isinstance(unquoted, list) else [default if unquoted is None else unquoted]
    numbers = [size for size in sizes if isinstance(size, int) and not isinstance(size, bool)]
    if not numbers or len(numbers) < len(sizes) or not 1 <= max(numbers) <= MOST_IMGSZ:
        place = run.configuration.places.get(key) if run.configuration is not None else None
        raise InputError(
            f"The run's {key} is {written!r:.80}; it has to be a whole number of pixels from 1 to {MOST_IMGSZ}.",
            code="imgsz_invalid",
            place=place,
        )
    return math.ceil(max(numbers) / _STEP) * _STEP


def _unquoted(written: JsonValue) -> JsonValue:
    """The numbers in a text that holds nothing else; anything else as it stands."""
    if not isinstance(written, str) or not _NUMBERS.fullmatch(written):
        return written
    return [int(number) for number in re.findall(r"\d+", written)]
