"""Canonical forms of the ways to reach a person: two spellings of one address become one string.

Pure and idempotent: a value is returned in canonical form, or ``InvalidValue`` names the field and the rule.
The canonical form is for comparing and storing. Where a channel delivered another spelling (an Argentine
WhatsApp id with its 9), a reply goes to the spelling that the channel delivered.

Why addresses fold as they do:

* RFC 5321, 2.4 lets a server tell capitals in a mailbox's name apart and advises against it; nobody types
  them reliably. Folded. Dots and plus tags mean other mailboxes at some providers: never folded here.
* Compatibility forms (Unicode Standard Annex 15, NFKC) are one letter to the eye and several to the machine.
  Folded; letters that only look alike in another script are not.
* A domain is its A-label (RFC 5891, with the mapping of UTS 46): what the name servers compare.
* ``.invalid`` (RFC 2606) can belong to nobody, hence the placeholder's domain.

Why numbers fold as they do:

* ITU-T E.164 is the form; a number has to be *possible*, not *valid*: providers deliver real senders whose
  numbers no numbering plan lists, and plans change faster than the metadata of ``phonenumbers``.
* Brazil (+55): ANATEL, Resolução 553/2010, put a 9 before every mobile number, finished in November 2016.
  WhatsApp ids of older accounts still lack it. Folded to the form *with* the 9, only for an area code
  followed by eight digits that begin with 6, 8 or 9. Landlines (2-5) and trunked radio (7) never got one.
* Mexico (+52): the 1 of calls to mobiles, with 01, 044 and 045 inside the country, was abolished by IFT, Plan
  Técnico Fundamental de Numeración, from 3 August 2019. WhatsApp ids keep the 1. Folded to ten digits.
* Argentina (+54): ENACOM's plan gives mobiles and landlines ten digits out of the same areas; 15 inside and 9
  from abroad only say that the line is mobile. Folded to the ten digits, so that no landline is changed.
  WhatsApp on these spellings: https://faq.whatsapp.com/640432094208718
"""

from __future__ import annotations

import re
import unicodedata

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from phonenumbers import CountryCodeSource, NumberParseException, PhoneNumber, ValidationResult

from .errors import InvalidValue

MAX_LENGTH = 255
"""What the columns hold; far below the 2,700 bytes at which a btree entry fails."""

PLACEHOLDER_DOMAIN = "placeholder.invalid"

# Folding shortens (a letter and its accents become one), but text beyond this is not worth folding.
_MAX_RAW = 4 * MAX_LENGTH

# Blank on the screen, though Unicode files them under letters, marks and symbols.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Persian, Indic scripts and emoji are spelled with joiners and tags; no other format character is.
_SPELLED_WITH = re.compile("[\u200c\u200d\U000e0020-\U000e007f]")

# Names that are never delivered to, which email-validator refuses without an option to allow them.
_RESERVED = re.compile(r"\.(?:arpa|invalid|local|localhost|onion|test)\Z")
_STAND_IN = ".example"

_DIALLED = re.compile("[\\s(]*(\\+?)([0-9\\s()./\u2010-\u2015\u2212\u30fc-]+)")
_FOLDS = {
    52: (re.compile(r"\A(?:0?1|04[45])(?=[2-9]\d{9}\Z)"), ""),
    54: (re.compile(r"\A9(?=(?:11|[23]\d)\d{8}\Z)"), ""),
    55: (re.compile(r"\A([14689][1-9]|2[12478]|3[1-578]|5[13-5]|7[13-579])(?=[689]\d{7}\Z)"), r"\g<1>9"),
}

_WHATSAPP_PREFIX = re.compile(r"\A(?:whatsapp:\s*)+", re.IGNORECASE | re.ASCII)
_OPAQUE = re.compile(r"(?=.*[A-Za-z])(?!\+)[!-~]+")

# Shared mailboxes such as support@ and info@ are read by people and stay out of this list.
_ROBOT = re.compile(
    r"(?:(?:no|do[-_.]?not)[-_.]?reply|mailer-daemon|postmaster|notifications?|bounces?(?:-.*\d.*)?)(?:\+.*)?"
)
_COUNTING = ("12345678901234567890", "01234567890123456789")


def normalize_email(value: str) -> str:
    """Trimmed, NFKC, lower case, the domain in its ASCII form.

    Lenient about what exists (plus tags, quoted local parts, reserved domains), strict about what can deceive
    (spaces, control and invisible characters). ``Name <address>`` is for the parser of the message.

    >>> normalize_email(" Zoë+News@MÜNCHEN.de ")
    'zoë+news@xn--mnchen-3ya.de'
    """
    text = _capped("email", unicodedata.normalize("NFKC", _text("email", value)).lower())
    if any(map(str.isspace, text)):
        raise InvalidValue("email", "contains a space")
    if not all(map(_is_visible, text)):
        raise InvalidValue("email", "contains a control or invisible character")
    reserved = _RESERVED.search(text)
    try:
        parts = validate_email(
            text[: reserved.start()] + _STAND_IN if reserved else text,
            check_deliverability=False,
            allow_quoted_local=True,
        )
    except EmailNotValidError:
        # Its message quotes the address.
        raise InvalidValue("email", "is not an email address") from None
    domain = parts.ascii_domain
    if reserved:
        domain = domain.removesuffix(_STAND_IN) + reserved[0]
    return _capped("email", f"{parts.local_part}@{domain}")


