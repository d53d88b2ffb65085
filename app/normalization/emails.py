"""Email addresses; the module above says by which rules."""

from __future__ import annotations

import re
import unicodedata
from uuid import UUID

from ..errors import InvalidValue
from .texts import capped, checked_text, is_visible

PLACEHOLDER_DOMAIN = "placeholder.invalid"
PLACEHOLDERS = f"%@{PLACEHOLDER_DOMAIN}"
"""The emails of customers who have none, as a pattern of LIKE."""

# Names that are never delivered to, which email-validator refuses without an option to allow them.
_RESERVED = re.compile(r"\.(?:arpa|invalid|local|localhost|onion|test)\Z")

_STAND_IN = ".example"

_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*")

_STRAY_DOTS = re.compile(r"\A\.+|\.+\Z|(?<=\.)\.+")


A_LABEL = re.compile("xn--(?:([^.@]*)-)?[^.@-]*")

# Such an address is its own canonical form, whatever the rules below say of others. Most addresses are.
_PLAIN = re.compile(
    r"(?=.{,64}@)(?=.{,253}\Z)(?!.*--)"
    r"[a-z0-9_]+(?:[.+-][a-z0-9_]+)*@(?:[a-z0-9](?:[a-z0-9-]{,61}[a-z0-9])?\.)+[a-z]{2,63}"
)


def placeholder_email(customer_id: UUID) -> str:
    """What stands in the email of a customer who has none: the column wants one, and no two alike."""
    return f"{customer_id}@{PLACEHOLDER_DOMAIN}"


def is_placeholder(email: str) -> bool:
    return email.endswith(f"@{PLACEHOLDER_DOMAIN}")


def is_plain_email(text: str) -> bool:
    """Whether the canonical form is surely the text itself, which is seen many times faster."""
    return _PLAIN.fullmatch(text) is not None


def normalize_email(value: str) -> str:
    """Trimmed, NFKC, lower case, the domain in its ASCII form.

    Lenient about what exists (plus tags, quoted local parts, reserved domains), strict about what can deceive
    (spaces, control and invisible characters). ``Name <address>`` is for the parser of the message.

    >>> normalize_email(" Zoë+News@MÜNCHEN.de ")
    'zoë+news@xn--mnchen-3ya.de'
    """
    if isinstance(value, str) and is_plain_email(address := value.strip().lower()):
        return address
    return normalize_email_by_rules(value)


def normalize_email_by_rules(value: str) -> str:
    """The same of any address, without the short way that plain ones take."""
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415

    text = capped("email", unicodedata.normalize("NFKC", checked_text("email", value)).lower())
    if any(map(str.isspace, text)):
        raise InvalidValue("email", "contains a space")
    if not all(map(is_visible, text)):
        raise InvalidValue("email", "contains a control or invisible character")
    mailbox, at, host = text.rpartition("@")
    tidy = mailbox if mailbox.startswith('"') else _STRAY_DOTS.sub("", mailbox)
    reserved = _RESERVED.search(host)
    try:
        parts = validate_email(
            f"{tidy}{at}{host[: reserved.start()] + _STAND_IN if reserved else host}",
            check_deliverability=False,
            allow_quoted_local=True,
        )
    except EmailNotValidError:
        # Its message quotes the address.
        raise InvalidValue("email", "is not an email address") from None
    domain = parts.ascii_domain
    if reserved:
        domain = domain.removesuffix(_STAND_IN) + reserved[0]
    local = unicodedata.normalize("NFC", mailbox) if tidy != mailbox else parts.local_part
    return capped("email", f"{_unquoted(local)}@{domain}")


def _unquoted(local: str) -> str:
    """A mailbox's name without quotes that only stray dots made necessary."""
    inner = local[1:-1]
    return inner if local.startswith('"') and _ATOMS.fullmatch(_STRAY_DOTS.sub("", inner)) else local
