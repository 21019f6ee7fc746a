"""Server-sent events as the service writes them: lines in, events of an audit out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from runaudit.client.models import Answer, Audit, read_answer

ENDINGS = frozenset({"audit.succeeded", "audit.failed", "audit.cancelled"})


@dataclass(frozen=True)
class AuditEvent:
    """What happened (`audit.queued`, `audit.started`, `audit.progress`, ...), and the audit as it was then.

    `id` is what `follow` can go on from; progress has none.
    """

    type: str
    audit: Audit
    id: str | None = None

    @property
    def last(self) -> bool:
        """Nothing comes after it."""
        return self.type in ENDINGS


class _Message(Answer):
    type: str
    data: Audit


def read_events(lines: Iterable[str]) -> Iterator[AuditEvent | None]:
    """Each event, and None for each sign of life between them (WHATWG HTML, section 9.2.6).

    Raises ProblemError for data that no event of the service has.
    """
    number: str | None = None
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "id":
            number = value
        elif not line:
            message = read_answer(_Message, "\n".join(data).encode()) if data else None
            yield None if message is None else AuditEvent(message.type, message.data, number)
            number, data = None, []
