"""Spellings of one address become one string, and what is no address is refused without being quoted."""

from __future__ import annotations

import doctest

import pytest

from app.errors import InvalidValue
from app.models.customer import IdentifierType
from app.normalization import (
    emails,
    identifiers,
    identity_key,
    is_blocked,
    normalize_email,
    normalize_identifier,
    normalize_name,
    normalize_phone,
    normalize_whatsapp,
    numbers,
    texts,
    without_names,
)

LRM, ZWSP, BIDI_OVERRIDE = "\u200e", "\u200b", "\u202e"


def wide(text):
    """Full-width forms, as East Asian keyboards type them."""
    return "".join(chr(ord(c) + 0xFEE0) for c in text)


def cases(table):
    return [pytest.param(*row, id=name) for name, *row in table]


EMAILS = cases(
    [
        ("plain", "ann@example.com", "ann@example.com"),
        ("trimmed", " \tann@example.com\r\n", "ann@example.com"),
        ("upper-case", "Ann.Lee@Example.COM", "ann.lee@example.com"),
        ("plus-tag-and-dots-stay", "ann.lee+shop@gmail.com", "ann.lee+shop@gmail.com"),
        ("apostrophe", "o'neil@example.com", "o'neil@example.com"),
        ("full-width", wide("ann@example.com"), "ann@example.com"),
        ("idna-domain", "ann@münchen.de", "ann@xn--mnchen-3ya.de"),
        ("idna-domain-upper-case", "ann@MÜNCHEN.DE", "ann@xn--mnchen-3ya.de"),
        ("idna-domain-already-ascii", "ann@XN--MNCHEN-3YA.de", "ann@xn--mnchen-3ya.de"),
        ("sharp-s-domain", "ann@straße.de", "ann@xn--strae-oqa.de"),
        ("sharp-s-local-part", "Straße@example.com", "straße@example.com"),
        ("dotted-capital-i", "İ@example.com", "i\u0307@example.com"),
        ("marks-reordered-by-lower-case", "\u0130\u0327@example.com", "i\u0327\u0307@example.com"),
        ("kelvin-sign", "\u212aim@example.com", "kim@example.com"),
        ("nfd", "zoe\u0308@example.com", "zo\u00eb@example.com"),
        ("nfc", "ZO\u00cb@example.com", "zo\u00eb@example.com"),
        ("chinese", "用户@例子.广告", "用户@xn--fsqu00a.xn--4rr70v"),
        ("needlessly-quoted", '"ann"@example.com', "ann@example.com"),
        ("dots-at-the-end", "Ann..@docomo.ne.jp", "ann..@docomo.ne.jp"),
        ("dots-in-the-middle", "ann...lee@docomo.ne.jp", "ann...lee@docomo.ne.jp"),
        ("dot-at-the-beginning", ".ann@ezweb.ne.jp", ".ann@ezweb.ne.jp"),
        ("dots-and-accents", "zoe\u0308..@b\u00fccher.example", "zo\u00eb..@xn--bcher-kva.example"),
        ("dots-before-a-reserved-name", "ann.@shop.test", "ann.@shop.test"),
        ("quoted-for-its-dots", '"ann.."@docomo.ne.jp', "ann..@docomo.ne.jp"),
        ("quoted-for-more-than-its-dots", '"ann..@"@docomo.ne.jp', '"ann..@"@docomo.ne.jp'),
        ("quoted-at-sign", '"A@b"@example.com', '"a@b"@example.com'),
        ("digits-only-domain-label", "12345@163.com", "12345@163.com"),
        ("long-local-part", "a" * 100 + "@example.com", "a" * 100 + "@example.com"),
        ("placeholder", "0b5f@placeholder.invalid", "0b5f@placeholder.invalid"),
        ("test-domain", "Ann@shop.test", "ann@shop.test"),
        ("local-domain", "ann@printer.local", "ann@printer.local"),
        ("localhost-domain", "ann@app.localhost", "ann@app.localhost"),
    ]
)

