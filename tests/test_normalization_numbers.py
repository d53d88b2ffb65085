"""Phone numbers and WhatsApp ids: one number, however it is dialled, written or delivered, is one string."""

from __future__ import annotations

import phonenumbers
import pytest

from app.errors import InvalidValue
from app.normalization import normalize_phone, normalize_whatsapp

ZWSP, BIDI_OVERRIDE = "\u200b", "\u202e"


def wide(text):
    """Full-width forms, as East Asian keyboards type them."""
    return "".join(chr(ord(c) + 0xFEE0) for c in text)


def cases(table):
    return [pytest.param(*row, id=name) for name, *row in table]


PHONES = cases(
    [
        ("e164", "+15551234567", None, "+15551234567"),
        ("spaces-dots-and-dashes", " +1 (555) 123.45-67 ", None, "+15551234567"),
        ("bracketed-trunk-zero", "+44 (0)20 7946 0958", None, "+442079460958"),
        ("bracketed-country-code", "(+49) 30/123456", None, "+4930123456"),
        ("italian-zero-stays", "+39 (0)6 1234567", None, "+39061234567"),
        ("doubled-trunk-zero", "+49 00 30 123456", None, "+4930123456"),
        ("00-prefix", "0049 30 123456", None, "+4930123456"),
        ("00-prefix-with-a-region", "0049 30 123456", "PK", "+4930123456"),
        ("00-prefix-where-011-is-dialled", "0049 30 123456", "US", "+4930123456"),
        ("00-prefix-where-0011-is-dialled", "0049 30 123456", "AU", "+4930123456"),
        ("00-prefix-where-carriers-have-00x", "0049 30 12345678", "SG", "+493012345678"),
        ("own-prefix-011", "011 49 30 123456", "US", "+4930123456"),
        ("own-prefix-0011", "0011 354 612 3456", "AU", "+3546123456"),
        ("own-prefix-with-carrier", "0015 49 30 123456", "BR", "+4930123456"),
        ("national", "0300 1234567", "PK", "+923001234567"),
        ("national-without-trunk-zero", "555 123 4567", "US", "+15551234567"),
        ("region-does-not-change-a-plus", "+49 30 123456", "PK", "+4930123456"),
        ("full-width", wide("+1(555)123-4567"), None, "+15551234567"),
        ("arabic-indic-digits", "+٩٢ ٣٠٠ ١٢٣٤٥٦٧", None, "+923001234567"),
        ("devanagari-digits", "+९१ ९८७६५ ४३२१०", None, "+919876543210"),
        ("no-break-space-and-en-dash", "+1\u00a0555\u2013123\u20134567", None, "+15551234567"),
        ("copied-from-a-contact", "\u202a+1 555 123 4567\u202c", None, "+15551234567"),
        ("possible-though-not-valid", "+1 555 000 1234", None, "+15550001234"),
        ("zeros", "000 000-0000", None, "+0000000000"),
        ("zeros-with-a-region", "0000000000", "PK", "+0000000000"),
        ("brazil-mobile-without-9", "+55 31 8888 8888", None, "+5531988888888"),
        ("brazil-mobile-with-9", "+55 31 98888-8888", None, "+5531988888888"),
        ("brazil-mobile-national", "(31) 98888-8888", "BR", "+5531988888888"),
        ("brazil-mobile-national-without-9", "031 8888-8888", "BR", "+5531988888888"),
        ("brazil-mobile-with-carrier", "0 15 31 98888-8888", "BR", "+5531988888888"),
        ("brazil-mobile-beginning-with-9", "+55 11 9123 4567", None, "+5511991234567"),
        ("brazil-landline-is-not-touched", "+55 11 3333 4444", None, "+551133334444"),
        ("brazil-radio-is-not-touched", "+55 11 7777 1234", None, "+551177771234"),
        ("brazil-toll-free-is-not-touched", "+55 800 891 2345", None, "+558008912345"),
        ("mexico-with-1", "+52 1 55 1234 5678", None, "+525512345678"),
        ("mexico-without-1", "+52 55 1234 5678", None, "+525512345678"),
        ("mexico-01", "01 55 1234 5678", "MX", "+525512345678"),
        ("mexico-044", "044 55 1234 5678", "MX", "+525512345678"),
        ("mexico-045", "045 55 1234 5678", "MX", "+525512345678"),
        ("argentina-with-9", "+54 9 11 2345 6789", None, "+541123456789"),
        ("argentina-without-9", "+54 11 2345 6789", None, "+541123456789"),
        ("argentina-15", "011 15 2345-6789", "AR", "+541123456789"),
        ("argentina-15-after-plus", "+54 11 15 2345 6789", None, "+541123456789"),
        ("argentina-long-area-code", "+54 9 2966 12 3456", None, "+542966123456"),
        ("argentina-long-area-code-15", "02966 15 12 3456", "AR", "+542966123456"),
        ("argentina-without-area-code-is-not-touched", "+54 900 1234 5678", None, "+5490012345678"),
        ("ivory-coast-moov-of-8-digits", "+225 01 02 03 04", None, "+2250101020304"),
        ("ivory-coast-mtn-of-8-digits", "+225 45 02 03 04", None, "+2250545020304"),
        ("ivory-coast-orange-of-8-digits", "00225 07 02 03 04", None, "+2250707020304"),
        ("ivory-coast-of-10-digits", "+225 07 01 02 03 04", None, "+2250701020304"),
        ("ivory-coast-national", "07 01 02 03 04", "CI", "+2250701020304"),
        ("benin-of-8-digits", "+229 97 12 34 56", None, "+2290197123456"),
        ("benin-landline-of-8-digits", "21 12 34 56", "BJ", "+2290121123456"),
        ("benin-of-10-digits", "+229 01 97 12 34 56", None, "+2290197123456"),
        ("argentina-subscriber-beginning-with-15", "+54 9 11 1512 3456", None, "+541115123456"),
    ]
)

