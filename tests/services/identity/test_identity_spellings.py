"""Profiles that plain SQL stored in a spelling of its own: found by an index, and never a second customer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from app import migrations
from app.errors import InvalidValue
from app.models import Channel, CustomerIdentifier
from app.models.customer import EMAIL_KEY, PHONE_KEY
from app.normalization import normalize_email, normalize_stored, search_key
from app.schemas import Assurance, Identifier, Outcome
from app.services import identity, merging
from app.testing import CustomerFactory

EMAILS = {
    "capitals": ("ANA@X.EXAMPLE", "ana@x.example"),
    "capitals beyond ASCII": ("ZO\u00cb@x.example", "zo\u00eb@x.example"),
    "decomposed": ("zoe\u0308@x.example", "zo\u00eb@x.example"),
    "decomposed capitals": ("ZOE\u0308@x.example", "zo\u00eb@x.example"),
    "Turkish": ("\u0130rem@x.example", "i\u0307rem@x.example"),
    "Greek": ("\u039f\u0394\u039f\u03a3@x.example", "\u03bf\u03b4\u03bf\u03c2@x.example"),
    "Kelvin": ("\u212aim@x.example", "kim@x.example"),
    "fullwidth": ("\uff21na@x.example", "ana@x.example"),
    "a leading space": (" ana@x.example", "ana@x.example"),
    "a line end": ("ana@x.example\r\n", "ana@x.example"),
    "a hard space": ("ana@x.example\u00a0", "ana@x.example"),
    "an IDN domain": ("ana@m\u00fcnchen.example", "ana@xn--mnchen-3ya.example"),
    "an IDN domain in capitals": ("ANA@M\u00dcNCHEN.example", "ana@xn--mnchen-3ya.example"),
    "an IDN domain with a hyphen": ("ana@b\u00fccher-shop.example", "ana@xn--bcher-shop-9db.example"),
    "an IDN domain without a Latin letter": ("ana@\u4e2d\u56fd.example", "ana@xn--fiqs8s.example"),
    "a sharp s": ("ana@stra\u00dfe.example", "ana@xn--strae-oqa.example"),
    "an A-label in capitals": ("ana@XN--MNCHEN-3YA.example", "ana@m\u00fcnchen.example"),
    "another full stop": ("ana@x\u3002example", "ana@x.example"),
    "quoted": ('"ana"@x.example', "ana@x.example"),
    "a tag": ("Ana+News@X.example", "ana+news@x.example"),
}
NUMBERS = {
    "a trunk zero": ("+49 (0)30 901820", "+4930901820"),
    "00": ("0049 30 901821", "+4930901821"),
    "00 and a trunk zero": ("0049 (0)30-90 18 22", "+4930901822"),
    "ext.": ("+49 30 901823 ext. 8", "+4930901823"),
    "x": ("+49 30 901824x8", "+4930901824"),
    "#": ("+49 30 901825 #8", "+4930901825"),
    "a label": ("Tel.: +49/30/901826", "+4930901826"),
    "digits alone": ("4930901827", "+4930901827"),
    "an extension of digits alone": ("4930901828 (ext 12)", "+4930901828"),
    "parentheses": ("(+49) 30 901829", "+4930901829"),
    "a URI": ("tel:+49-30-901830;ext=8", "+4930901830"),
    "hard spaces and dashes": ("+49\u00a030\u202f90\u20111831", "+4930901831"),
    "marks of direction": ("\u202a+49 30 901832\u202c", "+4930901832"),
    "fullwidth": ("\uff0b\uff14\uff19 30 901833", "+4930901833"),
    "Arabic digits": ("+\u0664\u0669 \u0663\u0660 901834", "+4930901834"),
    "Persian digits": ("+\u06f4\u06f9 \u06f3\u06f0 901\u06f8\u06f3\u06f5", "+4930901835"),
    "Brazil without its 9": ("+55 31 8888-8888", "+5531988888888"),
    "Brazil in WhatsApp's digits": ("553188888889", "+5531988888889"),
    "Mexico with its 1": ("+52 1 55 1234 5678", "+525512345678"),
    "Mexico in WhatsApp's digits": ("5215512345679", "+525512345679"),
    "Argentina with its 9": ("+54 9 11 2345 6789", "+541123456789"),
    "Argentina in WhatsApp's digits": ("5491123456780", "+541123456780"),
    "Argentina with its 15": ("+54 11 15 2345 6781", "+541123456781"),
    "Argentina with its 15 and six digits": ("+54 2966 15 423456", "+542966423456"),
    "an island": ("00683 4002", "+6834002"),
}
CASES = {name: ("email", *case) for name, case in EMAILS.items()} | {
    f"{name} ({type_})": (type_, *case) for name, case in NUMBERS.items() for type_ in ("phone", "whatsapp")
}
every_spelling = pytest.mark.parametrize(("type_", "stored", "asked"), CASES.values(), ids=CASES)


def store(session: Session, type_: str, stored: str) -> UUID:
    """A row as another backend writes it."""
    values = (
        {"email": stored, "phone": None} if type_ == "email" else {"email": "raw@y.example", "phone": stored}
    )
    insert = text("INSERT INTO customers (email, phone) VALUES (:email, :phone) RETURNING id")
    return session.scalars(insert, values).one()


@every_spelling
def test_a_profile_in_any_spelling_is_found_and_gets_its_row(session, queries, type_, stored, asked):
    raw_id = store(session, type_, stored)
    identifier = Identifier(type=type_, value=asked)
    queries.reset()
    found = identity.find_customer(session, identifier)
    assert found is not None
    assert (found.id, queries.count) == (raw_id, 1), queries
    resolution = identity.resolve(session, [identifier], channel=Channel.WEB_FORM)
    assert (resolution.customer_id, resolution.outcome) == (raw_id, Outcome.MATCHED)
    assert resolution.assurance is Assurance.CLAIMED
    # From now on there is a row, and a known sender costs one statement.
    queries.reset()
    again = identity.resolve(session, [identifier], channel=Channel.WEB_FORM)
    assert (again.customer_id, again.attached, queries.count) == (raw_id, (), 1), queries
    proof = identifier.model_copy(update={"verified": True})
    assert identity.resolve(session, [proof], channel=Channel.WEB_FORM).customer_id == raw_id


@every_spelling
def test_what_is_detached_goes_out_of_a_profile_in_any_spelling(session, type_, stored, asked):
    raw_id = store(session, type_, stored)
    call: dict[str, Any] = {"channel": Channel.WEB_FORM, "actor": "human:7"}
    row = identity.attach_identifier(session, raw_id, Identifier(type=type_, value=asked), **call)
    identity.detach_identifier(session, row.id, actor="human:7")
    assert identity.find_customer(session, Identifier(type=type_, value=asked)) is None


@every_spelling
def test_an_absorbed_profile_is_found_in_any_spelling(session, type_, stored, asked):
    raw_id, ana = (
        store(session, type_, stored),
        CustomerFactory(email="ana@z.example", phone="+12025550199").id,
    )
    merging.merge(session, ana, raw_id, actor="human:7", reason="the same")
    assert identity.find_customer(session, Identifier(type=type_, value=asked)).id == ana


@pytest.mark.parametrize(
    ("type_", "stored", "asked"),
    [
        pytest.param("email", "a.na@x.example", "ana@x.example", id="a dot"),
        pytest.param("email", "ana+x@x.example", "anax@x.example", id="a tag"),
        pytest.param("email", "ana@m\u00fcnchen.example", "ana@xn--bcher-kva.example", id="another IDN"),
        pytest.param("email", "zo\u00eb@x.example", "zo\u00e8@x.example", id="another accent"),
        pytest.param("email", "\u5c71\u7530@x.example", "\u7530\u4e2d@x.example", id="another name"),
        pytest.param("phone", "+49 30 901820", "+4940901820", id="another area"),
        pytest.param("phone", "+44 30 901820", "+4930901820", id="another country"),
        pytest.param("phone", "030 901820", "+4930901820", id="no country"),
        pytest.param("phone", "ext. 901820", "+4930901820", id="no number"),
        pytest.param("phone", "none", "+4930901820", id="no digits"),
    ],
)
def test_what_only_shares_the_key_is_somebody_else(session, type_, stored, asked):
    store(session, type_, stored)
    assert identity.find_customer(session, Identifier(type=type_, value=asked)) is None


def test_a_number_without_its_country_is_read_in_the_callers_region(session):
    raw_id = store(session, "phone", "(030) 901820")
    asked = Identifier(type="whatsapp", value="+4930901820")
    for region, found in (("DE", raw_id), ("FR", None), (None, None)):
        customer = identity.find_customer(session, asked, default_region=region)
        assert (None if customer is None else customer.id) == found
    resolution = identity.resolve(session, [asked], channel=Channel.WHATSAPP, default_region="DE")
    assert resolution.customer_id == raw_id


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        (Identifier(type="email", value="info@m\u00fcnchen77.example"), "idx_customers_email_key"),
        (Identifier(type="phone", value="+49305000077"), "idx_customers_phone_key"),
    ],
)
def test_the_lookup_reads_an_index_and_few_rows_of_many(session, queries, asked, index):
    session.execute(
        text("""
            INSERT INTO customers (email, phone)
            SELECT 'Info@m\u00fcnchen' || n || '.example', '+49 (0)30 ' || 5000000 + n
            FROM generate_series(1, 4000) AS n
        """)
    )
    session.execute(text("ANALYZE customers"))

    def scans() -> tuple[int, int]:
        counted = (
            "SELECT pg_stat_get_xact_numscans(to_regclass(name)) FROM unnest(CAST(:names AS text[])) AS name"
        )
        by_index, sequential = session.scalars(text(counted), {"names": [index, "customers"]})
        return by_index, sequential

    by_index, sequential = scans()
    queries.reset()
    assert identity.find_customer(session, asked) is not None
    assert queries.count == 1, queries
    assert scans() == (by_index + 1, sequential)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
EMAIL_LIKE = st.builds(
    "{}@{}{}".format, TEXT, TEXT, st.sampled_from([".example", ".M\u00fcller.de", "\u3002jp"])
)
PHONE_LIKE = st.builds(
    "{}{} {}{}{}".format,
    st.sampled_from(["+", "00", "", "(+", "tel:+"]),
    st.sampled_from(["49 (0)30", "55 31", "52 1 55", "54 9 11", "54 2966 15", "1 202"]),
    st.text("0123456789\u0663\u06f9", min_size=3, max_size=4),
    st.sampled_from(["", " ", "-", "/", " ) "]),
    st.text("0123456789", min_size=3, max_size=4),
)


@given(st.lists(EMAIL_LIKE, min_size=20, max_size=20))
@example([stored for stored, _ in EMAILS.values()])
@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_database_and_python_agree_on_the_key_of_an_address(session, addresses):
    rows = session.execute(
        text(f"SELECT email, {EMAIL_KEY} FROM unnest(CAST(:stored AS text[])) AS s (email)"),
        {"stored": addresses},
    )
    for stored, key in rows:
        try:
            canonical = normalize_email(stored)
        except InvalidValue:
            continue
        assert search_key("email", canonical) == key, stored


@given(st.lists(PHONE_LIKE, min_size=20, max_size=20))
@example([stored for stored, _ in NUMBERS.values()])
@settings(
    max_examples=30,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_database_and_python_agree_on_the_key_of_a_number(session, numbers):
    rows = session.execute(
        text(f"SELECT phone, {PHONE_KEY} FROM unnest(CAST(:stored AS text[])) AS s (phone)"),
        {"stored": numbers},
    )
    for stored, key in rows:
        canonical = normalize_stored("phone", stored)
        if canonical is not None:
            assert search_key("phone", canonical) == key, stored


def test_a_profile_that_cannot_be_read_harms_no_lookup(session):
    for n, stored in enumerate(["nobody", "", "@", "\u3042", "x" * 40]):
        CustomerFactory(email=f"{stored}{n}", phone=stored or None)
    assert identity.find_customer(session, Identifier(type="email", value="nobody@x.example")) is None
    assert session.query(CustomerIdentifier).count() == 0


@pytest.mark.parametrize("key", [EMAIL_KEY, PHONE_KEY], ids=["email", "phone"])
def test_the_lookup_and_the_indexes_have_one_expression(key):
    assert key in migrations.own_statements()["identity_matches"]
