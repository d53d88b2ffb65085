"""Delivery -> an Internet message (RFC 5322, 2045 to 2047, 2231), the same at each attempt.

Own code around the standard library's message class, for three of its faults: it breaks long message ids into
encoded words, decodes a subject that only looks like an encoded word, and encodes an address as if it were a
name. So those headers are written here, and the class keeps them as they are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Any

from ...errors import InvalidValue
from ...models.channel import Channel
from ...models.customer import IdentifierType
from ...normalization import normalize_email
from ...schemas import Attachment, Delivery
from .. import _fields

Load = Callable[[Attachment], bytes]
"""Fetches a file's content from where it is kept."""

_WIDTH = 76
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u00a1-\U0010ffff-]+"
_ATOMS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
# Dots where RFC 5322 has none are in real addresses; they are quoted.
_DOTTED = re.compile(rf"\.*{_ATOM}(?:\.+{_ATOM})*\.*")
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")
_MEDIA_TYPE = re.compile(r"([A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126})/([A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126})")
_LONGEST_ADDRESS = 320
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class _Written(str):
    """A header's value as it is to leave: encoded and folded."""


class _Policy(EmailPolicy):
    """Lines end with CRLF, bodies are ASCII; what is ``_Written`` stays."""

    def header_store_parse(self, name: str, value: Any) -> tuple[str, Any]:
        return (name, str(value)) if isinstance(value, _Written) else super().header_store_parse(name, value)


_POLICY = _Policy(linesep="\r\n", cte_type="7bit", refold_source="none")


def compose(
    delivery: Delivery,
    *,
    sender_name: str | None = None,
    reply_to: str | None = None,
    load: Load | None = None,
) -> EmailMessage:
    """The mail that the delivery says: ``smtplib``'s ``send_message`` and providers' raw calls take it.

    From is the delivery's account with ``sender_name``, To the customer with the name if that may be
    disclosed. The Message-ID is the delivery's, known before the mail leaves. HTML goes with a plain text of
    it. ``load`` fetches the content of each attachment. An automatic answer says that it is one (RFC 3834).

    Whatever the text, names, subject and ids hold, they cannot add a header: line ends in them are spaces.
    The same delivery gives the same bytes. An address with letters beyond ASCII before the ``@`` needs a mail
    server with SMTPUTF8.

    Raises:
        InvalidValue: the delivery is no mail, an address is none, a text or a name cannot be encoded, or
            there are attachments and no ``load``.
    """
    if not isinstance(delivery, Delivery):
        raise InvalidValue("delivery", "must be a Delivery")
    if delivery.channel is not Channel.EMAIL or delivery.to.type is not IdentifierType.EMAIL:
        raise InvalidValue("channel", "is not email; claim with forms_from to answer a form by mail")
    for field, text in (("sender_name", sender_name), ("reply_to", reply_to)):
        if not isinstance(text, str | None):
            raise InvalidValue(field, "must be text")
    if delivery.attachments and not callable(load):
        raise InvalidValue("load", "must fetch the attachments' content")
    message = _addressed_mail(delivery, sender_name, reply_to)
    _set_head(message, delivery)
    message.set_content(_body(delivery.text), charset="utf-8")
    if delivery.html is not None:
        message.add_alternative(_body(delivery.html), subtype="html", charset="utf-8")
    for attachment in delivery.attachments:
        assert load is not None
        _attach(message, attachment, load(attachment))
    _set_boundaries(message, delivery)
    return message


def _addressed_mail(delivery: Delivery, sender_name: str | None, reply_to: str | None) -> EmailMessage:
    """A mail from us to the customer, which says nothing yet."""
    sender, recipient = _mailbox("account", delivery.account), _mailbox("to", delivery.to.value)
    answers_to = None if reply_to is None else _mailbox("reply_to", reply_to)
    mailboxes = [mailbox for mailbox in (sender, recipient, answers_to) if mailbox]
    policy = _POLICY if all(map(str.isascii, mailboxes)) else _POLICY.clone(utf8=True)
    message = EmailMessage(policy=policy)
    message["From"] = _addressed("From", sender_name, sender)
    message["To"] = _addressed("To", delivery.to_name, recipient)
    if answers_to is not None:
        message["Reply-To"] = _Written(f"<{answers_to}>")
    return message