NOT_PHONES = cases(
    [
        ("empty", "", None),
        ("blank", " \t", None),
        ("plus-alone", "+", None),
        ("punctuation", "+( )-", None),
        ("national-without-region", "0300 1234567", None),
        ("bare-digits-without-region", "15551234567", None),
        ("letters", "+1 800 FLOWERS", None),
        ("extension", "+1 555 123 4567 ext. 89", None),
        ("extension-x", "+1 555 123 4567x89", None),
        ("extension-hash", "+1 555 123 4567 #89", None),
        ("extension-comma", "+1 555 123 4567,,89", None),
        ("two-plus-signs", "++1 555 123 4567", None),
        ("plus-inside", "1 555 +123 4567", "US"),
        ("service-code", "*100#", "PK"),
        ("too-short", "+1 555", None),
        ("ivory-coast-landline-of-8-digits", "+225 20 30 40 50", None),
        ("too-long", "+1 555 123 4567 8901", None),
        ("without-area-code", "555-1234", "US"),
        ("unknown-country", "+999 123 4567", None),
        ("country-code-zero", "+0123456789", None),
        ("zeros-beyond-the-column", "0" * 255, None),
        ("nul", "+1555123\0" + "4567", None),
        ("lone-surrogate", "+1555123\udfff4567", None),
        ("emoji", "📞+15551234567", None),
        ("email", "ann@example.com", None),
        ("many-digits", "+1" + "5" * 200, None),
        ("huge", "+" + "1" * 1_000_000, None),
    ]
)


@pytest.mark.parametrize(("value", "region", "canonical"), PHONES)
def test_phone_has_one_canonical_form(value, region, canonical):
    assert normalize_phone(value, default_region=region) == canonical
    assert normalize_phone(canonical, default_region=region) == canonical


@pytest.mark.parametrize(("value", "region"), NOT_PHONES)
def test_what_is_no_phone_is_refused(value, region):
    with pytest.raises(InvalidValue) as refused:
        normalize_phone(value, default_region=region)
    assert refused.value.field == "phone"


def test_national_number_without_region_says_what_is_missing():
    with pytest.raises(InvalidValue, match=r"\+ and a country code, or a default region"):
        normalize_phone("0300 1234567")


@pytest.mark.parametrize("region", ["", "pk", "XX", "001", 92, ["PK"]])
@pytest.mark.parametrize(
    ("normalize", "value"),
    [
        (normalize_phone, "+15551234567"),
        (normalize_whatsapp, "+15551234567"),
        (normalize_whatsapp, "15551234567"),
    ],
)
def test_unknown_region_is_refused_even_where_it_is_not_needed(normalize, value, region):
    with pytest.raises(InvalidValue) as refused:
        normalize(value, default_region=region)
    assert refused.value.field == "default_region"


