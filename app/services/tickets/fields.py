"""Changes of a ticket's assignee, priority, category and metadata."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Executable, Text, bindparam, case, func, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...models import Ticket, TicketCategory, TicketField, TicketPriority
from ...schemas import TicketCategoryCode, TicketPriorityCode
from .._shared.acting import ACTING, acting
from .._shared.checks import checked_actor, checked_code, checked_json, checked_uuid
from .rows import TICKET_ID, TICKETS, as_ticket, find, locked, remarked


def _change_of(field: TicketField) -> Executable:
    column = TICKETS.c[field]
    value = bindparam("value", type_=column.type)
    is_meant = TICKETS.c.id == TICKET_ID
    return as_ticket(
        update(TICKETS).where(is_meant, column.is_distinct_from(value), ACTING).values({column: value})
    )


def _change_of_metadata() -> Executable:
    metadata = TICKETS.c.metadata
    present = case((func.jsonb_typeof(metadata) == "object", metadata), else_=func.jsonb_build_object())
    added = present.op("||")(bindparam("added", type_=JSONB()))
    value = added.op("-", return_type=JSONB())(bindparam("removed", type_=ARRAY(Text)))
    changed = TICKETS.c.id == TICKET_ID, metadata.is_distinct_from(value), ACTING
    return as_ticket(update(TICKETS).where(*changed).values(metadata=value))


_CHANGES: dict[TicketField, Executable] = {
    field: _change_of(field) for field in TicketField if field is not TicketField.METADATA
}
_CHANGE_METADATA = _change_of_metadata()


def assign(
    session: Session, ticket_id: UUID, assignee: str | None, *, actor: str, comment: str | None = None
) -> Ticket:
    """Give the ticket to ``assignee`` (``human:7``, ``ai:support-agent``), or with None to nobody.

    Recorded, like the next two, in one statement. Holds the ticket's row lock until the caller's transaction
    ends. Where the ticket has that assignee already, a comment is kept as a remark.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the assignee, the actor or the comment is ill-formed.
    """
    if assignee is not None:
        assignee = checked_actor(assignee, field="assignee")
    return _change(session, ticket_id, TicketField.ASSIGNED_TO, assignee, actor=actor, comment=comment)


def change_priority(
    session: Session, ticket_id: UUID, priority: TicketPriorityCode, *, actor: str, comment: str | None = None
) -> Ticket:
    """Give the ticket another priority.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the priority, the actor or the comment is ill-formed.
    """
    priority = checked_code("priority", priority, TicketPriority)
    return _change(session, ticket_id, TicketField.PRIORITY, priority, actor=actor, comment=comment)


def change_category(
    session: Session, ticket_id: UUID, category: TicketCategoryCode, *, actor: str, comment: str | None = None
) -> Ticket:
    """Move the ticket to another category.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the category, the actor or the comment is ill-formed.
    """
    category = checked_code("category", category, TicketCategory)
    return _change(session, ticket_id, TicketField.CATEGORY, category, actor=actor, comment=comment)


def change_metadata(
    session: Session,
    ticket_id: UUID,
    changes: Mapping[str, Any],
    *,
    actor: str,
    comment: str | None = None,
) -> Ticket:
    """Set keys of the ticket's metadata (``extra``); None takes a key away, and the other keys stay.

    Recorded with the metadata before and after. A list or an object in ``ticket.extra`` that is changed in
    place is not noticed and not saved: pass the whole new value of its key here.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: the changes, the actor or the comment is ill-formed.
    """
    ticket_id = checked_uuid("ticket_id", ticket_id)
    values = checked_json("changes", changes)
    change = acting(actor, comment) | {
        "ticket_id": ticket_id,
        "added": {key: value for key, value in values.items() if value is not None},
        "removed": [key for key, value in values.items() if value is None],
    }
    ticket = find(session, _CHANGE_METADATA, change)
    if ticket is None:
        ticket = locked(session, ticket_id)
        # Somebody may have changed it in between; now nobody can.
        ticket = find(session, _CHANGE_METADATA, change) or remarked(session, ticket, actor, comment)
    return ticket


def _change(
    session: Session,
    ticket_id: UUID,
    field: TicketField,
    value: str | None,
    *,
    actor: str,
    comment: str | None,
) -> Ticket:
    ticket_id = checked_uuid("ticket_id", ticket_id)
    change = {"ticket_id": ticket_id, "value": value} | acting(actor, comment)
    while (ticket := find(session, _CHANGES[field], change)) is None:
        ticket = locked(session, ticket_id)
        if getattr(ticket, field) == value:
            return remarked(session, ticket, actor, comment)
        # Somebody has changed it in between; now nobody can.
    return ticket
