"""What mail servers and mail programs report on a message of ours (RFC 3464, RFC 8098), as data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import EmailMessage, MIMEPart

from ...models.channel import Channel
from ...models.conversation import DeliveryStatus
from ...schemas import DeliveryReport, InboundEvent
from .. import _fields
from . import addresses, charsets, ids, mime, phrases, senders

_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_DISPOSITION_TYPES = frozenset(
    {"message/disposition-notification", "message/global-disposition-notification"}
)
_RETURNED = frozenset({"message/global", "message/global-headers", "message/rfc822", "text/rfc822-headers"})
_ACTIONS = {
    "delayed": DeliveryStatus.PENDING,
    "delivered": DeliveryStatus.DELIVERED,
    "expanded": DeliveryStatus.DELIVERED,
    "failed": DeliveryStatus.FAILED,
    "relayed": DeliveryStatus.DELIVERED,
}
_STATUS_CODE = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_DELAY = re.compile(
    r"\b(?:delayed|will (?:be )?(?:retry|retried|keep trying)|has not yet been delivered)\b", re.IGNORECASE
)
_BLANK = re.compile(r"\n[ \t]*\n")
# Mailers without RFC 3464 write the returned headers into the text, qmail the address before a colon, and
# sendmail and its kin before dots.
_RETURNED_ID = re.compile(r"^[>\s]{0,8}message-id:\s{0,3}<([^<>\s]{1,500})>", re.IGNORECASE | re.MULTILINE)
_ORIGINAL_IDS = ("X-Original-Message-ID", "Original-Message-ID")
_FAILED_ADDRESS = re.compile(
    r"^\s{0,8}<?([^\s<>@:]{1,64}@[^\s<>@:]{1,190})>?(?::\s|\s?\.\.\.\s)", re.MULTILINE
)
_LONE_ADDRESS = re.compile(r"^[ \t]{0,20}<?([^\s<>@:]{1,64}@[^\s<>@:]{1,190})>?[ \t]*$", re.MULTILINE)
# How servers call themselves before the ``@``; Exchange by its organisation's id.
_OF_SERVERS = re.compile(r"bounce|daemon|mailer|postmaster|\Amicrosoftexchange[0-9a-f]{32}\Z", re.IGNORECASE)
_SERVERS_NAME = re.compile(r"daemon|mail delivery|mail system|system administrator", re.IGNORECASE)
_MAX_RECIPIENTS = 50
_MAX_REASON = 1000


def read(
    message: EmailMessage, text: str, event: InboundEvent | None, account: str
) -> tuple[DeliveryReport, ...]:
    """One report for each recipient that a bounce or a receipt names, at least one.

    ``event`` is what the mail is; ``text`` is what it says, which counts where nothing else does.
    """
    if event is InboundEvent.RECEIPT:
        return _receipts(message, account)
    if event is not InboundEvent.DELIVERY or mime.parameter(message, "report-type") == "feedback-report":
        return ()
    about = _returned_id(message) or next(iter(_RETURNED_ID.findall(text)), None)
    answered = ids.references(message)
    about = _fields.provider_id(about) if about else next(iter(answered), None)
    reports = [
        _report(block, account, about)
        for part in mime.parts(message)
        if mime.media_type(part) in _STATUS_TYPES
        for block in _blocks(part)
        if mime.values(block, "Action")
        or mime.values(block, "Final-Recipient")
        or mime.values(block, "Status")
    ]
    return tuple(reports[:_MAX_RECIPIENTS]) or _from_text(message, text, account, about)


def is_bounce(message: EmailMessage, sender: str, subject: str) -> bool:
    """Whether a mail without RFC 3464's parts is a mail server's report all the same."""
    mailbox = sender.rpartition("@")[0].lower()
    is_servers = mailbox == "postmaster" or mime.values(message, "Return-Path")[:1] == ["<>"]
    return (
        bool(mime.values(message, "X-Failed-Recipients"))
        or mailbox == "mailer-daemon"
        or (is_servers and phrases.BOUNCE_SUBJECT.search(subject) is not None)
    )


def is_servers(message: EmailMessage, author: addresses.Author) -> bool:
    """Whether a report may be a mail server's: nobody gets an answer to it (RFC 3464, section 2).

    Our own server has written the return path; only without one does From count. What is proven by neither:
    who has seen a message of ours can still say that it came back, and all that does is to mark it.
    """
    if mime.parameter(message, "report-type") == "feedback-report":
        return True
    paths = [value.strip("<> ") for value in mime.values(message, "Return-Path")[:1]]
    if paths:
        return not paths[0] or _is_robot(paths[0])
    return _is_robot(author.address) or _SERVERS_NAME.search(author.name) is not None


def _is_robot(address: str) -> bool:
    return _OF_SERVERS.search(address.partition("@")[0]) is not None or senders.is_robot(address)


def _report(block: EmailMessage, account: str, about: str | None) -> DeliveryReport:
    status = _STATUS_CODE.search(_first(block, "Status"))
    action = _ACTIONS.get(_first(block, "Action").lower())
    if action is None:
        action = DeliveryStatus.PENDING if status and status[1].startswith("4") else DeliveryStatus.FAILED
    return DeliveryReport(
        channel=Channel.EMAIL,
        account=account,
        provider_message_id=about,
        status=action,
        recipient=_recipient(block),
        code=status[1] if status else None,
        reason=_fields.without_addresses(
            _fields.one_line(_typed(_first(block, "Diagnostic-Code")), _MAX_REASON)
        ),
        occurred_at=ids.moment(_first(block, "Last-Attempt-Date") or _first(block, "Arrival-Date")),
    )


def _receipts(message: EmailMessage, account: str) -> tuple[DeliveryReport, ...]:
    """What a recipient's program says became of the message: displayed, or not."""
    reports = []
    for part in mime.parts(message):
        for block in _blocks(part) if mime.media_type(part) in _DISPOSITION_TYPES else ():
            written = ids.ids_in(_first(block, "Original-Message-ID"))
            about = (
                written[0] if written else _returned_id(message) or next(iter(ids.references(message)), None)
            )
            disposition = _first(block, "Disposition").lower().rpartition(";")[2]
            is_read = "displayed" in disposition or "read" in disposition.split()
            reports.append(
                DeliveryReport(
                    channel=Channel.EMAIL,
                    account=account,
                    provider_message_id=_fields.provider_id(about) if about else None,
                    status=DeliveryStatus.READ if is_read else DeliveryStatus.DELIVERED,
                    recipient=_recipient(block),
                    reason=_fields.one_line(_first(block, "Disposition"), _MAX_REASON),
                    occurred_at=ids.sent_at(message),
                )
            )
            break
    return tuple(reports[:1])


