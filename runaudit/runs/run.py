"""Reading one run: curves, configuration, checkpoint and console log, brought together as facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from runaudit.errors import CurvesError
from runaudit.runs.configuration import empty_files, read_configuration
from runaudit.runs.curves import Results, read_results
from runaudit.runs.facts import CheckpointFacts, LogFacts, Note, RunFacts
from runaudit.runs.find_log import find_log
from runaudit.runs.fitness import best_row, fitness
from runaudit.runs.identity import Sources, architecture_of, framework_of, scores_map50_95_only, task_of, version_of
from runaudit.runs.locate import RESULTS, RunFolder, choose_checkpoint, find_run
from runaudit.runs.status import plan_of, status_of


def read_run(root: Path, *, weights_out: Path, environment: Mapping[str, JsonValue] | None = None) -> RunFacts:
    """Read the run that lies below `root` (or is `root`), executing nothing of it.

    `environment` is the request's own (`log_environment`); what it states wins over the run's console log.

    What is missing is None in the facts; what is damaged in one place only is a note. The checkpoint's state dict
    is written to `weights_out` as safetensors, if its network can be read.

    Raises
    ------
    RunNotFoundError, InputError : there is no run, or there are several (`locate.find_run`).
    YamlError : args.yaml, opt.yaml or hyp.yaml is no plain YAML.
    CurvesError : results.csv is no such file (`results_unreadable`), or it is empty and nothing else was left
        behind (`results_empty`).
    """
    folder = find_run(root)
    results, result_notes = _results(folder)
    checkpoint, checkpoint_notes = _checkpoint(folder, weights_out)
    log, log_notes = _log(folder, environment or {})
    # A full disk or a crash leaves files of no byte; what else there is says enough.
    empty = empty_files(folder.path) if folder.evidence > 1 else ()
    sources = Sources(results, read_configuration(folder.path, without=empty), checkpoint)
    framework, framework_notes = framework_of(sources)
    task, task_notes = task_of(sources)
    plan = plan_of(sources)
    curves = results.curves if results is not None else None
    only_map50_95 = scores_map50_95_only(sources, framework)
    values = fitness(curves, framework, task, map50_95_only=only_map50_95) if curves is not None else ()
    row = best_row(values)
    status, status_notes = status_of(sources, plan, values, framework, task)
    return RunFacts(
        folder=folder.folder,
        framework=framework,
        framework_version=version_of(sources),
        task=task,
        architecture=architecture_of(sources),
        curves=curves,
        configuration=sources.configuration,
        checkpoint=checkpoint,
        log=log,
        epochs_planned=plan.epochs,
        epochs_run=len(set(curves.epochs)) if curves is not None else None,
        best_epoch=curves.epochs[row] if curves is not None and row is not None else None,
        best_row=row,
        status=status,
        notes=(
            *_ignored(folder),
            *result_notes,
            *(_emptied(name) for name in empty),
            *checkpoint_notes,
            *log_notes,
            *framework_notes,
            *task_notes,
            *status_notes,
        ),
    )


def _ignored(folder: RunFolder) -> list[Note]:
    if not folder.ignored:
        return []
    named = ", ".join(folder.ignored[:5]) + (" and more" if len(folder.ignored) > 5 else "")
    detail = f"There are other runs ({named}); this one holds more, or lies higher up."
    return [Note(code="runs_ignored", detail=detail, place=folder.folder or ".")]


def _emptied(name: str) -> Note:
    detail = f"{name} is empty: it was cut off. Arguments are those that the checkpoint stores, if it stores any."
    return Note(code="configuration_empty", detail=detail, place=name)


def _results(folder: RunFolder) -> tuple[Results | None, list[Note]]:
    """results.csv, else the event files. An empty file is what a run leaves that died in its first epoch."""
    notes: list[Note] = []
    if folder.has_results:
        try:
            results = read_results(folder.path / RESULTS, source=RESULTS)
        except CurvesError as error:
            if error.error_code != "results_empty" or (folder.evidence == 1 and not folder.has_events):
                raise
            notes.append(Note(code=error.error_code, detail=error.detail, place=error.place))
        else:
            return results, list(results.notes)
    if folder.has_events:
        from runaudit.runs.event_curves import event_files, read_event_curves  # noqa: PLC0415 - few runs need it

        try:
            results = read_event_curves(event_files(folder.path))
        except CurvesError as error:
            if not folder.evidence:
                raise
            notes.append(Note(code=error.error_code, detail=error.detail, place=error.place))
        else:
            return results, [*notes, *results.notes]
    return None, notes


def _log(folder: RunFolder, environment: Mapping[str, JsonValue]) -> tuple[LogFacts | None, list[Note]]:
    found, notes = find_log(folder)
    if not environment:
        return found, notes
    from runaudit.runs.log_environment import merged, read_environment  # noqa: PLC0415 - few requests state one

    return merged(read_environment(environment), found), notes


def _checkpoint(folder: RunFolder, weights_out: Path) -> tuple[CheckpointFacts | None, list[Note]]:
    path = choose_checkpoint(folder)
    if path is not None:
        from runaudit.runs.checkpoint import read_checkpoint  # noqa: PLC0415 - curves alone need none of it

        source = path.relative_to(folder.path).as_posix()
        return read_checkpoint(path, source=source, weights_out=weights_out), []
    if not folder.checkpoints:
        return None, []
    names = ", ".join(path.name for path in folder.checkpoints[:5])
    detail = f"There are {len(folder.checkpoints)} checkpoints ({names}), none named best.pt or last.pt."
    return None, [Note(code="checkpoint_ambiguous", detail=detail)]
