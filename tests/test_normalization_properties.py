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
    is_plain_email,
    normalize_email,
    normalize_name,
    normalize_phone,
    normalize_whatsapp,
)
from app.normalization.emails import normalize_email_by_rules

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
        if refused.field not in normalize.__name__:
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


PLAIN = st.text("ab9_.+-", min_size=1, max_size=70)
LABEL = st.text("ab9-", min_size=1, max_size=66) | st.sampled_from(["xn--a", "xn--mnchen-3ya", "1"])
TOP = st.sampled_from(["com", "test", "invalid", "local", "a", "c0m", "museum", "xn--p1ai", "arpa"])


@given(st.builds("{}@{}.{}".format, PLAIN, st.lists(LABEL, max_size=5).map(".".join), TOP) | EMAIL_LIKE)
@example("a@b.co")
@example(f"{'a' * 64}@b.co")
@example(f"{'a' * 65}@b.co")
@example(f"a@{'b' * 63}.co")
@example(f"a@{'b.' * 130}co")
def test_a_plain_email_is_its_own_canonical_form(value):
    if is_plain_email(value):
        assert normalize_email_by_rules(value) == value


SPACE = st.text(" \t\n\u00a0\u3000", max_size=2)
SPELLED = st.text("aZ9_.+-\u212aİ\u017fß\uff21", min_size=1, max_size=70)


@given(
    st.builds("{}{}@{}.{}{}".format, SPACE, SPELLED, st.lists(LABEL, max_size=5).map(".".join), TOP, SPACE)
    | EMAIL_LIKE
)
@example(" Ann@Example.COM\n")
@example("\u212aen@example.com")
@example(f"{' ' * 2000}ann@example.com")
def test_the_short_way_of_plain_emails_ends_where_the_rules_do(value):
    by_rules = canonical_or_refused(normalize_email_by_rules, value)

    assert canonical_or_refused(normalize_email, value) == by_rules


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
