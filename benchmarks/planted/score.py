"""Scores the audited cases: top-1, recall at 3, recall and precision of each cause, alarms on clean runs.

    python -m benchmarks.planted.score OUT.jsonl [--all]

A planted fault counts only if it did what such a fault does, measured against its clean pair (`verified`). Only cases
of the held-out data sets score, unless `--all` is given.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.planted.cases import Case, cases
from benchmarks.planted.faults import CONFUSABLE
from benchmarks.planted.trainings import PAIRS, SEED
from runaudit.causes import CAUSES
from runaudit.proportions import wilson_interval

LEAST_LOSS: Final = 0.02
"""of mAP50-95: the report contract's two points"""
LEAST_F1_LOSS: Final = 0.03
"""at the default threshold"""
WIDENED: Final = 1.7
"""the interval's width against the pair's"""
DROPPED: Final = 0.1
"""share of the images that validation does without"""
GRAVE: Final = ("critical", "major")

Audited = dict[str, Any]


def verified(case: Case, audited: Audited, pair: Audited | None) -> bool:
    """Whether the planted fault did what such a fault does; what is not measured against a pair is taken as done."""
    if case.measure in ("recorded", "nothing") or pair is None:
        return True
    if case.measure == "f1":
        return float(pair["f1_default"] or 0) - float(audited["f1_default"] or 0) >= LEAST_F1_LOSS
    if case.measure == "unreproduced":
        return True
    if case.measure == "dropped":
        return (audited["images"] or 0) <= (1 - DROPPED) * (pair["images"] or 0) or _loss(audited, pair) >= LEAST_LOSS
    if case.measure == "widens":
        return _width(audited) >= WIDENED * _width(pair)
    if audited["map50_95"] is None or pair["map50_95"] is None:
        # A model that can't be validated at all has lost everything.
        return pair["map50_95"] is not None
    return -_loss(audited, pair) >= LEAST_LOSS if case.measure == "inflates" else _loss(audited, pair) >= LEAST_LOSS


def _loss(audited: Audited, pair: Audited) -> float:
    return float(pair["map50_95"] or 0) - float(audited["map50_95"] or 0)


def _width(audited: Audited) -> float:
    interval = audited["ci95"]
    return float(interval[1] - interval[0]) if interval else float("inf")


def ranked(audited: Audited) -> list[str]:
    """The causes found, in the report's order."""
    return [finding["cause"] for finding in audited["findings"]]


def rate(hits: int, of: int) -> str:
    """A share with its Wilson interval."""
    if not of:
        return "- (n=0)"
    lower, upper = wilson_interval(hits, of)
    return f"{hits / of:.2f} [{lower:.2f}, {upper:.2f}] (n={of})"


def printed(pairs: Sequence[tuple[Case, Audited]], by_name: dict[str, Audited]) -> list[str]:
    """The lines of the score."""
    worked = [
        (case, audited)
        for case, audited in pairs
        if case.expected is not None and verified(case, audited, by_name.get(case.paired or ""))
    ]
    faulty = [(case, audited) for case, audited in worked if case.beside is None]
    unverified = sum(case.expected is not None for case, _ in pairs) - len(worked)
    clean = [(case, audited) for case, audited in pairs if case.expected is None]
    first = sum(bool(ranked(audited)) and ranked(audited)[0] in case.accepted for case, audited in faulty)
    among = sum(bool(set(ranked(audited)[:3]) & case.accepted) for case, audited in faulty)
    beside = sum(bool(set(beside_truth(case, audited, by_name)[:1]) & case.accepted) for case, audited in faulty)
    alarmed = [
        (case.name, finding["cause"])
        for case, audited in clean
        for finding in audited["findings"]
        if finding["severity"] in GRAVE and finding["cause"] not in true_of(case, by_name)
    ]
    short = sum(bool(true_of(case, by_name)) for case, _ in clean)
    lines = [
        f"faults verified: {len(faulty)}, planted without effect and left out: {unverified}",
        f"top-1          {rate(first, len(faulty))}",
        f"   beside what is true of the run without the fault: {rate(beside, len(faulty))}",
        f"recall at 3    {rate(among, len(faulty))}",
        *_doubles(worked, by_name),
        f"clean alarms   {rate(len({name for name, _ in alarmed}), len(clean))}",
        f"   of {short} of them it is true that more epochs bring 2 points; saying so is no alarm",
        *(f"   {cause}: {count}" for cause, count in Counter(cause for _, cause in alarmed).most_common()),
        "",
        *_baselines(faulty, clean),
        "",
        *_coverage(faulty, by_name),
        "",
        f"{'cause':26} {'found at all':28} {'among the first 3':28} precision (first)",
    ]
    found: dict[str, list[bool]] = defaultdict(list)
    within: dict[str, list[bool]] = defaultdict(list)
    named: dict[str, list[bool]] = defaultdict(list)
    for case, audited in faulty:
        assert case.expected is not None
        found[case.expected].append(bool(set(ranked(audited)) & case.accepted))
        within[case.expected].append(bool(set(ranked(audited)[:3]) & case.accepted))
        if ranked(audited):
            named[ranked(audited)[0]].append(ranked(audited)[0] in case.accepted)
    lines += [
        f"{cause:26} {rate(sum(found[cause]), len(found[cause])):28} "
        f"{rate(sum(within[cause]), len(within[cause])):28} {rate(sum(named[cause]), len(named[cause]))}"
        for cause in sorted({*found, *named})
    ]
    return lines


