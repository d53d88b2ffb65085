"""How the command line shows conversations, transcripts and timelines."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ...models import Customer, MessageDirection
from ...schemas import (
    ConversationDetails,
    ConversationSummary,
    Page,
    TimelineEntry,
    TimelineKind,
    TranscriptEntry,
)
from .tables import facts, moment, new_table, on_one_line, safe, whole
from .tickets import FIELDS, status_text


def listed(page: Page[ConversationSummary], people: Mapping[UUID, Customer]) -> RenderableType:
    """A page of conversations; their ids whole, for other commands."""
    table = new_table("conversation", "channel", "turn", "last message", "tickets", "customer", heads=("",))
    for column in table.columns[:4]:
        column.no_wrap = True
    for one in page.items:
        customer = people.get(one.customer_id)
        table.add_row(
            str(one.id),
            safe(one.channel),
            {"us": "ours", "customer": "theirs"}.get(one.awaiting or "", ""),
            moment(one.last_message_at) if one.last_message_at else "",
            f"{one.open_tickets} open" if one.open_tickets else "",
            on_one_line(customer.name or "(no name)") if customer else "",
        )
    if page.next is None:
        return table
    return Group(table, Text(f"these are {len(page.items)}; there are more", "dim"))


def conversation(details: ConversationDetails) -> RenderableType:
    return facts(
        {
            "conversation": str(details.id),
            "subject": details.subject and safe(details.subject, "bold"),
            "channel": details.channel,
            "our end": details.account,
            "customer": str(details.customer_id),
            "status": details.status,
            "turn": {"us": "ours", "customer": "the customer's"}.get(details.awaiting or ""),
            "open tickets": str(details.open_tickets) if details.open_tickets else None,
            "escalation": details.escalation_reason,
        }
    )


def transcript(page: Page[TranscriptEntry]) -> RenderableType:
    """What was said, in its order, without what it quotes; and what became of our words."""
    lines: list[RenderableType] = []
    if page.next is not None:
        lines.append(Text(f"only the latest {len(page.items)} messages; there are older ones", "dim"))
    for entry in reversed(page.items):
        inbound = entry.direction is MessageDirection.INBOUND
        facts_of = [
            str(entry.role) if inbound else entry.actor or str(entry.role),
            entry.assurance if inbound and entry.assurance == "claimed" else None,
            entry.event or None,
            "note" if entry.internal else None,
            "automatic" if entry.auto_reply else None,
            None if inbound else entry.delivery_status,
        ]
        head = "  ".join([moment(entry.created_at), *filter(None, facts_of)])
        lines.append(safe(head, "bold" if inbound else "cyan"))
        lines.append(_indented(whole(entry.new_text)))
        names = [file.filename or file.media_type for file in entry.attachments]
        if names:
            lines.append(_indented(safe(f"with {', '.join(names)}", "dim")))
    return Group(*lines)


def timeline(page: Page[TimelineEntry], customer: Customer) -> RenderableType:
    """What happened, in its order, each with who did it and why."""
    lines: list[RenderableType] = []
    if page.next is not None:
        lines.append(Text(f"only the latest {len(page.items)} entries; there are older ones", "dim"))
    own = f"customer:{customer.id}"
    for entry in reversed(page.items):
        by = "the customer" if entry.actor == own else entry.actor
        lines.append(Text.assemble(f"{moment(entry.created_at)}  ", _what(entry), f"  by {by}" if by else ""))
        if entry.text:
            lines.append(_indented(whole(entry.text)))
    return Group(*lines)


def _what(entry: TimelineEntry) -> Text:
    if entry.kind is TimelineKind.MESSAGE:
        words = [str(entry.channel), "note" if entry.internal else str(entry.role), entry.assurance or ""]
        style = "bold" if entry.direction is MessageDirection.INBOUND else "cyan"
        return safe("  ".join(filter(None, words)), style)
    if entry.kind is TimelineKind.TICKET:
        return safe(f"{entry.ticket_number}  opened", "yellow")
    if entry.kind is TimelineKind.STATUS_CHANGE:
        return Text.assemble(f"{entry.ticket_number}  {entry.old_value} -> ", status_text(entry.new_value))
    if entry.kind is TimelineKind.FIELD_CHANGE:
        name = FIELDS.get(entry.field or "", entry.field)
        return safe(f"{entry.ticket_number}  {name} {entry.new_value or 'nobody'}", "dim")
    other = f" with customer {entry.other_customer_id}" if entry.other_customer_id else ""
    return safe(f"{entry.event}{other}", "magenta")


def _indented(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, 2), expand=False)
