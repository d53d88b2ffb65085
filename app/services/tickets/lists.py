"""Tickets in lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Unpack

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Column,
    ColumnElement,
    DateTime,
    FromClause,
    Integer,
    Select,
    Subquery,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...models import TicketStatus
from ...schemas import Cursor, Page, TicketListFilters, TicketSummary
from .._shared.checks import checked_flag, checked_limit
from .._shared.lists import checked_cursor, checked_filters, page_of, plain, read
from .._shared.redirects import current_id, living
from .rows import TICKETS

SUMMARY = plain(
    TICKETS.c.id,
    TICKETS.c.ticket_number,
    TICKETS.c.customer_id,
    TICKETS.c.conversation_id,
    TICKETS.c.subject,
    func.coalesce(TICKETS.c.status, TicketStatus.OPEN).label("status"),
    TICKETS.c.priority,
    TICKETS.c.category,
    TICKETS.c.source_channel,
    TICKETS.c.assigned_to,
    TICKETS.c.created_at,
    TICKETS.c.resolved_at,
)
"""The columns of a ``TicketSummary``."""

_SHORT = {
    "channel": "source_channel",
    "assignee": "assigned_to",
    "since": "created_at_from",
    "until": "created_at_before",
}
_TIME = DateTime(timezone=True)
_LIMIT = bindparam("max_rows", type_=Integer())
_BY_VALUE: dict[str, Column[Any]] = {
    column.key: column
    for column in (
        # The first one that has several values leads, with the status: each of them is read in the order of
        # the page.
        TICKETS.c.customer_id,
        TICKETS.c.conversation_id,
        TICKETS.c.assigned_to,
        TICKETS.c.status,
        TICKETS.c.priority,
        TICKETS.c.category,
        TICKETS.c.source_channel,
        TICKETS.c.ticket_number,
        TICKETS.c.escalation_reason,
    )
}
_BY_TIME = (TICKETS.c.created_at, TICKETS.c.updated_at, TICKETS.c.resolved_at)
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    **{name: column == bindparam(name, type_=column.type) for name, column in _BY_VALUE.items()},
    "customer_id": TICKETS.c.customer_id == living(bindparam("customer_id", type_=Uuid())),
    **{f"{column.key}_from": column >= bindparam(f"{column.key}_from", type_=_TIME) for column in _BY_TIME},
    **{
        f"{column.key}_before": column < bindparam(f"{column.key}_before", type_=_TIME) for column in _BY_TIME
    },
    "metadata": TICKETS.c.metadata.contains(bindparam("metadata", type_=JSONB())),
    "unassigned": TICKETS.c.assigned_to.is_(None),
    "before": tuple_(TICKETS.c.created_at, TICKETS.c.id)
    < tuple_(bindparam("before_time", type_=_TIME), bindparam("before_id", type_=Uuid())),
}


def list_tickets(
    session: Session,
    *,
    unassigned: bool = False,
    limit: int = 50,
    before: Cursor | str | None = None,
    **filters: Unpack[TicketListFilters],
) -> Page[TicketSummary]:
    """Tickets that fit all filters, newest first, in pages of ``limit`` (1 to 1,000). One statement.

    A filter of no values is fitted by nothing. A page's ``next``, or its ``token()``, as ``before`` gets the
    following one.
    A page is read in proportion to its length, however many tickets there are, by each filter, also together
    with a status; but for ``escalation_reason``, ``extra`` and the times of the last change and the
    resolution, which read tickets in the order of the list until the page is full. Of other filters together,
    what fits one of them is read until the page is full: tickets of a category, of a channel or of a priority
    are spread over all times, so that the others only make the way to the next one longer.

    Raises:
        InvalidValue: a filter, the limit or the cursor is ill-formed.
    """
    empty = {name for name, value in filters.items() if _is_empty(value)}
    checks = {name: None if name in empty else value for name, value in filters.items()}
    values = _by_column(checked_filters(TicketListFilters, checks))
    if checked_flag("unassigned", unassigned):
        values["unassigned"] = True
    if before is not None:
        values["before"] = True
        values["before_time"], values["before_id"] = checked_cursor(before)
    limit = checked_limit(limit)
    if empty:
        return Page(items=())
    several = set()
    for name in _BY_VALUE.keys() & values.keys():
        if len(values[name]) == 1:
            (values[name],) = values[name]
        else:
            several.add(name)
    statement = _page(frozenset(_CONDITIONS.keys() & values.keys() - several), frozenset(several))
    return page_of(Page[TicketSummary], read(session, statement, {**values, "max_rows": limit + 1}), limit)


def _is_empty(value: object) -> bool:
    """A collection of no values. An empty object is one: every other one contains it."""
    return isinstance(value, Collection) and not isinstance(value, str | Mapping) and not value


def _by_column(values: dict[str, Any]) -> dict[str, Any]:
    for short in _SHORT.keys() & values.keys():
        if _SHORT[short] in values:
            raise InvalidValue(short, "is there under its other name too")
        values[_SHORT[short]] = values.pop(short)
    return values


@lru_cache(maxsize=256)
def _page(single: frozenset[str], several: frozenset[str]) -> Select[*tuple[Any, ...]]:
    """The page's statement for filters by these names, those in ``several`` by any of several values."""
    page = (
        select(*SUMMARY)
        .where(TICKETS.c.created_at.is_not(None), *(_CONDITIONS[name] for name in sorted(single)))
        .order_by(TICKETS.c.created_at.desc(), TICKETS.c.id.desc())
        .limit(_LIMIT)
    )
    if not several:
        return page
    # PostgreSQL reads an index in its order for one value only: a page for each, and of these the newest.
    leading = [name for name in _BY_VALUE if name in several and name != "status"][:1]
    if "status" in several:
        leading.append("status")
    for name in sorted(several.difference(leading)):
        page = page.where(_BY_VALUE[name] == any_(_values(name)))
    values = {name: _distinct(name) for name in leading}
    for name, value in values.items():
        page = page.where(_BY_VALUE[name] == value.c.value)
    pages = page.lateral()
    first, *second = values.values()
    combined: FromClause = first
    for value in second:
        combined = combined.join(value, true())
    return (
        select(pages)
        .select_from(combined.join(pages, true()))
        .order_by(pages.c.created_at.desc(), pages.c.id.desc())
        .limit(_LIMIT)
    )


def _values(name: str) -> BindParameter[Any]:
    type_ = _BY_VALUE[name].type
    return bindparam(name, type_=ARRAY(type_ if isinstance(type_, Uuid) else Text()))


def _distinct(name: str) -> Subquery:
    values = func.unnest(_values(name)).table_valued("value", name="requested").render_derived()
    value: ColumnElement[Any] = values.c.value
    if name == "customer_id":
        # Several may be the same customer by now.
        value = current_id(value)
    return select(value.label("value")).select_from(values).distinct().subquery()
