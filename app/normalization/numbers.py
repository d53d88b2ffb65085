"""Phone numbers and WhatsApp ids; the module above says by which rules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..errors import InvalidValue
from .texts import capped, checked_text, folded_digits

if TYPE_CHECKING:
    from phonenumbers import PhoneNumber

_DIALLED = re.compile("[\\s(]*(\\+?)([0-9\\s()./\u2010-\u2015\u2212\u30fc-]+)")

STORED_NUMBER = re.compile("\\+?[\\s(]*[0-9][0-9\\s()./\u2010-\u2015\u2212\u30fc-]*")

_FOLDS = {
    52: [(re.compile(r"\A(?:0?1|04[45])(?=[2-9]\d{9}\Z)"), "")],
    54: [(re.compile(r"\A9(?=(?:11|[23]\d)\d{8}\Z)"), "")],
    55: [(re.compile(r"\A([14689][1-9]|2[12478]|3[1-578]|5[13-5]|7[13-579])(?=[689]\d{7}\Z)"), r"\g<1>9")],
    225: [
        (re.compile(rf"\A(?=[04-9][{digits}]\d{{6}}\Z)"), operator)
        for digits, operator in (("0-3", "01"), ("4-6", "05"), ("7-9", "07"))
    ],
    229: [(re.compile(r"\A(?=\d{8}\Z)"), "01")],
}

_WHATSAPP_PREFIX = re.compile(r"\A(?:whatsapp:\s*)+", re.IGNORECASE | re.ASCII)

_OPAQUE = re.compile(r"(?=.*[A-Za-z])(?!\+)[!-~]+")


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
    text = checked_text("whatsapp", _WHATSAPP_PREFIX.sub("", checked_text("whatsapp", value)))
    if _OPAQUE.fullmatch(text):
        return capped("whatsapp", text)
    digits = folded_digits(text)
    if digits.isascii() and digits.isdigit() and not digits.startswith("0"):
        _checked_region(default_region)
        try:
            return _e164("whatsapp", f"+{digits}", None)
        except InvalidValue:
            return capped("whatsapp", digits)
    return _e164("whatsapp", text, default_region)


def _e164(field: str, value: object, region: str | None) -> str:
    from phonenumbers import ValidationResult, is_possible_number_with_reason  # noqa: PLC0415

    dialled = _DIALLED.fullmatch(folded_digits(checked_text(field, value)))
    region = _checked_region(region)
    if dialled is None:
        raise InvalidValue(field, "may hold digits, spaces and + - ( ) . / only: no letters, no extension")
    digits = re.sub(r"[^0-9]", "", dialled[2])
    if set(digits) == {"0"}:
        # Typed to fill a field. For is_blocked to ignore; an error would refuse the rest of the form too.
        return capped(field, f"+{digits}")
    number = dialled[1] + digits
    if number.startswith("00") and not _is_dialled_abroad(field, number, region):
        number = f"+{number[2:]}"
    if region is None and not number.startswith("+"):
        raise InvalidValue(field, "needs a + and a country code, or a default region")
    number = _folded(parsed_number(field, number, region))
    # phonenumbers takes one trunk digit off at a time, so that +49 00 30 needs a second reading.
    for _ in number:
        parsed = parsed_number(field, number)
        again = _folded(parsed)
        if again == number:
            if is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
                break
            return number
        number = again
    raise InvalidValue(field, "is not a possible phone number")


def _is_dialled_abroad(field: str, number: str, region: str | None) -> bool:
    """Whether ``region``'s own dialling rules read the number, as Australia's do with 0011."""
    from phonenumbers import CountryCodeSource, is_valid_number  # noqa: PLC0415

    if region is None:
        return False
    try:
        parsed = parsed_number(field, number, region)
    except InvalidValue:
        return False
    with_prefix = parsed.country_code_source == CountryCodeSource.FROM_NUMBER_WITH_IDD
    return with_prefix and is_valid_number(parsed)


def parsed_number(field: str, number: str, region: str | None = None) -> PhoneNumber:
    from phonenumbers import NumberParseException, parse  # noqa: PLC0415

    try:
        return parse(number, region, keep_raw_input=True)
    except NumberParseException:
        raise InvalidValue(field, "is not a possible phone number") from None


def _folded(number: PhoneNumber) -> str:
    from phonenumbers import national_significant_number  # noqa: PLC0415

    national = national_significant_number(number)
    for former, replacement in _FOLDS.get(number.country_code or 0, ()):
        national = former.sub(replacement, national)
    return f"+{number.country_code}{national}"


def _checked_region(region: str | None) -> str | None:
    if region is None:
        return None
    from phonenumbers import SUPPORTED_REGIONS  # noqa: PLC0415

    if not (isinstance(region, str) and region in SUPPORTED_REGIONS):
        raise InvalidValue("default_region", "is not a region such as PK")
    return region
