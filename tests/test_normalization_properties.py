"""Whatever text comes in: a canonical form that is its own canonical form, or a typed refusal."""

from __future__ import annotations

import phonenumbers
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import InvalidValue
from app.normalization import (
    MAX_LENGTH,
    identity_key,
    is_blocked,
    normalize_email,
    normalize_name,
    normalize_phone,
    normalize_whatsapp,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))
EMAIL_LIKE = st.builds(
    "{}@{}{}".format,
    st.text(st.characters(exclude_categories=()), min_size=1, max_size=12),
    st.text(st.characters(categories=["L", "N", "M"]), min_size=1, max_size=12),
    st.sampled_from([".com", ".TEST", ".invalid", ".müller.de", "。jp"]),
)
COUNTRY_CODES = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)
PHONE_LIKE = st.builds(
    "{}{}{}".format,
    st.sampled_from(["+", "00", "0", "", "whatsapp:+", "whatsapp:", "(+"]),
    st.sampled_from([*COUNTRY_CODES, *[52, 54, 55] * 20]),
    st.text("0123456789", min_size=3, max_size=13) | st.text("0123456789 ()-./٣９", max_size=16),
)
REGIONS = st.sampled_from([None, "PK", "US", "BR", "AR", "MX", "AU", "DE", "IT", "RU"])


def canonical_or_refused(normalize, value, **options):
    """The canonical form, checked to be its own; None where the value is refused."""
    try:
        canonical = normalize(value, **options)
    except InvalidValue as refused:
        if refused.field != normalize.__name__.removeprefix("normalize_"):
            raise
        return None
    assert normalize(canonical, **options) == canonical
    assert 0 < len(canonical) <= MAX_LENGTH
    assert canonical == canonical.strip()
    canonical.encode()
    assert "\0" not in canonical
    return canonical


@given(ANY_TEXT | EMAIL_LIKE)
@example("Straße@Straße.de")
@example("İ\u0327@İ.com")
@example("ΑΣ@ΑΣ.gr")
@example('"e\\\u0301"@example.com')
def test_any_text_is_a_canonical_email_or_refused(value):
    canonical = canonical_or_refused(normalize_email, value)
    if canonical:
        assert canonical == canonical.lower()
        assert canonical.rpartition("@")[2].isascii()


@given(ANY_TEXT | PHONE_LIKE, REGIONS)
def test_any_text_is_a_canonical_phone_or_refused(value, region):
    canonical = canonical_or_refused(normalize_phone, value, default_region=region)
    if canonical:
        assert canonical[0] == "+"
        assert canonical[1:].isascii()
        assert canonical[1:].isdigit()
        assert normalize_phone(canonical) == canonical
        assert normalize_whatsapp(canonical[1:]) == canonical


@given(ANY_TEXT | PHONE_LIKE | st.from_regex(r"[A-Z]{2}\.[0-9]{1,20}", fullmatch=True), REGIONS, REGIONS)
def test_any_text_is_a_canonical_whatsapp_id_or_refused(value, region, later_region):
    canonical = canonical_or_refused(normalize_whatsapp, value, default_region=region)
    if canonical:
        assert canonical.isascii()
        assert normalize_whatsapp(canonical, default_region=later_region) == canonical


@given(st.text(st.characters(exclude_categories=()), max_size=600))
def test_any_text_is_a_clean_name_or_none(value):
    name = normalize_name(value)
    if name is not None:
        assert normalize_name(name) == name
        assert 0 < len(name) <= MAX_LENGTH
        assert name == " ".join(name.split())
        name.encode()


@given(PHONE_LIKE, REGIONS)
def test_every_canonical_value_can_be_judged_and_keyed(value, region):
    for type_, normalize in (("phone", normalize_phone), ("whatsapp", normalize_whatsapp)):
        canonical = canonical_or_refused(normalize, value, default_region=region)
        if canonical:
            assert isinstance(is_blocked(type_, canonical), bool)
            assert identity_key(type_, canonical).endswith(canonical)