NOT_EMAILS = cases(
    [
        ("empty", ""),
        ("blank", " \n"),
        ("no-at", "ann.example.com"),
        ("no-local-part", "@example.com"),
        ("no-domain", "ann@"),
        ("two-at-signs", "ann@b@example.com"),
        ("no-dot-in-domain", "ann@localhost"),
        ("reserved-name-alone", "ann@invalid"),
        ("nothing-before-reserved-name", "ann@.invalid"),
        ("nothing-but-dots", "..@example.com"),
        ("dots-and-a-space", "ann.. lee@example.com"),
        ("dots-and-a-comma", "ann..,lee@example.com"),
        ("dots-in-the-domain", "ann@example..com"),
        ("ip-address", "ann@192.0.2.1"),
        ("ip-literal", "ann@[192.0.2.1]"),
        ("underscore-in-domain", "ann@ex_ample.com"),
        ("hyphen-before-dot", "ann@example-.com"),
        ("space", "ann lee@example.com"),
        ("quoted-space", '"ann lee"@example.com'),
        ("no-break-space", "ann\u00a0lee@example.com"),
        ("line-break", "ann@example.com\nbcc:x@example.com"),
        ("nul", "ann\0@example.com"),
        ("escape", "ann\x1b@example.com"),
        ("lone-surrogate", "ann\ud800@example.com"),
        ("right-to-left-override", f"ann{BIDI_OVERRIDE}@example.com"),
        ("leading-mark", f"{LRM}ann@example.com"),
        ("zero-width-space", f"ann@exam{ZWSP}ple.com"),
        ("soft-hyphen", "ann@exam\u00adple.com"),
        ("variation-selector", "ann\ufe0f@example.com"),
        ("hangul-filler", "\u3164@example.com"),
        ("private-use", "ann\ue000@example.com"),
        ("display-name", "Ann <ann@example.com>"),
        ("display-name-without-space", "Ann<ann@example.com>"),
        ("angle-brackets", "<ann@example.com>"),
        ("two-addresses", "ann@example.com,bob@example.com"),
        ("mailto", "mailto:ann@example.com"),
        ("too-long", "a" * 250 + "@example.com"),
        ("too-long-under-reserved-name", "a@" + "b." * 125 + "test"),
        ("one-too-long-once-in-ascii", "a" * 238 + "@ü.localhost"),
        ("too-long-once-in-ascii", "a@" + ".".join(["ü" * 50] * 4) + ".de"),
        ("huge", "a" * 1_000_000 + "@example.com"),
        ("huge-in-accents", "a" + "\u0323\u0301" * 500_000 + "@example.com"),
    ]
)


@pytest.mark.parametrize(("value", "canonical"), EMAILS)
def test_email_has_one_canonical_form(value, canonical):
    assert normalize_email(value) == canonical
    assert normalize_email(canonical) == canonical


@pytest.mark.parametrize("value", NOT_EMAILS)
def test_what_is_no_email_is_refused(value):
    with pytest.raises(InvalidValue) as refused:
        normalize_email(value)
    assert refused.value.field == "email"


NAMES = cases(
    [
        ("none", None, None),
        ("empty", "", None),
        ("blank", " \t\u2003", None),
        ("plain", "Ann Lee", "Ann Lee"),
        ("collapsed", "  Ann \u00a0\r\n Lee ", "Ann Lee"),
        ("tab-is-a-space", "Ann\tLee", "Ann Lee"),
        ("line-separator-is-a-space", "Ann\u2028Lee", "Ann Lee"),
        ("nul-and-escape", "A\0nn \x1b[31mLee", "Ann [31mLee"),
        ("lone-surrogate", "Ann\ud83d", "Ann"),
        ("bidi-controls", f"{BIDI_OVERRIDE}Ann{LRM}", "Ann"),
        ("spaces-around-a-removed-character", f"Ann {ZWSP} Lee", "Ann Lee"),
        ("invisible-only", f"{LRM}{ZWSP}", None),
        ("hangul-filler-only", "\u3164", None),
        ("joiners-only", "\u200d \u200c", None),
        ("nfc", "Zoe\u0308", "Zo\u00eb"),
        ("not-nfkc", f"{wide('Ann')} ½ ™", f"{wide('Ann')} ½ ™"),
        ("case-stays", "İpek McNeil", "İpek McNeil"),
        ("emoji-family", "Ann 👨‍👩‍👧 ❤️", "Ann 👨‍👩‍👧 ❤️"),
        ("persian-non-joiner", "علی‌رضا", "علی‌رضا"),
        ("sinhala-joiner", "ශ්‍රී", "ශ්‍රී"),
        ("newer-than-this-unicode", "Ann \U0001fadf", "Ann \U0001fadf"),
        ("cut", "x" * 300, "x" * 255),
        ("cut-before-a-space", "x" * 254 + " y", "x" * 254),
        ("padded", " " * 5_000 + "Ann", "Ann"),
        ("huge", "x" * 1_000_000, "x" * 255),
        ("looks-like-markup", "<b>Ann</b>", "<b>Ann</b>"),
    ]
)


@pytest.mark.parametrize(("value", "canonical"), NAMES)
def test_name_is_one_clean_line(value, canonical):
    assert normalize_name(value) == canonical
    assert normalize_name(canonical) == canonical


NORMALIZERS = {"email": normalize_email, "phone": normalize_phone, "whatsapp": normalize_whatsapp}


@pytest.mark.parametrize(
    "value", [b"ann@example.com", b"+15551234567", 15551234567, 1.5, None, ["a"], object()]
)
@pytest.mark.parametrize("field", NORMALIZERS)
def test_what_is_not_text_is_never_turned_into_text(field, value):
    with pytest.raises(InvalidValue, match=f"^{field}: is not text$"):
        NORMALIZERS[field](value)


@pytest.mark.parametrize("value", [b"Ann", 7, ["Ann"]])
def test_name_that_is_not_text_is_refused(value):
    with pytest.raises(InvalidValue, match=r"^name: is not text$"):
        normalize_name(value)


