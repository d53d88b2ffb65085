"""Who wrote a mail, as far as anything proves it, and which of our own addresses got it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from email.errors import (
    FirstHeaderLineIsContinuationDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
from email.message import EmailMessage
from typing import NamedTuple

from ...errors import InvalidPayload, InvalidValue, OwnMessage
from ...models.customer import IdentifierType
from ...normalization import PLACEHOLDER_DOMAIN, is_blocked, normalize_email
from ...schemas import Identifier
from .. import _fields
from . import addresses, charsets, head, mime
from .authentication import vouches

ROBOT = f"mailer-daemon@{PLACEHOLDER_DOMAIN}"
"""The sender of mail that a mail server wrote without an address: it identifies nobody."""

_BROKEN_HEADERS = (
    FirstHeaderLineIsContinuationDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
# MAILER-DAEMON without a domain, or the null address.
_NAMELESS_ROBOT = re.compile(
    r"(?:[^<>]*<\s*)?(?:mailer-daemon|postmaster)?@?\s*>|(?:mailer-daemon|postmaster)@?\s*(?:\(.*\))?"
    r"|\"?(?:mail delivery (?:sub)?system|system administrator)\"?",
    re.IGNORECASE | re.DOTALL,
)
_ORIGINALS = ("X-Original-Sender", "X-Original-From")
_WRITERS = (*_ORIGINALS, "Reply-To")
# Where From has a name only, or an address of Exchange's own kind.
_INSTEAD = ("Reply-To", "Sender", "Return-Path")
_GROUPS = ("List-Post", "Mailing-List", "List-Id")
_VIA = re.compile(r"\bvia\b|\bon behalf of\b", re.IGNORECASE)
_DELIVERED = ("Delivered-To", "X-Original-To", "Envelope-To")
_ADDRESSED = ("To", "Cc", "Resent-To", "X-Delivered-To", "X-Envelope-To", "X-Forwarded-To", "Apparently-To")
# Of a blind copy, our own server's line may be all that says whom it is for.
_RECEIVED_FOR = re.compile(r"\bfor <?([^<>\s;,()]+@[^<>\s;,()]+)>?(?=[\s;]|\Z)")


class Sender(NamedTuple):
    identifier: Identifier
    name: str
    headers: dict[str, str]
    """The headers that named the writer, where From is not the writer's."""
    is_forms: bool = False
    """A program sent what the writer typed into a form."""


class Servers(NamedTuple):
    """Whose Authentication-Results are believed."""

    authserv_id: str | None
    unnamed: bool


def read(
    message: EmailMessage,
    author: addresses.Author,
    raw: bytes,
    *,
    is_repaired: bool,
    servers: Servers,
    ours: Collection[str],
    form_mailers: Collection[str],
) -> Sender:
    """The writer: ``author``, or whom a mail in another's name gives as its writer.

    Raises:
        OwnMessage: From is ours, and nobody else is named as the writer.
    """
    identifier = Identifier(type=IdentifierType.EMAIL, value=author.address)
    if author.certain and not is_repaired and _is_read_alike(raw, message):
        identifier = _proven(message, identifier, servers)
    mailers = {mailbox(address) for address in form_mailers}
    writer = _writer(message, author._replace(address=identifier.value), ours, mailers)
    if writer is None:
        # Through a list many write: who proves its address proves nobody.
        verified = identifier.verified and not _is_group(message, author)
        return Sender(identifier.model_copy(update={"verified": verified}), author.name, {})
    return Sender(
        Identifier(type=IdentifierType.EMAIL, value=writer.address),
        writer.name,
        _headers_of_the_writer(message),
        _is_forms(message, author, mailers),
    )


