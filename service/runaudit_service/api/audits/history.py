"""Pages of history that cost the same at any depth, however many audits there are and however rare is what is wanted.

Each filter names ranges of an index that holds its audits in the order of history (of several causes or states: one
range each, merged). One filter drives: its audits are walked in order from the cursor on, and held against the other
filters. The driving one is the rarest of them, told by counting each no further than `COUNTED`, and by how far that is.
A page walks `WALKED` audits at most; where that many fit nothing, it ends early, and its cursor goes on from there. So
filters that exclude one another cost many short pages, never a long one (AIP-158: before the end a page may hold fewer
than asked, or none).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, Subquery, func, literal, select, tuple_, union_all
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from runaudit_service.api.audits.repository import AuditRecord, AuditRepository
from runaudit_service.api.audits.schemas import AuditSelection
from runaudit_service.api.pagination import Position
from runaudit_service.store.models import Audit, AuditTerm, Project
from runaudit_service.store.terms import cause_term, label_term

WALKED: Final = 2000
"""audits that one page looks at; some 5 ms of PostgreSQL's time where all of them are looked at in vain"""
COUNTED: Final = 500
"""how far filters are counted to find the rarest; a filter of fewer audits than WALKED needs one page anyway"""

_Range = Select[datetime, uuid.UUID]


@dataclass(frozen=True)
class Page:
    """Audits in the wanted order. `next` is where the next page begins, None at the end."""

    records: list[AuditRecord]
    next: Position | None


@dataclass(frozen=True)
class _Filter:
    """One filter: the ranges of an index in which its audits lie, and the same as a condition on an audit.

    `repeats`: an audit may lie in several of the ranges.
    """

    ranges: list[_Range]
    condition: ColumnElement[bool]
    repeats: bool = False


class AuditHistory:
    """The history of one tenant."""

    def __init__(self, session: AsyncSession, tenant_id: uuid.UUID) -> None:
        self._session = session
        self._tenant_id = tenant_id

    async def page(self, wanted: AuditSelection, after: Position | None, size: int) -> Page:
        """Up to `size` audits (below WALKED) in the wanted order, beginning after a position."""
        filters = await self._filters(wanted, after)
        if filters is None:
            return Page([], None)
        driver = await self._rarest(filters, wanted)
        rows = await self._matching(driver, [one for one in filters if one is not driver], wanted, size + 1)
        if len(rows) > size:
            rows = rows[:size]
            stop: Position | None = Position(rows[-1][0].created_at, rows[-1][0].id)
        else:
            stop = await self._end_of_walk(driver, wanted)
            if stop is not None and rows:
                # Audits that came meanwhile push the end of the walk towards the beginning.
                last = Position(rows[-1][0].created_at, rows[-1][0].id)
                stop = max(stop, last, key=_key) if wanted.ascending else min(stop, last, key=_key)
        return Page(await AuditRepository(self._session, self._tenant_id).with_inputs(rows), stop)

    async def _filters(self, wanted: AuditSelection, after: Position | None) -> list[_Filter] | None:
        """All filters, never an empty list; None if one of them names no project that there is."""
        audits = _ranges_of_audits(self._tenant_id, wanted, after)
        filters = []
        if wanted.project:
            named = select(Project.id).where(Project.tenant_id == self._tenant_id, Project.name.in_(wanted.project))
            projects = (await self._session.scalars(named)).all()
            if not projects:
                return None
            filters.append(_column(audits, Audit.project_id, projects))
        for column, values in (
            (Audit.verdict, wanted.verdict),
            (Audit.state, wanted.state),
            (Audit.framework, wanted.framework),
        ):
            if values:
                filters.append(_column(audits, column, values))
        terms = _ranges_of_terms(self._tenant_id, wanted, after)
        if wanted.cause:
            causes = dict.fromkeys(wanted.cause)
            ranges = [terms.where(AuditTerm.term == cause_term(cause)) for cause in causes]
            filters.append(_Filter(ranges, Audit.causes.overlap([*causes]), repeats=len(causes) > 1))
        for key, _, value in (label.partition(":") for label in dict.fromkeys(wanted.label)):
            labelled = terms.where(AuditTerm.term == label_term(key, value))
            filters.append(_Filter([labelled], Audit.labels.contains({key: value})))
        return filters or [_Filter([audits], literal(value=True))]

    async def _rarest(self, filters: Sequence[_Filter], wanted: AuditSelection) -> _Filter:
        if len(filters) == 1:
            return filters[0]
        end = func.max if wanted.ascending else func.min
        walks = [_walk(one, wanted).limit(COUNTED).subquery() for one in filters]
        counted = union_all(
            *(
                select(
                    literal(place).label("place"), func.count().label("audits"), end(walked.c.created_at).label("end")
                )
                for place, walked in enumerate(walks)
            )
        )
        rows = (await self._session.execute(counted)).all()
        # Of two that are both too frequent to be counted out, the one that had to go further for as many is rarer here.
        towards = -1.0 if wanted.ascending else 1.0
        rarest = min(rows, key=lambda row: (row.audits, towards * row.end.timestamp() if row.end else 0.0, -row.place))
        return filters[int(rarest.place)]

    async def _matching(
        self, driver: _Filter, others: Sequence[_Filter], wanted: AuditSelection, size: int
    ) -> Sequence[Any]:
        walked = _walk(driver, wanted).subquery("walked")
        if driver.repeats:
            order = _order(walked, wanted)
            place = walked.c.created_at, walked.c.id
            once = select(*place).ext(distinct_on(*place)).order_by(*order)
            walked = once.subquery("walked_once")
        # A lateral subquery with an offset is looked at audit by audit, in the walk's order, as far as a page needs;
        # joined plainly, PostgreSQL would rather read the whole table.
        looked_at = (
            select(Audit)
            .where(Audit.id == walked.c.id, Audit.tenant_id == self._tenant_id)
            .where(*(other.condition for other in others))
            .offset(0)
            .lateral("looked_at")
        )
        audit = aliased(Audit, looked_at)
        project = select(Project.name).where(Project.id == audit.project_id).scalar_subquery()
        query = (
            select(audit, project)
            .select_from(walked)
            .join(looked_at, literal(value=True))
            .order_by(*_order(walked, wanted))
            .limit(size)
        )
        return (await self._session.execute(query)).all()

    async def _end_of_walk(self, driver: _Filter, wanted: AuditSelection) -> Position | None:
        """The last audit that a whole walk looks at, None if it comes to the end of the filter."""
        query = _walk(driver, wanted).limit(1).offset(WALKED - 1)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else Position(row[0], row[1])


