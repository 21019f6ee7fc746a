"""The words that go with a run's figures: one epoch or three epochs, and what its metric is called in a sentence."""

from __future__ import annotations

from runaudit.diagnostics.history import History


def counted(number: float, noun: str) -> str:
    """`1 epoch`, `3 epochs`; regular nouns only."""
    return f"{number:g} {noun}" if number == 1 else f"{number:g} {noun}s"


def metric_word(history: History, *, begins: bool = False) -> str:
    """`accuracy` for a classifier, which has no mAP; as a sentence `begins`, or within one."""
    if history.metric_name != "top1":
        return "mAP"
    return "Accuracy" if begins else "accuracy"
