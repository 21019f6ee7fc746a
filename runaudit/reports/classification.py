"""The validation part of a classifier's report: accuracy, class by class, and which classes are mistaken for which."""

from __future__ import annotations

from runaudit.diagnostics.metric_mismatch import Reported
from runaudit.evaluation.facts import ClassAccuracy, ClassificationFacts
from runaudit.reports import schema
from runaudit.reports.plain_values import finite, interval, json_value, text


def classification_validation(
    measured: ClassificationFacts, reported: dict[str, float], instead: Reported | None, *, reproduced: bool | None
) -> schema.Validation:
    """The facts of a classifier as the report has them.

    `instead` is what the checkpoint is compared with where that is not what was reported of the best epoch. An image is
    one instance of its class. `error_types` holds the pairs of classes that are mistaken most often.
    """
    compared = instead.metrics if instead is not None else {}
    against = compared or reported
    figures = {"top1": measured.top1, "top5": measured.top5}
    return schema.Validation(
        metrics=schema.ValidationMetrics(top1=finite(measured.top1), top5=finite(measured.top5)),
        ci95={name: ends for name, value in measured.ci95.items() if (ends := interval(value)) is not None},
        per_class=[_class(entry) for entry in measured.per_class],
        error_types=schema.ErrorTypes(
            confusions=[
                schema.Confusion(labelled=text(pair.labelled), predicted=text(pair.predicted), images=pair.images)
                for pair in measured.confusions
            ]
        ),
        reported={text(name): value for name, value in reported.items()},
        compared={text(name): value for name, value in compared.items()},
        compared_source=text(instead.source) if instead is not None else None,
        reproduced=reproduced,
        difference={name: value - against[name] for name, value in figures.items() if name in against},
        settings={text(key): json_value(value) for key, value in measured.settings.items()}
        | {
            "split": text(measured.split),
            "images": measured.images,
            "images_of_unknown_classes": measured.left_out,
        },
    )


def _class(entry: ClassAccuracy) -> schema.ClassResult:
    return schema.ClassResult(
        class_id=entry.class_id,
        name=text(entry.name),
        images=entry.images,
        instances=entry.images,
        precision=finite(entry.precision),
        recall=finite(entry.recall),
        recall_ci95=interval(entry.recall_ci95),
        f1=_f1(entry),
    )


def _f1(entry: ClassAccuracy) -> float | None:
    """2 correct / (images + predicted), the harmonic mean of precision and recall; None without images."""
    if not entry.images:
        return None
    return 2 * entry.correct / (entry.images + entry.predicted)