def _key(position: Position) -> tuple[datetime, int]:
    return position.created_at, position.id.int


def _column(audits: _Range, column: Any, values: Sequence[Any]) -> _Filter:
    different = dict.fromkeys(values)
    return _Filter([audits.where(column == value) for value in different], column.in_([*different]))


def _ranges_of_audits(tenant_id: uuid.UUID, wanted: AuditSelection, after: Position | None) -> _Range:
    whole = select(Audit.created_at, Audit.id).where(Audit.tenant_id == tenant_id)
    return whole.where(*_window(Audit.created_at, Audit.id, wanted, after))


def _ranges_of_terms(tenant_id: uuid.UUID, wanted: AuditSelection, after: Position | None) -> _Range:
    whole = select(AuditTerm.created_at, AuditTerm.audit_id.label("id")).where(AuditTerm.tenant_id == tenant_id)
    return whole.where(*_window(AuditTerm.created_at, AuditTerm.audit_id, wanted, after))


def _window(
    created_at: Any, audit_id: Any, wanted: AuditSelection, after: Position | None
) -> list[ColumnElement[bool]]:
    window: list[ColumnElement[bool]] = []
    if wanted.created_after is not None:
        window.append(created_at > wanted.created_after)
    if wanted.created_before is not None:
        window.append(created_at < wanted.created_before)
    if after is not None:
        here, last = tuple_(created_at, audit_id), (after.created_at, after.id)
        window.append(here > last if wanted.ascending else here < last)
    return window


def _walk(one: _Filter, wanted: AuditSelection) -> _Range:
    """The first WALKED audits of each range of a filter, merged into the order of history.

    Each range is put in order and cut short by itself, so that its index is read in order and no further than needed;
    over ranges without an end PostgreSQL may collect all their rows and sort them.
    """
    ordered = [
        select(part.c.created_at, part.c.id).order_by(*_order(part, wanted)).limit(WALKED)
        for part in (single.subquery() for single in one.ranges)
    ]
    if len(ordered) == 1:
        return ordered[0]
    merged = union_all(*(select(part.subquery()) for part in ordered)).subquery("merged")
    return select(merged.c.created_at, merged.c.id).order_by(*_order(merged, wanted)).limit(WALKED)


def _order(rows: Subquery, wanted: AuditSelection) -> tuple[Any, Any]:
    if wanted.ascending:
        return rows.c.created_at, rows.c.id
    return rows.c.created_at.desc(), rows.c.id.desc()
