"""An answer in its channel's voice: template, length, tone."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from uuid import UUID

from sqlalchemy import Text, Uuid, bindparam, text
from sqlalchemy.orm import Session

from ...errors import (
    ChannelDisabled,
    ChannelSettingsNotFound,
    ConversationNotFound,
    InvalidValue,
    ResponseTooLong,
    TicketNotFound,
)
from ...models import ContentType
from ...normalization import normalize_name
from ...schemas import ContentTypeCode, LengthUnit, LengthUnitCode, RenderedReply
from .._shared.checks import checked_code, checked_flag, checked_text, checked_uuid
from ..channel_settings import LENGTH_UNITS, PLACEHOLDER, check_template
from .shortening import length_of, shortened

NAMELESS = "there"
"""Whom we greet whose name we do not know: "Hi there"."""

NUMBERLESS = "-"
"""What stands for a ticket's number where there is none and its line holds the answer too."""

_FACTS = (
    text("""
    SELECT c.channel, config.is_enabled, config.max_response_length, config.tone, config.response_template,
        CASE WHEN asked.metadata ->> 'assurance' = 'claimed' THEN asked.metadata #>> '{profile,name}'
            ELSE customer.name END AS customer_name,
        ticket.ticket_number
    FROM conversations AS c
    JOIN customers AS customer ON customer.id = c.customer_id
    LEFT JOIN channel_configs AS config ON config.channel = c.channel
    LEFT JOIN LATERAL (
        SELECT m.metadata FROM messages AS m
        WHERE m.conversation_id = c.id AND m.direction = 'inbound' AND m.created_at IS NOT NULL
            AND NOT COALESCE(m.metadata ? 'event', false)
        ORDER BY m.created_at DESC, m.id DESC LIMIT 1
    ) AS asked ON true
    LEFT JOIN LATERAL (
        SELECT t.ticket_number, t.created_at, t.id FROM tickets AS t
        WHERE :ticket_id IS NULL AND t.conversation_id = c.id
        UNION ALL
        SELECT t.ticket_number, t.created_at, t.id FROM tickets AS t
        WHERE t.id = :ticket_id AND t.customer_id = c.customer_id
        ORDER BY created_at DESC, id DESC LIMIT 1
    ) AS ticket ON true
    WHERE c.id = :conversation_id
    """)
    .bindparams(bindparam("conversation_id", type_=Uuid()), bindparam("ticket_id", type_=Uuid()))
    .columns(channel=Text(), tone=Text())
)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")


def render_reply(
    session: Session,
    conversation_id: UUID,
    body: str,
    *,
    ticket_id: UUID | None = None,
    content_type: ContentTypeCode = ContentType.TEXT,
    unit: LengthUnitCode | None = None,
    shorten: bool = False,
    nameless: str = NAMELESS,
) -> RenderedReply:
    """``body`` in the template of the conversation's channel, for ``reply``. One statement; writes nothing.

    Filled in one pass, so that nothing in a name or in the body is taken for a placeholder. Who only claims
    to be the customer is called as in the message itself, and who has no name ``nameless``. A line about a
    ticket is left out where there is none; ``ticket_id`` is a ticket of the same customer, else it is the
    conversation's latest one. For HTML the body, name and number are escaped, and a template without tags.

    The body may be ``max_response_length`` long: words, on WhatsApp characters, or in ``unit``. ``shorten``
    ends a longer one after the last sentence that fits.

    Raises:
        ConversationNotFound: there is no such conversation.
        TicketNotFound: the ticket is not the customer's.
        ChannelDisabled: the channel is switched off.
        ChannelSettingsNotFound: somebody has deleted its settings.
        UnknownPlaceholder: its template has a placeholder that nothing fills.
        ResponseTooLong: the body is longer than the channel allows, and not to be shortened.
        InvalidValue: the body or an option is ill-formed, or the template has no place for the body.
    """
    body = checked_text("body", body).strip()
    content_type = checked_code("content_type", content_type, ContentType)
    shorten = checked_flag("shorten", shorten)
    values = {
        "conversation_id": checked_uuid("conversation_id", conversation_id),
        "ticket_id": None if ticket_id is None else checked_uuid("ticket_id", ticket_id),
    }
    nobody = normalize_name(checked_text("nameless", nameless))
    if nobody is None:
        raise InvalidValue("nameless", "has nothing that can be seen")
    unit = None if unit is None else checked_code("unit", unit, LengthUnit)
    session.flush()
    row = session.execute(_FACTS, values).one_or_none()
    if row is None:
        raise ConversationNotFound(values["conversation_id"])
    if row.max_response_length is None:
        raise ChannelSettingsNotFound(row.channel)
    if row.is_enabled is False:
        raise ChannelDisabled(row.channel)
    if ticket_id is not None and row.ticket_number is None:
        raise TicketNotFound(values["ticket_id"])
    unit = unit or LENGTH_UNITS.get(row.channel, LengthUnit.CHARACTERS)
    fitting = shortened(body, row.max_response_length, unit) if shorten else body
    # Of a limit that plain SQL has set to nothing, nothing is left.
    if not fitting or length_of(fitting, unit) > row.max_response_length:
        raise ResponseTooLong(length_of(body, unit), row.max_response_length, unit)
    template = row.response_template or "{{response_body}}"
    check_template(template)
    blanks = {
        "customer_name": normalize_name(row.customer_name) or nobody,
        "response_body": fitting,
        "ticket_number": row.ticket_number,
    }
    return RenderedReply(
        channel=row.channel,
        tone=row.tone,
        content=_filled(template, blanks, is_html=content_type is ContentType.HTML),
        content_type=content_type,
        length=length_of(fitting, unit),
        max_length=row.max_response_length,
        unit=unit,
        is_shortened=fitting != body,
    )


def _filled(template: str, blanks: Mapping[str, str | None], *, is_html: bool) -> str:
    lines = template.split("\n")
    if blanks["ticket_number"] is None:
        lines = [line for line in lines if not _is_about_a_ticket_only(line)]
    text_of: Callable[[str], str] = str
    template = "\n".join(lines)
    if is_html:
        text_of = _as_html
        if not _TAG.search(template):
            template = _as_html(template)
    # In one pass: a customer may be called {{response_body}}.
    return PLACEHOLDER.sub(lambda blank: text_of(blanks[blank[1]] or NUMBERLESS), template)


def _is_about_a_ticket_only(line: str) -> bool:
    names = PLACEHOLDER.findall(line)
    return "ticket_number" in names and "response_body" not in names


def _as_html(text_: str) -> str:
    return html.escape(text_).replace("\r\n", "\n").replace("\n", "<br>\n")
