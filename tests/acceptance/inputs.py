"""Runs and data sets as users and attackers hand them in: the healthy example, whole, damaged, or armed."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from pathlib import Path

from examples.shapes import render
from tests.hostile.pickles import Call, Name, checkpoint, checkpoint_zip, pickled

EXAMPLES = Path(__file__).parents[2] / "examples" / "runs"
CLASSES = "names: [disc, square, triangle, cross]\n"


def small_data(folder: Path) -> Path:
    """The example's data set with its whole validation split, which a verdict needs; its data.yaml."""
    return render(folder, train=8)


def run_copy(folder: Path, name: str = "healthy") -> Path:
    """A copy of an example run, to be changed."""
    shutil.copytree(EXAMPLES / name, folder)
    return folder


def zipped(folder: Path, archive: Path) -> Path:
    """The folder's content as an archive."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            target.write(file, file.relative_to(folder.parent))
    return archive


def armed_checkpoint(canary: Path) -> bytes:
    """A checkpoint whose pickle, if it were unpickled, would create `canary`."""
    payload = Call(Name("posix", "system"), (f"touch '{canary}'",))
    return checkpoint_zip(pickled(checkpoint(extra=payload)))


class _Armed:
    """Pickles to a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os  # noqa: PLC0415  # the name under which the attack goes out

        return os.system, (self.command,)


def armed_cache(canary: Path) -> bytes:
    """A labels.cache as ultralytics would open it with `np.load(allow_pickle=True)`, and so run it."""
    return pickle.dumps(_Armed(f"touch '{canary}'"))
