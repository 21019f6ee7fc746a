"""Where the corpus of real runs lies, for the tests marked `corpus`."""

from __future__ import annotations

import os
from pathlib import Path

CORPUS = Path(os.environ.get("RUNAUDIT_CORPUS", Path(__file__).parents[2] / "../shared/corpus")).resolve()