def test_every_example_number_of_every_region_keeps_its_meaning():
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        number = phonenumbers.example_number(region)
        expected = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
        assert normalize_phone(expected) == expected
        assert normalize_phone(national, default_region=region) == expected


WHATSAPP_IDS = cases(
    [
        ("twilio", "whatsapp:+15551234567", None, "+15551234567"),
        ("twilio-any-case", "WhatsApp: +15551234567", None, "+15551234567"),
        ("prefix-twice", "whatsapp:whatsapp:+15551234567", None, "+15551234567"),
        ("wa-id", "15551234567", None, "+15551234567"),
        ("wa-id-whatever-the-region", "15551234567", "PK", "+15551234567"),
        ("prefixed-wa-id", "whatsapp:15551234567", None, "+15551234567"),
        ("arabic-indic-wa-id", "٩٢٣٠٠١٢٣٤٥٦٧", None, "+923001234567"),
        ("national", "0300 1234567", "PK", "+923001234567"),
        ("national-digits", "03001234567", "PK", "+923001234567"),
        ("00-prefix", "00923001234567", None, "+923001234567"),
        ("brazil", "553188888888", None, "+5531988888888"),
        ("ivory-coast", "22501020304", None, "+2250101020304"),
        ("ivory-coast-landline", "22520304050", None, "22520304050"),
        ("benin", "22997123456", None, "+2290197123456"),
        ("mexico", "5215512345678", None, "+525512345678"),
        ("argentina", "5491123456789", None, "+541123456789"),
        ("business-scoped", " US.13491208655302741918 ", None, "US.13491208655302741918"),
        ("business-scoped-with-region", "PK.13491208655302741918", "PK", "PK.13491208655302741918"),
        ("business-scoped-prefixed", "whatsapp:US.13491208655302741918", None, "US.13491208655302741918"),
        ("parent-business-scoped", "US.ENT.11815799212886844830", None, "US.ENT.11815799212886844830"),
        ("letters-keep-their-case", "AbC-dEf_0", None, "AbC-dEf_0"),
        ("letters-after-digits", "15551234567@lid", None, "15551234567@lid"),
        ("digits-that-are-no-number", "999123456789012", None, "999123456789012"),
        ("digits-that-are-no-number-with-region", "3001234", "PK", "3001234"),
        ("system", "0", "PK", "+0"),
        ("as-long-as-the-column", "x" * 255, None, "x" * 255),
    ]
)

NOT_WHATSAPP_IDS = cases(
    [
        ("empty", "", None),
        ("prefix-alone", " whatsapp: ", None),
        ("national-without-region", "0300 1234567", None),
        ("national-digits-without-region", "03001234567", None),
        ("impossible-after-plus", "whatsapp:+15", None),
        ("letters-after-plus", "+15551234567x89", None),
        ("inner-space", "US. 13491208655302741918", None),
        ("nul", "US.1349\0", None),
        ("lone-surrogate", "US.1349\ud800", None),
        ("zero-width-space", f"US.1349{ZWSP}1", None),
        ("right-to-left-override", f"US.{BIDI_OVERRIDE}1349", None),
        ("look-alike-letters", wide("US.1349"), None),
        ("too-long", "x" * 256, None),
        ("too-many-digits", "9" * 256, None),
    ]
)


@pytest.mark.parametrize(("value", "region", "canonical"), WHATSAPP_IDS)
def test_whatsapp_id_has_one_canonical_form(value, region, canonical):
    assert normalize_whatsapp(value, default_region=region) == canonical
    assert normalize_whatsapp(canonical, default_region=region) == canonical


@pytest.mark.parametrize(("value", "region"), NOT_WHATSAPP_IDS)
def test_what_is_no_whatsapp_id_is_refused(value, region):
    with pytest.raises(InvalidValue) as refused:
        normalize_whatsapp(value, default_region=region)
    assert refused.value.field == "whatsapp"


@pytest.mark.parametrize("canonical", ["999123456789012", "3001234", "US.1349120865530274"])
def test_opaque_id_stays_opaque_when_a_region_is_configured_later(canonical):
    assert normalize_whatsapp(canonical) == canonical
    assert all(normalize_whatsapp(canonical, default_region=r) == canonical for r in ("PK", "US", "BR"))
