"""An Internet message (RFC 5322, MIME) -> InboundMessage."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from email.message import EmailMessage
from typing import Any

from ...errors import InvalidPayload
from ...models.channel import Channel
from ...models.conversation import ContentType
from ...schemas import Attachment, CustomerProfile, InboundEvent, InboundMessage
from .. import _fields
from ..files import Store
from . import (
    addresses,
    charsets,
    head,
    ids,
    labels,
    machines,
    marks,
    mime,
    phrases,
    quoting,
    reports,
    senders,
)
from . import body as bodies

_MAX_STORED = 100
_MAX_URL = 2000


def parse(
    raw: bytes,
    *,
    account: str | None = None,
    aliases: Mapping[str, str] | None = None,
    authserv_id: str | None = None,
    unnamed_results: bool = False,
    own_accounts: Collection[str] = (),
    form_mailers: Collection[str] = (),
    received_at: datetime | None = None,
    store: Store | None = None,
) -> InboundMessage:
    """Read one message as it came from the mail server.

    The sender is From, verified only if it is well-formed with one author, no header line is broken,
    ``authserv_id`` is given, and the topmost Authentication-Results header is that server's and vouches for
    From's domain (RFC 8601). Give it only if that server removes forged headers in its own name, as section 5
    asks. Microsoft 365 writes no name: ``unnamed_results`` believes the topmost header if it has none. Set it
    only for mail that nothing but such a server delivers, and that it cleans of others' headers.

    An address of our own, the account's or one of ``own_accounts`` (with any ``+tag``), identifies nobody. A
    list that writes in our name, or in its own, leaves the writer's address in X-Original-Sender,
    X-Original-From or Reply-To: that is the sender then, as a claim, and the headers are kept in
    ``extra["headers"]``. So it is with Reply-To where From is a robot's (noreply@) or one of
    ``form_mailers``, which send what people typed into a form: a person's words, whoever sent them.

    ``account`` defaults to one of ``own_accounts`` among Delivered-To, To and Cc, or in what servers add to a
    blind copy, be it tagged there, else to the first address; ``aliases`` says which account another address
    of ours stands for. The content is the plain text, or the HTML as text, with quoted lines left in;
    ``new_text`` is without them. A message that came as a file is part of the content and a file. A
    Message-ID of more than 255 characters becomes ``sha256:<hex>``; so does a missing one, from From, Date,
    Subject and content. Names are cut to 255 characters and the subject to 500.

    What a machine wrote is an ``auto_reply``; a bounce, a receipt or a calendar's answer is an ``event`` too.
    A bounce is read even if From has no address: its sender is ``mailer-daemon@placeholder.invalid``. Which
    message of ours came back, from whom and why is in ``delivery_reports``. What somebody sends in the form
    of a bounce under a name and return path of his own is only a machine's message of his.

    Labels of an archive of Gmail are in ``extra["labels"]``.

    ``store`` is called with each of the first 100 files, and returns where its content is kept. A file that
    it refuses with InvalidPayload is named in ``ignored``; the message goes on.

    Raises:
        InvalidPayload: From or the account is missing or unusable, or the body is above 1 MB or unreadable.
        OwnMessage: From is one of our own accounts, and nobody else is named as the writer.
    """
    if not isinstance(raw, bytes):
        raise InvalidPayload("message", "is not bytes")
    mended = head.repaired(raw)
    message, body = _read(mended)
    charset = bodies.charset_of(message)
    author = senders.author_of(message)
    named = aliases or {}
    end = senders.account(message, own_accounts, named) if account is None else senders.desk(account, named)
    sender = senders.read(
        message,
        author,
        raw,
        is_repaired=mended != raw,
        servers=senders.Servers(authserv_id, unnamed_results),
        ours={senders.mailbox(address) for address in (end, *own_accounts, *named)},
        form_mailers=form_mailers,
    )
    subject = charsets.header(
        next(iter(mime.as_delivered(message, "Subject")), "")[: mime.MAX_HEADER], charset
    )
    content = _fields.content(body.text, "body")
    message_id = ids.message_id(message) or ids.made_of(message, content)
    event, is_machines = _kind(message, author, subject, is_forms=sender.is_forms)
    lenient = _fields.Lenient()
    attachments = _stored(body.files, store, lenient)
    text = content or body.notice()
    return InboundMessage(
        channel=Channel.EMAIL,
        account=end,
        provider_message_id=message_id,
        sender=(senders.robot_if_local(sender.identifier) if event else sender.identifier,),
        profile=CustomerProfile(
            name=_fields.one_line(charsets.unescaped(sender.name, charset), _fields.MAX_NAME)
        ),
        content=text,
        content_type=ContentType.ATTACHMENT_NOTICE if text and not content else ContentType.TEXT,
        new_text=_new_text(message, body, subject) if content else text,
        subject=_fields.one_line(subject, _fields.MAX_SUBJECT),
        thread_id=ids.thread(message) or message_id,
        references=ids.references(message),
        sent_at=ids.sent_at(message),
        received_at=_fields.not_later_than_now(received_at) or ids.received_at(message),
        reply_to=senders.reply_to(message),
        attachments=attachments,
        auto_reply=is_machines,
        event=event,
        delivery_reports=reports.read(message, content, event, end),
        ignored=tuple(lenient.ignored),
        extra=_extra(sender, labels.read(message)),
    )


def _read(raw: bytes) -> tuple[EmailMessage, bodies.Body]:
    try:
        message = mime.parsed(raw)
        return message, bodies.read(message)
    except (LookupError, RecursionError, TypeError, ValueError):
        # Parts nested thousands deep, or a boundary in a charset that cannot be.
        raise InvalidPayload("message", "cannot be read as MIME") from None


def _kind(
    message: EmailMessage, author: addresses.Author, subject: str, *, is_forms: bool
) -> tuple[InboundEvent | None, bool]:
    """The event that it is, if it is one, and whether a machine wrote it."""
    event = machines.event(message)
    if event is None and not is_forms and reports.is_bounce(message, author.address, subject):
        event = InboundEvent.DELIVERY
    is_machines = event is not None or machines.wrote(message, subject, is_forms=is_forms)
    is_forged = event is InboundEvent.DELIVERY and not reports.is_servers(message, author)
    return (None if is_forged else event), is_machines


def _extra(sender: senders.Sender, labelled: list[str]) -> dict[str, Any]:
    extra = {"headers": sender.headers, "labels": labelled}
    return {name: fact for name, fact in extra.items() if fact}


def _new_text(message: EmailMessage, body: bodies.Body, subject: str) -> str:
    """What the plain text says is new; where it has no mark of a quote and the HTML has, what that says."""
    is_forward = body.is_forward or phrases.FORWARD_SUBJECT.match(subject) is not None
    is_reply = bool(ids.references(message)) or phrases.REPLY_SUBJECT.match(subject) is not None
    new = quoting.new_text(body.marked, is_reply=is_reply, is_forward=is_forward)
    if new == body.text and body.other_marked != body.marked:
        other = quoting.new_text(body.other_marked, is_reply=is_reply, is_forward=is_forward)
        is_quoting = other != marks.without(body.other_marked).strip()
        new = other if other and is_quoting and len(other) < len(new) else new
    return _fields.clean(new)


def _stored(
    files: list[bodies.File], store: Store | None, lenient: _fields.Lenient
) -> tuple[Attachment, ...]:
    """The files, with the address of what ``store`` has kept."""
    attachments = []
    for number, file in enumerate(files):
        attachment = file.facts
        if store is not None and file.content is not None:
            try:
                if number >= _MAX_STORED:
                    raise InvalidPayload("attachments", f"are more than {_MAX_STORED}")
                attachment = attachment.model_copy(update={"url": _url(store(attachment, file.content))})
            except InvalidPayload:
                lenient.note(f"attachments[{number}]")
        attachments.append(attachment)
    return tuple(attachments)


def _url(value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= _MAX_URL and value.isprintable():
        return value
    raise InvalidPayload("url", "is not one line of text")
