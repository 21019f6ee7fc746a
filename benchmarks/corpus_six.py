"""Six real runs, chosen by a rule before any was audited: what INDEX.md lets one expect beside what is reported.

    python -m benchmarks.corpus_six [--corpus ../shared/corpus]

The rule: of the n rows of the index's table of runs, in its order, the middle one of each of six equal parts: row
(2 k + 1) n // 12 for k from 0 to 5. `EXPECTED` was written from the index's reading alone. Each run goes through
`runaudit check --depth curves`; prints a table and ends with 1 where the report says something else.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parents[1] / ".." / "shared" / "corpus"
PARTS: Final = 6
GRAVE: Final = ("critical", "major")


@dataclass(frozen=True)
class Expected:
    """`first` has the causes of which one has to come first; empty where nothing may be above `minor`.

    `also` has causes that may be critical or major beside it, since the reading says so or implies it.
    """

    first: frozenset[str]
    why: str
    also: frozenset[str] = frozenset()


EXPECTED: Final = {
    "4fthaab__cartify_ai__1": Expected(frozenset({"checkpoint_integrity"}), "written by hand, no real run"),
    "BabyMelvin__yolo_learn__7": Expected(
        frozenset({"insufficient_epochs", "batch_size"}),
        "a smoke test of 5 epochs on 4 images: one step an epoch, nothing learnt",
        also=frozenset({"insufficient_epochs", "batch_size", "learning_rate"}),
    ),
    "Mask-Detector__mask-detector-ai__1": Expected(frozenset(), "a plateau; overfitting is mild, so `minor` at most"),
    "Yaoxingtian__my_yolo__6": Expected(frozenset(), "converged, nothing serious"),
    "juanitapombo__Characterization-of-Dynamic-DNA-Origami-with-YOLOv5n__3": Expected(
        frozenset({"overfitting", "underfitting", "batch_size"}),
        "starved of data (2 training images): the validation loss rises early, mAP stays low",
        also=frozenset({"overfitting", "underfitting", "batch_size", "insufficient_epochs"}),
    ),
    "rafaelpadilla__tennis_autodistill__2": Expected(frozenset(), "healthy"),
}


def chosen(index: str) -> list[str]:
    """The folders' names of the six runs, of the text of INDEX.md."""
    names = re.findall(r"^\| \d+ \| runs/(\S+) \|", index, flags=re.MULTILINE)
    return [names[(2 * part + 1) * len(names) // (2 * PARTS)] for part in range(PARTS)]


def reported(run: Path) -> list[tuple[str, str]]:
    """Cause and severity of each finding, in the report's order."""
    command = [sys.executable, "-m", "runaudit.cli", "check", str(run), "--depth", "curves", "--format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 1):
        raise RuntimeError(ended.stderr)
    return [(finding["cause"], finding["severity"]) for finding in json.loads(ended.stdout)["findings"]]


def agrees(expected: Expected, findings: list[tuple[str, str]]) -> bool:
    """Whether one of the expected causes comes first, and nothing else is above minor."""
    grave = {cause for cause, severity in findings if severity in GRAVE}
    first = not expected.first or (bool(findings) and findings[0][0] in expected.first)
    return first and grave <= expected.first | expected.also


def main() -> None:
    """Audit the six and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    options = parser.parse_args()
    apart = 0
    print("| run | expected, first | reported | as expected |\n|---|---|---|---|")
    for name in chosen((options.corpus / "INDEX.md").read_text(encoding="utf-8")):
        expected, findings = EXPECTED[name], reported(options.corpus / "runs" / name)
        agreed = agrees(expected, findings)
        apart += not agreed
        wanted = " or ".join(sorted(expected.first)) or "nothing above minor"
        said = ", ".join(f"{cause} ({severity})" for cause, severity in findings) or "nothing"
        print(f"| {name} | {wanted}: {expected.why} | {said} | {'yes' if agreed else 'no'} |")
    sys.exit(min(apart, 1))


if __name__ == "__main__":
    main()
