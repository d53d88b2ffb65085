"""``crm conversations``, ``conversation``, ``timeline`` and ``reply``: what was said, and an answer to it."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated, NamedTuple
from uuid import UUID

import typer
from sqlalchemy.orm import Session

from ..database import transaction
from ..errors import InvalidValue, NotFound
from ..models import Channel
from ..schemas import Awaiting, ConversationDetails, OutboundMessage, Page, RenderedReply, TranscriptEntry
from ..services import conversations as service
from ..services import identity, tickets
from ..services import timeline as timelines
from .desk import PERSON, Limit, open_database, uuid_or_none
from .people import find_customer
from .program import crm, example
from .show import conversations as show
from .show.json import BeforeOption, JsonOption, page, print_json
from .show.tables import console, safe

Conversation = Annotated[
    str,
    typer.Argument(
        metavar="CONVERSATION", help="A conversation's id, or the number of one of its tickets: TKT-0042."
    ),
]
_STANDARD_INPUT = "-"


class Stored(NamedTuple):
    """An answer in its template, and the message that it has become; None for one that is only shown."""

    rendered: RenderedReply
    message_id: UUID | None


@crm.command("conversations", epilog=example("conversations --awaiting us"))
def _list(
    awaiting: Annotated[
        Awaiting | None, typer.Option(help="Only where it is our or the customer's turn, longest wait first.")
    ] = None,
    channel: Annotated[Channel | None, typer.Option(help="Only this channel's.")] = None,
    customer: Annotated[str | None, typer.Option(help=PERSON)] = None,
    limit: Limit = 25,
    before: BeforeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """List conversations, newest first."""
    with open_database() as database:
        customer_id = None
        if customer is not None:
            region = database.settings.default_region
            customer_id = transaction(database.sessions, find_customer, customer, region).id
        find = partial(
            service.list_conversations,
            awaiting=awaiting,
            channel=channel,
            customer_id=customer_id,
            limit=limit,
            before=before,
        )
        listed = transaction(database.sessions, find)
        people = transaction(
            database.sessions, identity.customers_with_identifiers, {one.customer_id for one in listed.items}
        )
    if as_json:
        print_json(**page(listed))
    else:
        console().print(show.listed(listed, people) if listed.items else "no conversations")


@crm.command("conversation", epilog=example("conversation TKT-0042"))
def _conversation(
    conversation: Conversation,
    limit: Limit = 50,
    before: BeforeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show what was said in a conversation: the new text of each message, and what became of answers."""
    with open_database() as database:
        read = partial(_read, limit=limit, before=before)
        details, transcript = transaction(database.sessions, read, conversation)
    if as_json:
        print_json(conversation=details, **page(transcript))
        return
    out = console()
    out.print(show.conversation(details), "")
    out.print(show.transcript(transcript) if transcript.items else "no messages")


def _read(
    session: Session, reference: str, *, limit: int, before: str | None
) -> tuple[ConversationDetails, Page[TranscriptEntry]]:
    conversation_id = _conversation_id(session, reference)
    transcript = service.transcript(session, conversation_id, limit=limit, before=before)
    return service.get_conversation(session, conversation_id), transcript


@crm.command("timeline", epilog=example("timeline ana@example.com --limit 20"))
def _timeline(
    customer: Annotated[str, typer.Argument(metavar="CUSTOMER", help=PERSON)],
    limit: Limit = 50,
    before: BeforeOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show all that happened to a customer: messages, tickets, their changes, decisions about identity."""
    with open_database() as database:
        person = transaction(database.sessions, find_customer, customer, database.settings.default_region)
        read = partial(timelines.timeline, limit=limit, before=before)
        entries = transaction(database.sessions, read, person.id)
    if as_json:
        print_json(customer_id=person.id, **page(entries))
        return
    out = console()
    out.print(safe(person.name or "(no name)", "bold"), safe(f"customer {person.id}", "dim"), sep="  ")
    out.print(show.timeline(entries, person) if entries.items else "nothing has happened")


@crm.command("reply", epilog=example('reply TKT-0042 "Your invoice is on its way." --actor human:7'))
def _reply(
    conversation: Conversation,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The answer; - is standard input.")],
    *,
    actor: Annotated[str, typer.Option(help="Who answers, for the record: human:7.")] = "human:cli",
    shorten: Annotated[
        bool, typer.Option("--shorten", help="End a long answer after the last sentence that fits.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the answer, and store nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Store an answer in its channel's template. Nothing is sent: it waits in the outbox for its sender.

    On WhatsApp it is refused where the customer has not written within 24 hours.
    """
    body = _standard_input() if text == _STANDARD_INPUT else text
    with open_database() as database:
        answer = partial(_answered, actor=actor, shorten=shorten, dry_run=dry_run)
        stored = transaction(database.sessions, answer, conversation, body)
    if as_json:
        print_json(message_id=stored.message_id, reply=stored.rendered)
        return
    fate = "not stored" if stored.message_id is None else f"stored, to be sent: message {stored.message_id}"
    console().print(safe(stored.rendered.content), "", safe(fate, "dim"), sep="\n")


def _answered(
    session: Session, reference: str, body: str, *, actor: str, shorten: bool, dry_run: bool
) -> Stored:
    conversation_id = _conversation_id(session, reference)
    ticket_id = None
    if uuid_or_none(reference) is None:
        ticket_id = tickets.get_ticket(session, reference).id
    rendered = service.render_reply(session, conversation_id, body, ticket_id=ticket_id, shorten=shorten)
    if dry_run:
        return Stored(rendered, None)
    outbound = OutboundMessage(content=rendered.content, content_type=rendered.content_type)
    message = service.reply(session, conversation_id, outbound, actor=actor, in_window=True, measure=True)
    return Stored(rendered, message.id)


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode().strip()
    except UnicodeDecodeError:
        raise InvalidValue("text", "is not UTF-8") from None


def _conversation_id(session: Session, reference: str) -> UUID:
    """The conversation with this id, or of the ticket with this number.

    Raises:
        TicketNotFound: there is no ticket of this number.
        NotFound: the ticket has no conversation.
        InvalidValue: neither an id nor a number.
    """
    conversation_id = uuid_or_none(reference)
    if conversation_id is not None:
        return conversation_id
    try:
        ticket = tickets.get_ticket(session, reference)
    except InvalidValue:
        raise InvalidValue("conversation", "is neither an id nor a ticket's number") from None
    if ticket.conversation_id is None:
        raise NotFound(f"{ticket.ticket_number} has no conversation")
    return ticket.conversation_id
