"""The HTML report's parts on data, curves and interventions."""

from __future__ import annotations

from runaudit.reports import phrases
from runaudit.reports.elements import Markup, element, joined
from runaudit.reports.html_parts import folded, items, section, table
from runaudit.reports.phrases import between, number
from runaudit.reports.schema import AnnotatorCensus, Dataset, Report, SplitCensus

MOST_ROWS = 500
"""rows of a table of curves; of longer runs every n-th epoch, and the last"""
MOST_NOTES = 1000


def dataset_section(report: Report) -> Markup:
    dataset = report.dataset
    if dataset is None:
        why = report.provenance.not_available.get("dataset", "No data set was read.")
        return section("dataset", "Data set", element("p", why))
    return section(
        "dataset",
        "Data set",
        element("p", phrases.dataset_line(dataset)),
        table("Images and labels", phrases.CENSUS_TITLES, phrases.census_rows(dataset)),
        _sources(dataset),
        _instances(dataset),
        _agreement(dataset),
        folded("What was noted while reading", items(phrases.dataset_notes(dataset, MOST_NOTES))),
    )


def _sources(dataset: Dataset) -> Markup:
    """Where each split lies, how many of its images have objects, and the names of the classes."""
    splits = [(name, split.source, str(split.labelled)) for name, split in dataset.splits.items()]
    annotators = [
        (f"{name} (annotator)", f"{annotator.unmatched_files} files of no image", str(annotator.labelled))
        for name, annotator in dataset.annotators.items()
    ]
    names = [(str(index), name) for index, name in dataset.names.items()]
    return joined(
        table("Where they are", ("split", "source", "images with objects"), [*splits, *annotators]),
        folded("Names of the classes", table("Names of the classes", ("id", "name"), names)),
    )


def _instances(dataset: Dataset) -> Markup:
    """Objects of each class, split by split, then annotator by annotator."""
    parts: dict[str, SplitCensus | AnnotatorCensus] = dict(dataset.splits)
    parts |= {f"{name} (annotator)": annotator for name, annotator in dataset.annotators.items()}
    names = dict.fromkeys(name for part in parts.values() for name in part.class_instances)
    rows = [(name, *(number(part.class_instances.get(name)) for part in parts.values())) for name in names]
    return folded("Objects by class", table("Objects by class", ("class", *parts), rows))


def _agreement(dataset: Dataset) -> Markup:
    rows = [
        (
            f"{pair.first} and {pair.second}",
            pair.label or "all classes",
            str(pair.images),
            str(pair.matched),
            f"{pair.only_first}, {pair.only_second}",
            f"{number(pair.found)}{between(pair.found_ci95)}",
            number(pair.same_class),
            number(pair.kappa),
            number(pair.alpha),
            number(pair.mean_iou),
        )
        for pair in dataset.agreement
    ]
    header = ("labels", "class", "images", "in both", "in one only", "F1 (95 %)", "same class", "kappa", "alpha", "IoU")
    return table("Agreement of annotators", header, rows)


def curves_section(report: Report, figures: Markup) -> Markup:
    curves = report.curves
    if curves is None:
        why = report.provenance.not_available.get("curves", "The run holds no curves.")
        return section("curves", "Curves", element("p", why))
    size = len(curves.epochs)
    every = max(1, -(-size // MOST_ROWS))
    chosen = sorted({*range(0, size, every), *range(max(size - 1, 0), size)})
    rows = [
        (str(curves.epochs[row]), *(number(_cell(column, row)) for column in curves.columns.values())) for row in chosen
    ]
    rest = f", every {every}th of {size}" if every > 1 else ""
    return section(
        "curves",
        "Curves",
        element("p", f"{size} epochs of {curves.source}"),
        figures,
        folded(f"The figures{rest}", table("Curves by epoch", ("epoch", *curves.columns), rows)),
    )


def _cell(column: list[float | None], row: int) -> float | None:
    return column[row] if row < len(column) else None


def interventions_section(report: Report) -> Markup:
    """Validation measured again with one thing changed."""
    rows = [
        (
            change.name.replace("_", " "),
            change.description,
            change.metric,
            number(change.before),
            number(change.after),
            f"{change.difference:+.4f}{between(change.ci95)}",
            str(change.n),
            change.grade,
        )
        for change in report.interventions
    ]
    header = ("name", "what was changed", "metric", "before", "after", "difference (95 %)", "images", "grade")
    return section("interventions", "Interventions", table("One thing changed at a time", header, rows))
