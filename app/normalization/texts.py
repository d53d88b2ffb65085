"""What text of any kind is before anything else: checked, capped, and a name."""

from __future__ import annotations

import re
import unicodedata

from ..errors import InvalidValue

MAX_LENGTH = 255
"""What the columns hold; far below the 2,700 bytes at which a btree entry fails."""

# Folding shortens (a letter and its accents become one), but text beyond this is not worth folding.
_MAX_RAW = 4 * MAX_LENGTH

# Blank on the screen, though Unicode files them under letters, marks and symbols.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)

# Persian, Indic scripts and emoji are spelled with joiners and tags; no other format character is.
_SPELLED_WITH = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")

_INITIALS = 2
_ADDRESS = re.compile(
    r"<?[^\s<>(),;:\"']+@[^\s<>(),;:\"']+>?"
    r"|(?:whatsapp:)?\+[0-9][0-9 ()./-]{5,20}[0-9]"
    r"|(?<![0-9])[0-9]{10,15}(?![0-9])"
)


def without_addresses(text: str) -> str:
    """The text without the addresses and numbers of people that it names.

    >>> without_addresses("550 <ann@x.example> is unknown")
    '550 (address) is unknown'
    """
    return _ADDRESS.sub("(address)", text)


def without_names(text: str, person: str | None, company: str | None = None) -> str:
    """The text without a person's name, whole or any longer word of it as it is spelt, and the company's.

    >>> without_names("Refunded Ann Lee (ACME Ltd), as Mrs Lee asked", "Ann Lee", "ACME Ltd")
    'Refunded (name) ((name)), as Mrs (name) asked'
    """
    words = [word for word in (person or "").split() if len(word) > _INITIALS and word[0].isupper()]
    names = [(name or "").strip() for name in (person, company, *words)]
    for name in filter(None, names):
        text = _named(name).sub("(name)", text)
    return text


def _named(name: str) -> re.Pattern[str]:
    """The name between other words; in a script without capitals nothing parts it from them.

    One word counts only as it is spelt: people are called Will and May.
    """
    is_parted = name.lower() != name.upper()
    flags = re.IGNORECASE if " " in name else 0
    return re.compile(rf"(?<!\w){re.escape(name)}(?!\w)" if is_parted else re.escape(name), flags)


def normalize_name(value: str | None) -> str | None:
    """A display name on one line, without control characters; None if nothing of it can be seen.

    NFC, as NFKC would rewrite what people chose to be called. Unlike an address, a name is cleaned, and cut
    at the column's length, rather than refused: a message must not be lost over how its writer is called.

    >>> normalize_name("  Ann \\t O'Neil ")
    "Ann O'Neil"
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidValue("name", "is not text")
    words = "".join(filter(_belongs_in_a_name, value.strip()[:_MAX_RAW])).split()
    name = unicodedata.normalize("NFC", " ".join(words))[:MAX_LENGTH].rstrip()
    return name if any(is_visible(c) and c != " " for c in name) else None


def checked_text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue(field, "is not text")
    text = value.strip()
    if not text:
        raise InvalidValue(field, "is empty")
    return capped(field, text, _MAX_RAW)


def capped(field: str, text: str, limit: int = MAX_LENGTH) -> str:
    if len(text) > limit:
        raise InvalidValue(field, f"is longer than {MAX_LENGTH} characters")
    return text


def is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] != "C" and not _BLANK.match(character)


def _belongs_in_a_name(character: str) -> bool:
    # Unassigned and private characters stay: this Python may be older than the emoji.
    return (
        unicodedata.category(character) not in {"Cc", "Cf", "Cs"}
        or character.isspace()
        or _SPELLED_WITH.match(character) is not None
    )


def folded_digits(text: str) -> str:
    """Digits of every script as 0-9, without the format characters that come along from contact lists."""
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else c
        for c in unicodedata.normalize("NFKC", text)
        if unicodedata.category(c) != "Cf"
    )