@pytest.mark.parametrize(
    ("normalize", "value"),
    [
        (normalize_email, "secret,person@example.com"),
        (normalize_email, "secret person@example.com"),
        (normalize_email, "secretperson"),
        (normalize_phone, "+1 555 secret"),
        (normalize_phone, "+99912secret345678"),
        (normalize_whatsapp, "+999123456secret"),
    ],
)
def test_refusal_does_not_carry_the_value(normalize, value):
    with pytest.raises(InvalidValue) as refused:
        normalize(value)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("type_", IdentifierType)
def test_identifier_is_normalized_by_its_type(type_):
    value = {"email": " Ann@Example.com", "phone": "0300 1234567", "whatsapp": "whatsapp:0300 1234567"}[type_]
    expected = "ann@example.com" if type_ == "email" else "+923001234567"
    assert normalize_identifier(type_, value, default_region="PK") == expected
    assert normalize_identifier(str(type_), expected) == expected


@pytest.mark.parametrize("type_", ["", "EMAIL", "fax", None, ["email"]])
@pytest.mark.parametrize("function", [normalize_identifier, identity_key, is_blocked])
def test_unknown_type_is_refused(function, type_):
    with pytest.raises(InvalidValue) as refused:
        function(type_, "ann@example.com")
    assert refused.value.field == "type"


def test_phone_and_whatsapp_with_one_number_share_their_key():
    spellings = [
        ("whatsapp", "whatsapp:+553188888888"),
        ("whatsapp", "5531988888888"),
        ("phone", "+55 31 8888-8888"),
        ("phone", "0055 31 9 8888 8888"),
    ]
    assert {identity_key(t, normalize_identifier(t, v)) for t, v in spellings} == {"tel:+5531988888888"}


def test_keys_of_different_kinds_never_meet():
    assert identity_key("email", "ann@example.com") == "email:ann@example.com"
    assert identity_key(IdentifierType.WHATSAPP, "US.1349") == "wa:US.1349"
    assert identity_key("whatsapp", "999123") == "wa:999123"
    assert identity_key("whatsapp", "ann@example.com") != identity_key("email", "ann@example.com")


BLOCKED = [
    ("email", "noreply@example.com"),
    ("email", "no-reply@example.com"),
    ("email", "no_reply+ticket-7@example.com"),
    ("email", "donotreply@example.com"),
    ("email", "do-not-reply@example.com"),
    ("email", "calendar-noreply@example.com"),
    ("email", "noreply-accounts@example.com"),
    ("email", "nicht-antworten@example.com"),
    ("email", "ne_pas_repondre@example.com"),
    ("email", "shop.no-responder@example.com"),
    ("email", "mailer-daemon@example.com"),
    ("email", "postmaster@example.com"),
    ("email", "bounce@example.com"),
    ("email", "bounces+7-ann=example.com@example.com"),
    ("email", "bounce-1234_html@example.com"),
    ("email", "notifications@github.com"),
    ("email", "0b5f@placeholder.invalid"),
    ("phone", "+0000000000"),
    ("phone", "+10000000000"),
    ("phone", "+15555555555"),
    ("phone", "+4911111111"),
    ("phone", "+11234567890"),
    ("phone", "+12345678901"),
    ("phone", "+491234567890"),
    ("whatsapp", "+10000000000"),
    ("whatsapp", "+0"),
]

NOT_BLOCKED = [
    ("email", "ann@example.com"),
    ("email", "support@example.com"),
    ("email", "info@example.com"),
    ("email", "noreplyann@example.com"),
    ("email", "ann+noreply@example.com"),
    ("email", "ann+my-noreply@example.com"),
    ("email", "antworten@example.com"),
    ("email", "bounce-house@example.com"),
    ("email", "ann@noreply.example.com"),
    ("email", "ann@placeholder.invalid.example.com"),
    ("phone", "+15551234567"),
    ("phone", "+923001234567"),
    ("phone", "+5531988888888"),
    ("whatsapp", "+442079460958"),
    ("whatsapp", "US.11111111111111111111"),
    ("whatsapp", "999123456789012"),
]


@pytest.mark.parametrize(("type_", "value"), BLOCKED)
def test_value_that_identifies_nobody_is_blocked(type_, value):
    assert normalize_identifier(type_, value) == value
    assert is_blocked(type_, value)


@pytest.mark.parametrize(("type_", "value"), NOT_BLOCKED)
def test_value_of_a_person_is_not_blocked(type_, value):
    assert normalize_identifier(type_, value) == value
    assert not is_blocked(type_, value)


def test_system_id_is_blocked_as_delivered_too():
    assert is_blocked("whatsapp", "0")


@pytest.mark.parametrize(("person", "company"), [(" ", None), (None, "\t"), ("", "")])
def test_a_blank_name_stands_in_no_text(person, company):
    assert without_names("Refunded the two", person, company) == "Refunded the two"


def test_examples_in_the_docstrings_are_true():
    results = [doctest.testmod(module) for module in (emails, identifiers, numbers, texts)]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) >= 7
