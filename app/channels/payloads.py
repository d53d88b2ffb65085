"""A file's payload, whatever channel it is of, and archives of mail -> InboundMessage."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, TypedDict, Unpack
from urllib.parse import parse_qsl

from ..errors import InvalidPayload, OwnMessage, UnwantedMessage, file_problem
from ..schemas import InboundMessage
from . import _fields, email, web_form, whatsapp
from .archives import OnProblem, log_problem, messages_in
from .email import labels
from .files import Store

_MAX_FORM_FIELDS = 1000


class MailOptions(TypedDict, total=False):
    """What ``email.parse`` needs to know about our own mail, whatever file the mail is in."""

    aliases: Mapping[str, str] | None
    authserv_id: str | None
    form_mailers: Collection[str]
    own_accounts: Collection[str]
    store: Store | None
    unnamed_results: bool


def parse_file(path: Path, **options: Unpack[MailOptions]) -> list[InboundMessage]:
    """Read the payload in one file, whose ending tells what it is.

    ``.eml`` is a mail, ``.form`` and ``.urlencoded`` the body of a Twilio webhook, ``.json`` a Meta webhook
    (has ``object``) or a web form's submission (has ``submission_id``; ``form`` names the account). The
    options are those of ``email.parse``.

    Raises:
        InvalidPayload: the file cannot be read, is none of these, or what it holds is malformed.
        OwnMessage: it is a mail of one of our own accounts.
    """
    suffix = path.suffix.lower()
    if suffix not in (".eml", ".form", ".json", ".urlencoded"):
        raise InvalidPayload("file", "does not end in .eml, .form, .json or .urlencoded")
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InvalidPayload("file", f"cannot be read: {file_problem(error)}") from None
    return parse_payload(raw, suffix=suffix, **options)


def parse_payload(
    raw: bytes, *, suffix: str | None = None, **options: Unpack[MailOptions]
) -> list[InboundMessage]:
    """The same for a payload without a file; without ``suffix`` its beginning tells what it is.

    Raises:
        InvalidPayload: what it holds is malformed.
        OwnMessage: it is a mail of one of our own accounts.
    """
    suffix = suffix or _suffix_of(raw)
    if suffix == ".eml":
        return [email.parse(raw, **options)]
    if suffix == ".json":
        return _parse_json(raw)
    return [whatsapp.parse_twilio(_form(raw))]


def parse_archive(
    path: Path | IO[bytes], *, on_problem: OnProblem | None = None, **options: Unpack[MailOptions]
) -> Iterator[tuple[str, InboundMessage]]:
    """Read every mail of an archive (see ``messages_in``), with where it lies.

    A mail that cannot be used is passed over like one that cannot be read. So is our own (``OwnMessage``), by
    its From or by Gmail's label for what was sent, and one that Gmail's label calls spam or thrown away
    (``UnwantedMessage``).
    """
    report = on_problem or log_problem
    for source, raw in messages_in(path, on_problem=report):
        try:
            message = email.parse(raw, **options)
            _refuse_labelled(message.extra.get("labels"))
        except InvalidPayload as problem:
            report(source, problem)
        else:
            yield source, message


def _refuse_labelled(written: object) -> None:
    if labels.holds(written, labels.OURS):
        raise OwnMessage("X-Gmail-Labels", "says that we wrote it")
    if labels.holds(written, labels.UNWANTED):
        raise UnwantedMessage("X-Gmail-Labels", "says spam, or thrown away")


def _suffix_of(raw: bytes) -> str:
    if raw.lstrip()[:1] in (b"{", b"["):
        return ".json"
    # A form is one word without spaces; a mail begins with a name and a colon.
    return ".form" if re.match(rb"[^\s:=&]+=\S*\s*\Z", raw) else ".eml"


def _parse_json(raw: bytes) -> list[InboundMessage]:
    payload = _fields.json_object(raw)
    if "object" in payload:
        return whatsapp.parse_meta(payload)
    if "submission_id" in payload:
        account = _fields.Fields(payload, "payload").text_or_none("form")
        return [web_form.parse(payload, account=account or "web")]
    raise InvalidPayload("payload", "is neither a WhatsApp webhook (object) nor a web form (submission_id)")


def _form(raw: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(raw.decode("utf-8", "replace"), max_num_fields=_MAX_FORM_FIELDS))
    except ValueError:
        raise InvalidPayload("form", f"has more than {_MAX_FORM_FIELDS} fields") from None