def account(message: EmailMessage, own_accounts: Collection[str], aliases: Mapping[str, str]) -> str:
    """The address of ours that got the mail: one of ``own_accounts`` wherever it stands, else the first one.

    Raises:
        InvalidPayload: no header names any.
    """
    candidates = _delivered_to(message) + [
        author.address.lower() for name in _ADDRESSED for author in _authors(message, name)
    ]
    candidates += [
        address.lower()
        for value in mime.values(message, "Received")
        for address in _RECEIVED_FOR.findall(value[: mime.MAX_HEADER])[:1]
    ]
    ours = {mailbox(address) for address in (*own_accounts, *aliases, *aliases.values())}
    own = next((address for address in candidates if mailbox(address) in ours), None)
    addressed = own or next(iter(candidates), None)
    if addressed is None:
        raise InvalidPayload("To", "names no address, and no account was given")
    accounts = {canonical(address) for address in (*own_accounts, *aliases.values())}
    # What is tagged comes to the account itself, unless there is one with the tag.
    is_tagged = canonical(addressed) not in accounts and mailbox(addressed) in accounts
    return desk(mailbox(addressed) if is_tagged else addressed, aliases)


def desk(address: str, aliases: Mapping[str, str]) -> str:
    """An account in its canonical form: of the aliases of one desk, the desk's."""
    spelling = canonical(address)
    named = {mailbox(alias): target for alias, target in aliases.items()}
    return canonical(named.get(mailbox(spelling), spelling))


def canonical(address: str) -> str:
    """One spelling of an account; what is no address is the caller's own name for it."""
    text = _fields.address(address, "account")
    if "@" not in text:
        return text
    try:
        return normalize_email(text)
    except InvalidValue:
        return text.lower()


def mailbox(address: str) -> str:
    """What is one mailbox of ours, however it is spelt and tagged."""
    try:
        address = normalize_email(address)
    except InvalidValue:
        address = address.strip().lower()
    local, at, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}{at}{domain}"


def reply_to(message: EmailMessage) -> str | None:
    return next((author.address for author in _authors(message, "Reply-To")), None)


def _is_read_alike(raw: bytes, message: EmailMessage) -> bool:
    """Whether the mail server saw the same headers: it may have checked a From that is none for us."""
    # A lone carriage return ends a line for Python and not for a mail server.
    has_lone_cr = b"\r" in head.head_of(raw).replace(b"\r\n", b"")
    return not has_lone_cr and not any(isinstance(defect, _BROKEN_HEADERS) for defect in message.defects)


def author_of(message: EmailMessage) -> addresses.Author:
    """Who From says wrote it; ``certain`` only if there is one From.

    What a mail server writes itself may have no address there, or the null one; then it is ``ROBOT``. Of a
    person's mail without one there, the next header counts that names whom to answer.

    Raises:
        InvalidPayload: From names nobody who can be answered, nor does another header.
    """
    values = mime.as_delivered(message, "From")
    if values and len(values[0]) > mime.MAX_HEADER:
        raise InvalidPayload("From", f"is longer than {mime.MAX_HEADER:,} characters")
    authors = addresses.read(values[0]) if values else []
    if not authors and (_is_servers(message) or (values and _NAMELESS_ROBOT.fullmatch(values[0].strip()))):
        authors = [addresses.Author(ROBOT)]
    authors = authors or [
        author._replace(certain=False)
        for name in _INSTEAD
        for author in _authors(message, name)
        if not is_robot(author.address)
    ]
    if not authors:
        raise InvalidPayload("From", "names no address" if values else "is missing")
    author = authors[0]
    address = _fields.mailbox(charsets.header(author.address), "From")
    # What is invisible around an address may be another mailbox's, or domain's, for the server that checked.
    is_certain = author.certain and len(values) == 1 and address == author.address
    return author._replace(address=address, certain=is_certain)


def _is_servers(message: EmailMessage) -> bool:
    """Whether a mail server wrote it, whatever From says: people have a return path."""
    return (
        mime.media_type(message) == "multipart/report"
        or mime.values(message, "Return-Path")[:1] == ["<>"]
        or bool(mime.values(message, "X-Failed-Recipients"))
    )


def _proven(message: EmailMessage, sender: Identifier, servers: Servers) -> Identifier:
    """The sender, verified if the server vouches for it."""
    ids = ([servers.authserv_id] if servers.authserv_id is not None else []) + (
        [None] if servers.unnamed else []
    )
    domain = sender.value.rpartition("@")[2].lower().rstrip(".")
    # Letters that a canonical form folds into others are not what the server checked.
    verified = sender.value.isascii() and any(
        vouches(results, authserv_id=server, domain=domain)
        for results in mime.as_delivered(message, "Authentication-Results")[:1]
        for server in ids
    )
    return sender.model_copy(update={"verified": verified})