def _doubles(worked: Sequence[tuple[Case, Audited]], by_name: dict[str, Audited]) -> list[str]:
    """Of runs with two faults, both verified: whether one of them is first, and both are among the first three."""
    known = {case.name: case for case in cases()}
    first, both = [], []
    for case, audited in worked:
        if case.beside is None or case.paired not in by_name:
            continue
        alone = known[case.paired]
        if not verified(alone, by_name[alone.name], by_name.get(alone.paired or "")):
            continue
        top = ranked(audited)[:3]
        first.append(bool(set(top[:1]) & (case.accepted | case.accepted_beside)))
        both.append(bool(set(top) & case.accepted) and bool(set(top) & case.accepted_beside))
    return [
        f"pairs of faults: one of both first {rate(sum(first), len(first))}, "
        f"both among the first 3 {rate(sum(both), len(both))}"
    ]


def by_cause(pairs: Sequence[tuple[Case, Audited]], by_name: dict[str, Audited]) -> dict[str, dict[str, list[int]]]:
    """For each cause, as [hits, of]: verified faults found at all, among the first three, and first; clean runs with a
    critical or major finding of it, and with any; and controls that look like it with any finding of it."""
    facts: dict[str, dict[str, list[int]]] = {}
    for cause in CAUSES:
        faulty = [
            (case, audited)
            for case, audited in pairs
            if case.expected == cause
            and case.beside is None
            and verified(case, audited, by_name.get(case.paired or ""))
        ]
        clean = [(case, audited) for case, audited in pairs if case.expected is None]
        without = [(case, audited) for case, audited in clean if cause not in true_of(case, by_name)]
        similar = [(case, audited) for case, audited in without if looks_like(case, cause)]
        facts[cause] = {
            "found": _share([bool(set(ranked(audited)) & case.accepted) for case, audited in faulty]),
            "among_three": _share([bool(set(ranked(audited)[:3]) & case.accepted) for case, audited in faulty]),
            "first": _share([bool(set(ranked(audited)[:1]) & case.accepted) for case, audited in faulty]),
            "grave_alarms": _share([cause in _grave(audited) for _, audited in without]),
            "any_alarms": _share([cause in ranked(audited) for _, audited in without]),
            "confusable_alarms": _share([cause in ranked(audited) for _, audited in similar]),
        }
    return facts


def looks_like(case: Case, cause: str) -> bool:
    """Whether a clean case is one that a careless rule would take for the cause."""
    kinds = CONFUSABLE[cause]
    planted = case.fault.variant if case.fault is not None else ""
    return planted in kinds or case.training.variant in kinds or case.training.base in kinds


def true_of(case: Case, by_name: dict[str, Audited]) -> frozenset[str]:
    """What is right to say of a clean run: too few epochs, where a training of twice as many really brought 2 points.

    Where no longer training was made of its family, what is true of the base's first family is taken to hold.
    """
    training = case.training
    if training.variant == "example" or training.variant.endswith("long"):
        return frozenset()
    family = training.family if f"{training.base}-{training.family}-clean-long" in by_name else PAIRS[training.base]
    plain = f"{training.base}-{family}-clean"
    if training.cause is not None or training.family != family:
        names = plain, f"{plain}-long"
    elif f"{training.name}-long" in by_name:
        names = training.name, f"{training.name}-long"
    else:
        # Of the same data, if not of the same settings.
        names = training.name if training.seed == SEED else plain, f"{plain}-long"
    shorter, longer = (by_name.get(name) for name in names)
    if shorter is None or longer is None:
        return frozenset()
    return frozenset({"insufficient_epochs"} if _loss(shorter, longer) >= LEAST_LOSS else ())


