"""Providers' payloads -> InboundMessage: one module per channel, pure functions, no database."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl

from ..errors import InvalidPayload
from ..schemas import InboundMessage
from . import _fields, email, web_form, whatsapp

__all__ = ["email", "parse_file", "web_form", "whatsapp"]

_MAX_FORM_FIELDS = 1000


def parse_file(path: Path, *, authserv_id: str | None = None) -> list[InboundMessage]:
    """Read the payload in one file, whose ending tells what it is.

    ``.eml`` is a mail, ``.form`` and ``.urlencoded`` the body of a Twilio webhook, ``.json`` a Meta webhook
    (has ``object``) or a web form's submission (has ``submission_id``; ``form`` names the account).
    ``authserv_id`` is for ``email.parse``.

    Raises:
        InvalidPayload: the file cannot be read, is none of these, or what it holds is malformed.
    """
    suffix = path.suffix.lower()
    if suffix not in (".eml", ".form", ".json", ".urlencoded"):
        raise InvalidPayload("file", "does not end in .eml, .form, .json or .urlencoded")
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its path is not one"
        raise InvalidPayload("file", f"cannot be read: {reason}") from None
    if suffix == ".eml":
        return [email.parse(raw, authserv_id=authserv_id)]
    if suffix == ".json":
        return _parse_json(raw)
    return [whatsapp.parse_twilio(_form(raw))]


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
