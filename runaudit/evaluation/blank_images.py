"""Images of one colour from edge to edge: frames of a covered camera, failed exports, padding saved as an image."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from runaudit.evaluation.facts import BlankFacts
from runaudit.evaluation.validation_pass import Passed

MOST_SPREAD: Final = 1.0
"""standard deviation of each channel in grey levels, where the longer side has 256 pixels. Files of one colour have 0,
however they are compressed; of the 160 validation images of `shapes` and `signs`, darkened to 15 %, none had less
than 5."""
SHOWN: Final = 50


def blank(passed: Passed) -> NDArray[np.bool_]:
    """Which images of the matches (k,) are blank. Raises ValueError if the pass took no properties."""
    if passed.properties is None:
        raise ValueError("the pass took no properties")
    return np.asarray((passed.properties.channels[:, 1] < MOST_SPREAD).all(axis=1))


def blank_facts(passed: Passed) -> BlankFacts | None:
    """How many images are blank, and how many of these have labels; None if none is, or no image was looked at."""
    if passed.properties is None:
        return None
    found = blank(passed)
    if not found.any():
        return None
    labelled = np.isin(np.flatnonzero(found), passed.matches.gt_image)
    files = (passed.file_of(int(image)) for image in np.flatnonzero(found)[:SHOWN])
    return BlankFacts(images=int(found.sum()), labelled=int(labelled.sum()), files=tuple(files))