def beside_truth(case: Case, audited: Audited, by_name: dict[str, Audited]) -> list[str]:
    """The causes found, without those that are true of the run without its fault, unless they are what was planted."""
    true = true_of(case, by_name) - case.accepted
    return [cause for cause in ranked(audited) if cause not in true]


def _share(hits: list[bool]) -> list[int]:
    return [sum(hits), len(hits)]


def _grave(audited: Audited) -> list[str]:
    return [finding["cause"] for finding in audited["findings"] if finding["severity"] in GRAVE]


def _coverage(faulty: Sequence[tuple[Case, Audited]], by_name: dict[str, Audited]) -> list[str]:
    """How the mAP that a right finding says is at stake compares with what the pair without the fault has more.

    The pair is the run with the fix applied: trained again with the setting put right, or measured on the data put
    right. Only findings that are the planted cause and state an interval of mAP50-95 count, of faults that lower or
    inflate it.
    """
    inside, errors = [], []
    for case, audited in faulty:
        pair = by_name.get(case.paired or "")
        if (
            pair is None
            or case.measure not in ("lowers", "inflates")
            or None in (pair["map50_95"], audited["map50_95"])
        ):
            continue
        for finding in audited["findings"]:
            if finding["cause"] == case.expected and finding.get("ci95") is not None:
                brought = _loss(audited, pair) if finding["direction"] == "lowers" else -_loss(audited, pair)
                inside.append(finding["ci95"][0] <= brought <= finding["ci95"][1])
                errors.append(abs(finding["impact"] - brought))
    if not inside:
        return ["predicted gain: no finding with an interval has a pair"]
    errors.sort()
    return [
        f"predicted gain within its interval after the fix  {rate(sum(inside), len(inside))}, "
        f"median error {errors[len(errors) // 2]:.3f}, largest {errors[-1]:.3f}"
    ]


def _baselines(faulty: Sequence[tuple[Case, Audited]], clean: Sequence[tuple[Case, Audited]]) -> list[str]:
    """Top-1, recall at 3 and alarms on clean runs of each baseline."""
    names = list(faulty[0][1]["baselines"]) if faulty else []
    lines = [f"{'baseline':20} {'top-1':28} {'recall at 3':28} alarms on clean runs"]
    for name in names:
        said = [(case, audited["baselines"][name]) for case, audited in faulty]
        first = sum(bool(causes) and causes[0] in case.accepted for case, causes in said)
        among = sum(bool(set(causes[:3]) & case.accepted) for case, causes in said)
        alarms = sum(bool(audited["baselines"][name]) for _, audited in clean)
        lines.append(f"{name:20} {rate(first, len(said)):28} {rate(among, len(said)):28} {rate(alarms, len(clean))}")
    return lines


def main() -> None:
    """Print the score of the held-out part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audited", type=Path)
    parser.add_argument("--all", action="store_true", help="the part that sets thresholds too")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also write what the pages of the checks state")
    parser.add_argument("--misses", action="store_true", help="name each fault that is not first, and each alarm")
    options = parser.parse_args()
    by_name = {line["case"]: line for line in map(json.loads, options.audited.read_text().splitlines())}
    pairs = [(case, by_name[case.name]) for case in cases() if case.name in by_name and (options.all or case.held_out)]
    print("\n".join(printed(pairs, by_name)))
    if options.write:
        options.write.write_text(json.dumps(by_cause(pairs, by_name), indent=1) + "\n")
    if options.misses:
        for case, audited in pairs:
            top = ranked(audited)[:4]
            wrong = (
                bool({*_grave(audited)} - true_of(case, by_name))
                if case.expected is None
                else not top or top[0] not in case.accepted
            )
            if wrong:
                print(f"{case.name}: {', '.join(top) or 'nothing'}")


if __name__ == "__main__":
    main()