def _from_text(
    message: EmailMessage, text: str, account: str, about: str | None
) -> tuple[DeliveryReport, ...]:
    """Of a mail that only says so in words: who is meant, and an enhanced status code if there is one."""
    listed = [
        address for value in mime.values(message, "X-Failed-Recipients") for address in value.split(",")
    ]
    addresses = listed or _FAILED_ADDRESS.findall(text) or _LONE_ADDRESS.findall(text)
    code = _STATUS_CODE.search(text)
    is_delay = code[1].startswith("4") if code else bool(_DELAY.search(text[:5000]))
    return tuple(
        DeliveryReport(
            channel=Channel.EMAIL,
            account=account,
            provider_message_id=about,
            status=DeliveryStatus.PENDING if is_delay else DeliveryStatus.FAILED,
            recipient=_fields.one_line(address, _fields.MAX_NAME),
            code=code[1] if code else None,
        )
        for address in list(dict.fromkeys(addresses))[:_MAX_RECIPIENTS] or [None]
    )


def _returned_id(message: EmailMessage) -> str | None:
    """The id of the message that came back, whole or as its headers; else the one that the report tells."""
    parts = mime.parts(message)[1:]
    returned = [_headers_of(part) for part in parts if mime.media_type(part) in _RETURNED]
    reported = [block for part in parts if mime.media_type(part) in _STATUS_TYPES for block in _blocks(part)]
    several = [ids.message_id(headers) for headers in returned if headers is not None]
    several += [
        next(iter(ids.ids_in(_first(block, name))), None) for block in reported for name in _ORIGINAL_IDS
    ]
    return next(filter(None, several), None)


def _headers_of(part: MIMEPart) -> EmailMessage | None:
    if part.is_multipart():
        return mime.enclosed(part)
    payload = mime.payload(part)
    return None if payload is None else mime.parsed(payload, headers_only=True)


def _blocks(part: MIMEPart) -> Iterator[EmailMessage]:
    """The groups of fields in a report: the email package reads some types as messages and some as text."""
    if part.is_multipart():
        pieces = [mime.as_bytes(inner) or b"" for inner in part.iter_parts()]
    else:
        payload = mime.payload(part)
        pieces = [payload] if isinstance(payload, bytes) else []
    whole = mime.decoded(part, b"\n\n".join(pieces)) if part.is_multipart() else b"".join(pieces)
    text = whole.replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    for block in _BLANK.split(text)[: _MAX_RECIPIENTS + 1]:
        if block.strip():
            yield mime.parsed(block.strip("\n").encode("utf-8", "surrogateescape"), headers_only=True)


def _first(block: EmailMessage, name: str) -> str:
    return next((charsets.header(value) for value in mime.values(block, name)), "")


def _recipient(block: EmailMessage) -> str | None:
    written = _typed(_first(block, "Final-Recipient") or _first(block, "Original-Recipient"))
    return _fields.one_line(written.strip("<> "), _fields.MAX_NAME)


def _typed(value: str) -> str:
    """What stands after ``rfc822;`` or ``smtp;``."""
    return value.partition(";")[2].strip() if ";" in value else value