def normalize_phone(value: str, *, default_region: str | None = None) -> str:
    """E.164, with the foldings described above.

    Letters and extensions are refused: one number with many extensions is a switchboard, and dropping the
    extension would make everybody behind it one person.

    >>> normalize_phone("+55 31 8888 8888")
    '+5531988888888'
    >>> normalize_phone("0300 1234567", default_region="PK")
    '+923001234567'
    """
    return _e164("phone", value, default_region)


def normalize_whatsapp(value: str, *, default_region: str | None = None) -> str:
    """E.164 like ``normalize_phone``; an id that is no number is kept as it is.

    Digits alone are an id as providers deliver it, with the country code, whatever ``default_region`` says.

    >>> normalize_whatsapp("whatsapp:+15551234567") == normalize_whatsapp("15551234567")
    True
    >>> normalize_whatsapp("US.13491208655302741918")
    'US.13491208655302741918'
    """
    text = _text("whatsapp", _WHATSAPP_PREFIX.sub("", _text("whatsapp", value)))
    if _OPAQUE.fullmatch(text):
        return _capped("whatsapp", text)
    digits = _folded_digits(text)
    if digits.isascii() and digits.isdigit() and not digits.startswith("0"):
        _checked_region(default_region)
        try:
            return _e164("whatsapp", f"+{digits}", None)
        except InvalidValue:
            return _capped("whatsapp", digits)
    return _e164("whatsapp", text, default_region)


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
    return name if any(_is_visible(c) and c != " " for c in name) else None


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
    national = phonenumbers.national_significant_number(_parsed(type, canonical_value))
    return len(set(national)) == 1 or any(
        count.startswith((national, canonical_value[1:])) for count in _COUNTING
    )


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValue(field, "is not text")
    text = value.strip()
    if not text:
        raise InvalidValue(field, "is empty")
    return _capped(field, text, _MAX_RAW)


def _capped(field: str, text: str, limit: int = MAX_LENGTH) -> str:
    if len(text) > limit:
        raise InvalidValue(field, f"is longer than {MAX_LENGTH} characters")
    return text


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] != "C" and not _BLANK.match(character)


def _belongs_in_a_name(character: str) -> bool:
    # Unassigned and private characters stay: this Python may be older than the emoji.
    return (
        unicodedata.category(character) not in {"Cc", "Cf", "Cs"}
        or character.isspace()
        or _SPELLED_WITH.match(character) is not None
    )


def _folded_digits(text: str) -> str:
    """Digits of every script as 0-9, without the format characters that come along from contact lists."""
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else c
        for c in unicodedata.normalize("NFKC", text)
        if unicodedata.category(c) != "Cf"
    )


def _e164(field: str, value: object, region: str | None) -> str:
    dialled = _DIALLED.fullmatch(_folded_digits(_text(field, value)))
    region = _checked_region(region)
    if dialled is None:
        raise InvalidValue(field, "may hold digits, spaces and + - ( ) . / only: no letters, no extension")
    digits = re.sub(r"[^0-9]", "", dialled[2])
    if set(digits) == {"0"}:
        # Typed to fill a field. For is_blocked to ignore; an error would refuse the rest of the form too.
        return _capped(field, f"+{digits}")
    number = dialled[1] + digits
    if number.startswith("00") and not _is_dialled_abroad(field, number, region):
        number = f"+{number[2:]}"
    if region is None and not number.startswith("+"):
        raise InvalidValue(field, "needs a + and a country code, or a default region")
    number = _folded(_parsed(field, number, region))
    # phonenumbers takes one trunk digit off at a time, so that +49 00 30 needs a second reading.
    for _ in number:
        parsed = _parsed(field, number)
        again = _folded(parsed)
        if again == number:
            if phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
                break
            return number
        number = again
    raise InvalidValue(field, "is not a possible phone number")


def _is_dialled_abroad(field: str, number: str, region: str | None) -> bool:
    """Whether ``region``'s own dialling rules read the number, as Australia's do with 0011."""
    if region is None:
        return False
    try:
        parsed = _parsed(field, number, region)
    except InvalidValue:
        return False
    with_prefix = parsed.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_IDD
    return with_prefix and phonenumbers.is_valid_number(parsed)


def _parsed(field: str, number: str, region: str | None = None) -> PhoneNumber:
    try:
        return phonenumbers.parse(number, region, keep_raw_input=True)
    except NumberParseException:
        raise InvalidValue(field, "is not a possible phone number") from None


def _folded(number: PhoneNumber) -> str:
    national = phonenumbers.national_significant_number(number)
    if fold := _FOLDS.get(number.country_code or 0):
        national = fold[0].sub(fold[1], national)
    return f"+{number.country_code}{national}"


def _checked_region(region: str | None) -> str | None:
    if region is not None and not (isinstance(region, str) and region in phonenumbers.SUPPORTED_REGIONS):
        raise InvalidValue("default_region", "is not a region such as PK")
    return region


def _checked_type(type_: str) -> str:
    if type_ not in ("email", "phone", "whatsapp"):
        raise InvalidValue("type", "is not email, phone or whatsapp")
    return type_