def _set_head(message: EmailMessage, delivery: Delivery) -> None:
    if delivery.subject is not None:
        message["Subject"] = _text("Subject", delivery.subject)
    message["Date"] = format_datetime((delivery.written_at or datetime.now(UTC)).astimezone(UTC))
    message["Message-ID"] = _ids([delivery.provider_message_id or _own_id(delivery)])
    if answered := _ids([delivery.in_reply_to]):
        message["In-Reply-To"] = answered
    if references := _ids([*delivery.references, delivery.in_reply_to]):
        message["References"] = references
    if delivery.auto_reply:
        message["Auto-Submitted"] = "auto-replied"


def _mailbox(field: str, address: str) -> str:
    """The address as headers write it: quoted where it must be, its domain in ASCII."""
    local, _, domain = address.strip().rpartition("@")
    if len(address) > _LONGEST_ADDRESS or not _is_text(address):
        raise InvalidValue(field, "is not an email address")
    ascii_domain = normalize_email(f"mailbox@{domain}").partition("@")[2]
    if len(local) > 1 and local[0] == local[-1] == '"':
        local = re.sub(r"\\(.)", r"\1", local[1:-1])
    elif not _DOTTED.fullmatch(local):
        raise InvalidValue(field, "is not an email address")
    if not local or _CONTROL.search(address):
        raise InvalidValue(field, "is not an email address")
    return f"{local if _ATOMS.fullmatch(local) else _quoted(local)}@{ascii_domain}"


def _quoted(text: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _one_line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split())


def _text(header: str, text: str) -> _Written:
    """Free text on lines of at most 76 characters, as encoded words where it is not plain."""
    line = _one_line(text)
    words = line.split(" ")
    if line.isascii() and "=?" not in line and max(map(len, words)) < _WIDTH - len(header) - 2:
        return _Written(_folded(header, words))
    return _Written(_encoded(header, line))


def _addressed(header: str, name: str | None, mailbox: str) -> _Written:
    name = _one_line(name or "")
    if not name:
        return _Written(mailbox)
    written = name if _NAME.fullmatch(name) else _quoted(name)
    # Encoded words can be folded anywhere.
    if not name.isascii() or "=?" in name or len(header) + 2 + len(written) > _WIDTH:
        written = _encoded(header, name)
    fits = len(header) + 2 + len(written.rpartition("\n")[2]) + len(mailbox) + 3 <= _WIDTH
    return _Written(f"{written}{' ' if fits else chr(13) + chr(10) + ' '}<{mailbox}>")


def _encoded(header: str, line: str) -> str:
    if not _is_text(line):
        raise InvalidValue(header.lower(), "holds a character that cannot be sent")
    return Header(line, "utf-8", maxlinelen=_WIDTH, header_name=header).encode(linesep="\r\n")


def _is_text(text: str) -> bool:
    """Whether it holds no half of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _ids(ids: Iterable[str | None]) -> _Written:
    """Message ids, each whole on its line: one that is broken or encoded finds no thread."""
    written = dict.fromkeys(id_ for id_ in ids if id_ is not None and _MESSAGE_ID.fullmatch(id_))
    return _Written("\r\n ".join(written))


def _folded(header: str, words: list[str]) -> str:
    lines, room = [""], _WIDTH - len(header) - 2
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
            room = _WIDTH
        lines[-1] += f" {word}" if lines[-1] else word
    return "\r\n ".join(lines)


def _own_id(delivery: Delivery) -> str:
    domain = _mailbox("account", delivery.account).rpartition("@")[2]
    return f"<{delivery.message_id}@{domain}>"


def _body(text: str) -> str:
    if not _is_text(text):
        raise InvalidValue("content", "holds a character that cannot be sent")
    return re.sub(r"\r\n?", "\n", text)


def _attach(message: EmailMessage, attachment: Attachment, content: bytes) -> None:
    if not isinstance(content, bytes):
        raise InvalidValue("load", "must return bytes")
    media_type = _MEDIA_TYPE.fullmatch(attachment.media_type.lower())
    maintype, subtype = media_type.groups() if media_type else ("application", "octet-stream")
    if maintype in {"message", "multipart"}:
        # They would have to be taken apart and written again; so their bytes stay as they are.
        maintype, subtype = "application", "octet-stream"
    filename = _fields.one_line(_one_line(attachment.filename or ""), _fields.MAX_NAME)
    message.add_attachment(content, maintype, subtype, filename=filename)


def _set_boundaries(message: EmailMessage, delivery: Delivery) -> None:
    """Not by chance, so that each attempt is the same mail; with ``=_``, which no encoded body has."""
    seed = hashlib.sha256(f"{delivery.message_id}\0{delivery.content}".encode()).hexdigest()[:32]
    for number, part in enumerate(part for part in message.walk() if part.is_multipart()):
        part.set_boundary(f"=_{seed}_{number}")
