"""The images of a data set looked at whole, and what was found entered into its facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from runaudit.isolation.job import Progress
from runaudit.runs.data_options import Verification
from runaudit.runs.facts import DatasetFacts, ImageCensus, ImageIndex, Note, Split
from runaudit.runs.image_faults import Flawed

MAX_NOTES: Final = 20
"""notes on flawed images of one split that are kept; all are counted"""


def verified(
    facts: DatasetFacts, index: ImageIndex, depth: Verification, report: Callable[[Progress], None]
) -> DatasetFacts:
    """The facts with each split's census saying what was found in its images, and notes that name the first few.

    Raises RuntimeError in a process with several threads (`verify_images`).
    """
    from runaudit.evaluation.image_verification import verify_images  # noqa: PLC0415 - depth `curves` needs none of it

    done, total = 0, len(index.images)

    def on_images(more: int) -> None:
        nonlocal done
        done += more
        report(Progress(stage="verify_images", done=done, total=total))

    flawed = verify_images(index, depth, on_images=on_images)
    images = Counter(entry.split for entry in index.images)
    of_split: dict[Split, list[tuple[str, Flawed]]] = {}
    for position, found in flawed.items():
        entry = index.images[position]
        of_split.setdefault(entry.split, []).append((entry.file, found))
    splits = dict(facts.splits)
    for name, split in splits.items():
        listed = of_split.get(name, [])
        census = (split.image_census or ImageCensus()).model_copy(
            update={
                "verified": images[name],
                "decoded": depth == "pixels",
                "flawed": dict(sorted(Counter(found.flaw for _, found in listed).items())),
            }
        )
        notes = tuple(Note(code=found.flaw, detail=found.detail, place=file) for file, found in listed[:MAX_NOTES])
        splits[name] = split.model_copy(update={"image_census": census, "notes": (*split.notes, *notes)})
    return facts.model_copy(update={"splits": splits})
