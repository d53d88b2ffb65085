"""Tickets are opened, and found by their id or number."""

from __future__ import annotations

import re
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, insert, or_, select
from sqlalchemy.orm import Session

from ...errors import ConversationNotFound, CustomerNotFound, InvalidValue, TicketNotFound
from ...models import Channel, Conversation, Customer, Erasure, Ticket, TicketCategory, TicketPriority, uuid7
from ...schemas import ChannelCode, TicketCategoryCode, TicketPriorityCode
from .._shared.acting import ACTING, acting
from .._shared.checks import checked_code, checked_text, checked_uuid
from .._shared.redirects import find_living, living
from ..identity.erasures import refuse_erased
from .rows import TICKET_ID, TICKETS, as_ticket, find

_NUMBER = re.compile(r"\s*(?:tkt)?[-\s#]*0*([0-9]{1,15})\s*", re.IGNORECASE | re.ASCII)
_MAX_NUMBER = 20

_CONVERSATION_ID = bindparam("in_conversation", type_=Uuid())
_IS_CUSTOMER_S = (
    select(Conversation.id)
    .where(Conversation.id == _CONVERSATION_ID, Conversation.customer_id == Customer.id)
    .exists()
)
# From the customer's row: where there is none that may be written for, there is no ticket, and no error that
# ends the transaction.
_NEW = (
    select(
        Customer.id,
        _CONVERSATION_ID,
        *(
            bindparam(f"new_{name}", type_=TICKETS.c[name].type)
            for name in ("id", "subject", "category", "source_channel", "priority")
        ),
    )
    .where(Customer.id == living(bindparam("of_customer", type_=Uuid())))
    .where(~select(Erasure.id).where(Erasure.customer_id == Customer.id).exists())
    .where(or_(_CONVERSATION_ID.is_(None), _IS_CUSTOMER_S), ACTING)
)
_OPEN = as_ticket(
    insert(TICKETS).from_select(
        ["customer_id", "conversation_id", "id", "subject", "category", "source_channel", "priority"], _NEW
    )
)
_BY_ID = as_ticket(select(*TICKETS.c).where(TICKETS.c.id == TICKET_ID))
_TEXT = bindparam("text", type_=Text())
_BY_NUMBER = as_ticket(
    select(*TICKETS.c)
    .where(TICKETS.c.ticket_number.in_([_TEXT, bindparam("number", type_=Text())]))
    .order_by((TICKETS.c.ticket_number == _TEXT).desc())
    .limit(1)
)


def open_ticket(
    session: Session,
    *,
    customer_id: UUID,
    subject: str,
    category: TicketCategoryCode,
    source_channel: ChannelCode,
    actor: str,
    priority: TicketPriorityCode = TicketPriority.MEDIUM,
    conversation_id: UUID | None = None,
    comment: str | None = None,
) -> Ticket:
    """Open a ticket; the database numbers it and records who opened it. One statement.

    An absorbed customer's id works too. Locks the customer's row against deletion (FOR KEY SHARE) until the
    caller's transaction ends.

    Raises:
        CustomerNotFound: there is no such customer.
        CustomerErased: it was erased.
        ConversationNotFound: the customer has no such conversation.
        InvalidValue: a field breaks a rule.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    if conversation_id is not None:
        conversation_id = checked_uuid("conversation_id", conversation_id)
    ticket = {
        "of_customer": customer_id,
        "in_conversation": conversation_id,
        "new_id": uuid7(),
        "new_subject": checked_text("subject", subject, max_length=500),
        "new_category": checked_code("category", category, TicketCategory),
        "new_source_channel": checked_code("source_channel", source_channel, Channel),
        "new_priority": checked_code("priority", priority, TicketPriority),
    }
    opened = find(session, _OPEN, ticket | acting(actor, comment))
    if opened is not None:
        return opened
    living_id = find_living(session, customer_id)
    if living_id is not None:
        refuse_erased(session, living_id)
    if conversation_id is None or living_id is None:
        raise CustomerNotFound(customer_id)
    raise ConversationNotFound(conversation_id)


def get_ticket(session: Session, id_or_number: UUID | str) -> Ticket:
    """The ticket with this id or this number, in any spelling: ``tkt-42`` is TKT-0042.

    A number of another system's (``ZD-4711``, of an import) is found as it is written.

    Raises:
        TicketNotFound: there is no such ticket.
        InvalidValue: neither an id nor a number.
    """
    if isinstance(id_or_number, UUID):
        ticket = find(session, _BY_ID, {"ticket_id": id_or_number})
    else:
        text = checked_text("ticket", id_or_number, max_length=50).strip()
        number = _NUMBER.fullmatch(text)
        if number is not None or _reads_like_a_number(text):
            spellings = {"text": text, "number": text if number is None else f"TKT-{number[1]:0>4}"}
            ticket = find(session, _BY_NUMBER, spellings)
        else:
            ticket = find(session, _BY_ID, {"ticket_id": _id_of(text)})
    if ticket is None:
        raise TicketNotFound(id_or_number)
    return ticket


def _reads_like_a_number(text: str) -> bool:
    """Any that the column can hold: other systems number in ways of their own, but with digits."""
    return len(text) <= _MAX_NUMBER and re.search(r"[0-9]", text) is not None


def _id_of(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidValue("ticket", "is neither a number nor an id") from None