def _writer(
    message: EmailMessage, author: addresses.Author, ours: Collection[str], form_mailers: Collection[str]
) -> addresses.Author | None:
    """Whom a mail that bears another's address names as its writer, which nothing proves; None: its sender.

    Raises:
        OwnMessage: it bears our own address, or a group's for ours, and names nobody else.
    """
    sender = mailbox(author.address)
    is_ours, is_group = sender in ours, _is_group(message, author)
    if not (is_ours or is_group or is_robot(author.address) or sender in form_mailers):
        return None
    originals = [original for name in _ORIGINALS for original in _authors(message, name)]
    writers = originals if is_ours or is_group else []
    others = (
        writer
        for writer in writers + _authors(message, "Reply-To")
        if mailbox(writer.address) not in {*ours, sender} and not is_robot(writer.address)
    )
    writer = next(others, None)
    wrote_ourselves = is_ours or (is_group and any(mailbox(one.address) in ours for one in originals))
    if writer is None and wrote_ourselves:
        raise OwnMessage("From", "is one of our own accounts")
    return writer


def _is_forms(message: EmailMessage, author: addresses.Author, form_mailers: Collection[str]) -> bool:
    """Whether a form mailer sent it, and no list. A desk's own note in a customer's name is no form's."""
    is_lists = any(mime.values(message, name) for name in (*_ORIGINALS, *_GROUPS)) or _names_via(author)
    return mailbox(author.address) in form_mailers and not is_lists


def _is_group(message: EmailMessage, author: addresses.Author) -> bool:
    """Whether From is a list that writes in the name of its members, as lists do for the sake of DMARC.

    Its address is the one to post to, or the name says "via" and another header names the writer.
    """
    sender = mailbox(author.address)
    if any(mailbox(original.address) == sender for original in _authors(message, "X-Original-Sender")):
        return False
    if any(_names_list(value, sender) for name in _GROUPS for value in mime.values(message, name)[:1]):
        return True
    names_writer = any(mime.values(message, name) for name in _ORIGINALS)
    return names_writer and _names_via(author)


def _names_via(author: addresses.Author) -> bool:
    return _VIA.search(charsets.header(author.name)) is not None


def _names_list(value: str, sender: str) -> bool:
    """Whether a header of a list's is of the list with this address; List-Id has a dot for the ``@``."""
    words = re.split(r"[\s<>,;:?]+", value[: mime.MAX_HEADER].lower())
    return sender in words or sender.replace("@", ".") in words


def _headers_of_the_writer(message: EmailMessage) -> dict[str, str]:
    values = {
        name: _fields.one_line(charsets.header(value), mime.MAX_HEADER)
        for name in ("From", *_WRITERS)
        for value in mime.as_delivered(message, name)[:1]
    }
    return {name: value for name, value in values.items() if value}


def _authors(message: EmailMessage, name: str) -> list[addresses.Author]:
    """The usable addresses in a header that may be forged, absent or nonsense."""
    usable = []
    for value in mime.as_delivered(message, name)[:1]:
        for author in addresses.read_list(value[: mime.MAX_HEADER]):
            try:
                address = _fields.mailbox(charsets.header(author.address), name)
            except InvalidPayload:
                continue
            usable.append(author._replace(address=address))
    return usable


def _delivered_to(message: EmailMessage) -> list[str]:
    values = [value.strip("<> ") for name in _DELIVERED for value in mime.values(message, name)]
    return [_fields.address(value, "Delivered-To").lower() for value in values if "@" in value]


def robot_if_local(identifier: Identifier) -> Identifier:
    """Who wrote a report: a server's address on a host without a domain reaches nobody from here."""
    try:
        normalize_email(identifier.value)
    except InvalidValue:
        return Identifier(type=IdentifierType.EMAIL, value=ROBOT)
    return identifier


def is_robot(address: str) -> bool:
    """Whether it is an address that identifies nobody, however it is spelt."""
    try:
        return is_blocked(IdentifierType.EMAIL, normalize_email(address))
    except InvalidValue:
        return False
