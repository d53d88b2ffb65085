"""What is due goes to one sender, with all that it takes to send it."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import ARRAY, DateTime, Integer, Interval, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...errors import InvalidValue
from ...models import Channel
from ...normalization import normalize_name
from ...schemas import Attachment, ChannelCode, Delivery, Identifier
from .._shared.checks import canonical_account, checked_code, checked_duration, checked_limit

LEASE = timedelta(minutes=5)

# As mail programs write it in their languages.
_RE = re.compile(
    r"\A(?:\s*(?:re|aw|antw|antwort|sv|vs|rif|r|res|réf?|odp|ynt|vá|atb|ymt|απ|\u0440\u0435|отв|ответ|השב|رد"
    r"|回复|回覆|答复|返信|답장)\.?\s*(?:\[\d+\]|\(\d+\))?\s*[:\uff1a])+\s*",
    re.IGNORECASE,
)
_ATTACHMENTS = TypeAdapter(tuple[Attachment, ...])
_CLAIM = (
    text("SELECT * FROM claim_outbox(:channel, :account, :forms_from, :max_rows, :lease)")
    .bindparams(
        bindparam("channel", type_=Text()),
        bindparam("account", type_=Text()),
        bindparam("forms_from", type_=Text()),
        bindparam("max_rows", type_=Integer()),
        bindparam("lease", type_=Interval()),
    )
    .columns(
        message_id=Uuid(),
        conversation_id=Uuid(),
        customer_id=Uuid(),
        created_at=DateTime(timezone=True),
        attachments=JSONB(),
        earlier_ids=ARRAY(Text),
    )
)


def claim(
    session: Session,
    *,
    channel: ChannelCode | None = None,
    account: str | None = None,
    limit: int = 50,
    lease: timedelta = LEASE,
    forms_from: str | None = None,
) -> list[Delivery]:
    """What is due to be sent, for this sender alone until ``lease`` ends; commit before sending.

    Senders at the same time get different messages, and one conversation's go out one after the other, in
    their order. A sender that dies keeps nothing longer than its lease: claim no more than can be sent within
    it. What is to leave by a channel that is switched off waits. With ``forms_from``, a mailbox of ours, the
    authors of web forms are answered by mail from there: such a delivery is a mail, and so are its reports.

    One statement; locks the outbox's rows until the caller's transaction ends.

    Raises:
        InvalidValue: a filter, the limit, the lease or the mailbox is ill-formed.
    """
    if channel is not None:
        channel = checked_code("channel", channel, Channel)
    if account is not None:
        account = canonical_account(channel or Channel.EMAIL, account)
    lease = checked_duration("lease", lease)
    if forms_from is not None:
        forms_from = _checked_mailbox("forms_from", forms_from)
    values = {
        "channel": channel,
        "account": account,
        "forms_from": forms_from,
        "max_rows": checked_limit(limit),
        "lease": lease,
    }
    session.flush()
    rows = session.execute(_CLAIM, values).all()
    return [_delivery(row) for row in rows]


def _checked_mailbox(field: str, address: str) -> str:
    address = canonical_account(Channel.EMAIL, address)
    if not all(address.partition("@")[::2]):
        raise InvalidValue(field, "must be a mailbox")
    return address


def _delivery(row: Any) -> Delivery:
    is_mail = row.channel == Channel.EMAIL
    ids = [row.in_reply_to, *(row.earlier_ids or ())]
    if is_mail:
        ids = [_bracketed(id_) for id_ in ids]
    in_reply_to, *earlier = ids
    return Delivery(
        message_id=row.message_id,
        conversation_id=row.conversation_id,
        customer_id=row.customer_id,
        channel=row.channel,
        account=row.account,
        to=Identifier(type=row.identifier_type, value=row.address),
        to_name=normalize_name(row.to_name),
        group_id=row.group_id,
        provider_message_id=row.own_id,
        subject=_answering(row.subject) if row.is_answer else row.subject,
        in_reply_to=in_reply_to,
        references=tuple(dict.fromkeys(id_ for id_ in earlier if id_)) if is_mail else (),
        content=row.content,
        content_type=row.content_type,
        attachments=_files(row.attachments),
        auto_reply=row.auto_reply,
        attempt=row.attempts,
        window_open=bool(row.window_open),
        written_at=row.created_at,
    )


def _files(kept: object) -> tuple[Attachment, ...]:
    """What another backend has put in their place, and is no list of files, must not hold up all others."""
    try:
        return _ATTACHMENTS.validate_python(kept)
    except ValidationError:
        return ()


def _bracketed(id_: str | None) -> str | None:
    """As mail headers write it; what stands for a missing Message-ID is none."""
    if id_ is None or id_.startswith("sha256:"):
        return None
    return id_ if id_.startswith("<") else f"<{id_}>"


def _answering(subject: str | None) -> str | None:
    """With one ``Re:``, however many there were."""
    if subject is None:
        return None
    return f"Re: {_RE.sub('', subject)}"
