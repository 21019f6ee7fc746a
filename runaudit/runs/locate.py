"""Finding the run folder and the data.yaml in an unpacked tree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from runaudit.errors import InputError, RunNotFoundError
from runaudit.runs.configuration import ARGS, OPT
from runaudit.runs.folder_walk import walk

RESULTS = "results.csv"
WEIGHTS = "weights"
EVENTS = "events.out.tfevents."
"""how the name of a TensorBoard event file begins"""
MAX_FOLDERS = 200_000

_NEVER_A_RUN = frozenset(("images", "labels", "__MACOSX", "node_modules", "__pycache__", "wandb", "mlruns"))
"""Folders of a data set or of a tool; pruned, since a data set may have a million files."""


@dataclass(frozen=True)
class RunFolder:
    """A run folder below `root`: `folder` is relative to it ("" for itself), `checkpoints` are its .pt files."""

    root: Path
    folder: str
    has_results: bool
    has_configuration: bool
    checkpoints: tuple[Path, ...]
    has_events: bool = False
    ignored: tuple[str, ...] = ()
    """other folders that hold curves or a configuration, and were passed over"""

    @property
    def path(self) -> Path:
        return self.root / self.folder

    @property
    def evidence(self) -> int:
        """How many of the three kinds of evidence it holds: curves, configuration, checkpoint."""
        return self.has_results + self.has_configuration + bool(self.checkpoints)

    @property
    def depth(self) -> int:
        return len(Path(self.folder).parts)


def find_run(root: Path) -> RunFolder:
    """The run folder below `root` (or `root` itself): the one with most evidence, and of those the shallowest.

    A folder of TensorBoard event files alone counts only where there is nothing else: such folders are often copies.

    Raises
    ------
    RunNotFoundError : there is neither results.csv, args.yaml, opt.yaml, a .pt file nor an event file.
    InputError : `several_runs`, if two are of equal standing; it names them.
    """
    candidates = sorted(_candidates(root), key=lambda run: (-run.evidence, run.depth, run.folder))
    if not candidates:
        raise RunNotFoundError(
            "No training run was found: there is no results.csv, args.yaml, opt.yaml, .pt file or event file. "
            "Hand in the folder that training wrote, runs/detect/train for one."
        )
    best = candidates[0]
    equals = [run.folder or "." for run in candidates if (run.evidence, run.depth) == (best.evidence, best.depth)]
    if len(equals) > 1:
        named = ", ".join(equals[:10]) + (f" and {len(equals) - 10} more" if len(equals) > 10 else "")
        raise InputError(f"There are {len(equals)} training runs: {named}. Hand in one of them.", code="several_runs")
    # A folder with a .pt alone is a pretrained network more often than a run.
    others = [run.folder or "." for run in candidates[1:] if run.has_results or run.has_configuration]
    return replace(best, ignored=tuple(others))


def choose_checkpoint(run: RunFolder) -> Path | None:
    """weights/best.pt, else last.pt, else the only .pt; None if there is none, or several of other names."""
    for name in ("best.pt", "last.pt"):
        named = [path for path in run.checkpoints if path.name == name]
        if named:
            # weights/ comes before the run folder itself.
            return max(named, key=lambda path: path.parent.name == WEIGHTS)
    return run.checkpoints[0] if len(run.checkpoints) == 1 else None


def _candidates(root: Path) -> list[RunFolder]:
    found: dict[str, RunFolder] = {}
    for count, (folder, subfolders, files) in enumerate(walk(root)):
        if count >= MAX_FOLDERS:
            raise InputError(
                f"There are more than {MAX_FOLDERS} folders. Hand in the run folder.", code="too_many_files"
            )
        subfolders[:] = sorted(name for name in subfolders if name not in _NEVER_A_RUN and not name.startswith("."))
        names = set(files)
        path = Path(folder)
        checkpoints = [path / name for name in sorted(files) if name.endswith(".pt") and not name.startswith(".")]
        if WEIGHTS in subfolders:
            checkpoints = _checkpoints_in(path / WEIGHTS) + checkpoints
        run = RunFolder(
            root=root,
            folder="" if path == root else path.relative_to(root).as_posix(),
            has_results=RESULTS in names and (path / RESULTS).is_file(),
            has_configuration=any((path / name).is_file() for name in names & {ARGS, OPT}),
            checkpoints=tuple(checkpoint for checkpoint in checkpoints if regular(checkpoint)),
            has_events=any(name.startswith(EVENTS) for name in files),
        )
        if run.evidence or run.has_events:
            found[run.folder] = run
    runs = [run for run in found.values() if not _is_weights_of_another(run, found)]
    return [run for run in runs if run.evidence] or runs


def _checkpoints_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == ".pt" and not path.name.startswith("."))


def regular(path: Path) -> bool:
    """No link, pipe or device: a run in a shared folder may hold them, and they may lead elsewhere."""
    return path.is_file() and not path.is_symlink()


def _is_weights_of_another(run: RunFolder, found: dict[str, RunFolder]) -> bool:
    """A weights/ folder belongs to the run folder above it."""
    path = Path(run.folder)
    above = "" if path.parent == Path() else path.parent.as_posix()
    return bool(run.folder) and path.name == WEIGHTS and above in found
