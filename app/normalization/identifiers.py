"""An identifier of any type: its canonical form, its keys, and what identifies nobody."""

from __future__ import annotations

import re
import unicodedata

from ..errors import InvalidValue
from .emails import A_LABEL, PLACEHOLDER_DOMAIN, normalize_email
from .numbers import STORED_NUMBER, normalize_phone, normalize_whatsapp, parsed_number
from .texts import folded_digits

# Shared mailboxes such as support@ and info@ are read by people and stay out of this list.
_NO_ANSWERS = (
    r"(?:no|do[-_.]?not)[-_.]?reply|no[-_.]?respond[ae]r?|n[aã]o[-_.]?respond[ae]r?|non[-_.]?rispondere"
    r"|ne[-_.]?pas[-_.]?r[eé]pondre|nicht[-_.]?antworten|keine[-_.]?antwort|niet[-_.]?(?:be)?antwoorden"
)
# Of a service among others of one house, as in calendar-noreply@ and noreply-accounts@.
_ROBOT = re.compile(
    rf"(?:(?:[^+]*[-_.])?(?:{_NO_ANSWERS})(?:[-_.].*)?|mailer-daemon|postmaster|notifications?|bounces?(?:-.*\d.*)?)(?:\+.*)?"
)

_COUNTING = ("12345678901234567890", "01234567890123456789")


def normalize_identifier(
    type: str,  # noqa: A002 (the field's name in Identifier)
    value: str,
    *,
    default_region: str | None = None,
) -> str:
    """The canonical form of ``value`` as an ``email``, a ``phone`` or a ``whatsapp`` id.

    >>> normalize_identifier("email", "Ann@Example.com")
    'ann@example.com'
    """
    match _checked_type(type):
        case "email":
            return normalize_email(value)
        case "phone":
            return normalize_phone(value, default_region=default_region)
        case _:
            return normalize_whatsapp(value, default_region=default_region)


def identity_key(type: str, canonical_value: str) -> str:  # noqa: A002
    """The key under which two identifiers are one address: a phone and a WhatsApp number share theirs.

    >>> identity_key("phone", "+15551234567") == identity_key("whatsapp", "+15551234567")
    True
    """
    if _checked_type(type) == "email":
        return f"email:{canonical_value}"
    if type == "phone" or canonical_value.startswith("+"):
        return f"tel:{canonical_value}"
    return f"wa:{canonical_value}"


def delivered_form(type: str, value: str, canonical_value: str) -> str:  # noqa: A002
    """The mailbox that a provider meant: the canonical form, unless the spelling only folds to it.

    A provider may have given the name in fullwidth letters to somebody else, so such a spelling is a mailbox
    of its own wherever something is proven or sent. Capitals and composed letters are the same mailbox, and
    domains fold in the same way wherever they are looked up.

    >>> delivered_form("email", "Ann@Example.com", "ann@example.com")
    'ann@example.com'
    >>> delivered_form("email", "\uff21nn@example.com", "ann@example.com") == "\uff41nn@example.com"
    True
    """
    if _checked_type(type) != "email":
        return canonical_value
    delivered = unicodedata.normalize("NFC", value.strip().lower())
    same = delivered.rpartition("@")[0] == canonical_value.rpartition("@")[0]
    return canonical_value if same else delivered


def normalize_stored(
    type: str,  # noqa: A002
    stored: str,
    *,
    default_region: str | None = None,
) -> str | None:
    """The canonical form of what somebody else stored in a profile, or None if it is no address.

    More lenient than what a message may bring: a number without its +, or with an extension or a label.

    >>> normalize_stored("phone", "Tel. 49 (0)30 901820 ext. 8")
    '+4930901820'
    """
    spellings = [stored]
    if _checked_type(type) == "phone":
        number = STORED_NUMBER.search(folded_digits(stored))
        spellings = [] if number is None else [number[0], f"+{re.sub('[^0-9]', '', number[0])}"]
    for spelling in spellings:
        try:
            return normalize_identifier(type, spelling, default_region=default_region)
        except InvalidValue as error:
            if error.field == "default_region":
                raise
    return None


def search_key(type: str, value: str) -> str | None:  # noqa: A002
    """What the index of profiles has for every spelling of a canonical value; several values may share one.

    For an email its ASCII letters and digits, which an A-label has before its last hyphen (RFC 3492). For a
    number the last six digits: Argentina dials 15 before local numbers of six. None: no profile has it.

    >>> search_key("email", "ana+news@xn--mnchen-3ya.example"), search_key("phone", "+4930901820")
    ('ananews@mnchen.example', '901820')
    """
    if _checked_type(type) == "email":
        folded = unicodedata.normalize("NFKC", value).replace("\u3002", ".").lower()
        return re.sub("[^a-z0-9.@-]", "", A_LABEL.sub(r"\1", folded))
    return value[-6:].lstrip("+") if type == "phone" else None


def is_blocked(type: str, canonical_value: str) -> bool:  # noqa: A002
    """Whether the value identifies nobody: robots, placeholders, dummy numbers.

    >>> is_blocked("email", "no-reply@example.com"), is_blocked("email", "support@example.com")
    (True, False)
    """
    if _checked_type(type) == "email":
        local, _, domain = canonical_value.rpartition("@")
        return domain == PLACEHOLDER_DOMAIN or _ROBOT.fullmatch(local) is not None
    if not canonical_value.strip("+0"):
        return True
    if not canonical_value.startswith("+"):
        return False
    from phonenumbers import national_significant_number  # noqa: PLC0415

    national = national_significant_number(parsed_number(type, canonical_value))
    return len(set(national)) == 1 or any(
        count.startswith((national, canonical_value[1:])) for count in _COUNTING
    )


def _checked_type(type_: str) -> str:
    if type_ not in ("email", "phone", "whatsapp"):
        raise InvalidValue("type", "is not email, phone or whatsapp")
    return type_
