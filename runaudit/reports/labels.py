"""The review of labels and the agreement of annotators, put into the report's terms: classes by name."""

from __future__ import annotations

from collections.abc import Mapping

from runaudit.evaluation.label_facts import BoxHabitFacts, ClassPermutationFacts, LabelQualityFacts
from runaudit.reports import schema
from runaudit.reports.plain_values import MOST_NAMES, finite, interval, text
from runaudit.runs.facts import AgreementFacts

Names = Mapping[int, str]


def review(quality: LabelQualityFacts | None, names: Names) -> schema.LabelReview | None:
    """The review; None where there was none."""
    if quality is None:
        return None
    return schema.LabelReview(
        rates=[
            schema.LabelErrorRate(
                kind=rate.kind,
                rate=finite(rate.rate),
                ci95=interval(rate.ci95),
                n=rate.n,
                candidates=rate.candidates,
                classes={_required(index, names): count for index, count in rate.classes.items()},
                why=rate.why,
            )
            for rate in quality.rates
        ],
        suspects=[
            schema.Suspect(
                kind=suspect.kind,
                image=text(suspect.image),
                label=_name(suspect.class_id, names),
                box=list(suspect.box) if suspect.box is not None else None,
                suggested=_name(suspect.suggested_class, names),
                suggested_box=list(suspect.suggested_box) if suspect.suggested_box is not None else None,
                score=suspect.score,
                at_stake=finite(suspect.at_stake),
            )
            for suspect in quality.suspects
        ],
        total_suspects=quality.total_suspects,
        habits=[_habit(entry, names) for entry in quality.habits],
        permutation=_permutation(quality.permutation),
    )


def agreement(entries: tuple[AgreementFacts, ...], names: Names) -> list[schema.Agreement]:
    """Every two label sets, of all classes together and of each; at most MOST_NAMES."""
    return [
        schema.Agreement(
            label=_name(entry.class_id, names),
            **entry.model_dump(exclude={"class_id"}),
        )
        for entry in entries[:MOST_NAMES]
    ]


def _name(index: int | None, names: Names) -> str | None:
    return None if index is None else _required(index, names)


def _required(index: int, names: Names) -> str:
    return text(names.get(index, str(index)))


def _habit(entry: BoxHabitFacts, names: Names) -> schema.BoxHabit:
    return schema.BoxHabit(label=_name(entry.class_id, names), **entry.model_dump(exclude={"class_id"}))


def _permutation(facts: ClassPermutationFacts | None) -> schema.ClassPermutation | None:
    if facts is None:
        return None
    return schema.ClassPermutation(
        map50_95=facts.map50_95,
        agnostic_map50_95=facts.agnostic_map50_95,
        mapped_map50_95=facts.mapped_map50_95,
        mapping={str(detected): cls for detected, cls in facts.mapping.items()},
        gain=facts.gain,
        ci95=interval(facts.ci95),
    )
