"""What no caller can ask of ``identity``: refused before anything is sent, and never repeated."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import CRMError, InvalidValue
from app.models import Channel, Customer, CustomerIdentifier, KnowledgeCategory
from app.schemas import Identifier, Resolution
from app.services import identity
from app.testing import CustomerFactory


def email(value: str) -> Identifier:
    return Identifier(type="email", value=value)


def phone(value: str) -> Identifier:
    return Identifier(type="phone", value=value)


def resolve(session: Session, *identifiers: Identifier, **options: object) -> Resolution:
    return identity.resolve(session, identifiers, **({"channel": Channel.EMAIL} | options))


def counts(session: Session) -> tuple[int | None, int | None]:
    return tuple(session.scalar(select(func.count()).select_from(m)) for m in (Customer, CustomerIdentifier))


BAD_CALLS = {
    "none": ([], {}),
    "too many": ([email(f"{n}@example.com") for n in range(21)], {}),
    "no address": ([email("ana.silva.secret")], {}),
    "one of two": ([email("ana@example.com"), phone("secret")], {}),
    "too long": ([email(f"{'secret' * 60}@example.com")], {}),
    "NUL": ([email("sec\x00ret@example.com")], {}),
    "half a pair": ([Identifier(type="whatsapp", value="secret\ud800")], {}),
    "region": ([phone("030 123456")], {"default_region": "secret"}),
    "channel": ([email("ana@example.com")], {"channel": KnowledgeCategory.FAQ}),
    "policy": ([email("ana@example.com")], {"policy": "trusting"}),
    "the address alone": (["secret@example.com"], {}),
    "a row as JSON": ([{"type": "email", "value": "secret@example.com"}], {}),
    "profile": ([email("ana@example.com")], {"profile": {"name": "secret"}}),
}


@pytest.mark.parametrize(("identifiers", "options"), BAD_CALLS.values(), ids=BAD_CALLS)
def test_a_bad_call_is_refused_before_anything_is_sent_and_not_repeated(
    session, queries, identifiers, options
):
    with pytest.raises(CRMError) as caught:
        resolve(session, *identifiers, **options)
    assert isinstance(caught.value, InvalidValue)
    assert "secret" not in str(caught.value)
    assert queries.count == 0, queries


@pytest.mark.parametrize("bad", [None, 7, "secret@example.com", email("ana@example.com")], ids=repr)
def test_identifiers_are_a_list_of_identifiers(session, bad):
    with pytest.raises(InvalidValue) as caught:
        identity.resolve(session, bad, channel=Channel.EMAIL)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("bad", [None, 7, "secret@example.com", [email("ana@example.com")]], ids=repr)
def test_one_identifier_is_an_identifier(session, bad):
    ana_id = CustomerFactory().id
    for work in (
        lambda: identity.find_customer(session, bad),
        lambda: identity.attach_identifier(session, ana_id, bad, channel=Channel.EMAIL, actor="human:7"),
    ):
        with pytest.raises(InvalidValue) as caught:
            work()
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("said", ["true", "no", 1, None])
def test_only_true_says_that_an_address_was_proved(said):
    with pytest.raises(ValidationError):
        Identifier(type="email", value="ana@example.com", verified=said)


def test_a_session_is_usable_after_a_refusal_and_nothing_was_written(session):
    before = counts(session)
    for identifiers, options in BAD_CALLS.values():
        with pytest.raises(CRMError):
            resolve(session, *identifiers, **options)
    assert counts(session) == before
    resolve(session, email("ana@example.com"))
    assert counts(session) == (before[0] + 1, before[1] + 1)
