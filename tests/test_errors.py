"""Every error has a family that callers can catch by its meaning, and a message without personal data."""

from __future__ import annotations

import inspect
import json
import pickle
from uuid import UUID, uuid4

import psycopg
import pytest
from fastapi import HTTPException
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError, field_validator, model_validator
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, PendingRollbackError
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException as StarletteHTTPException

from app import errors
from app.errors import (
    AppendOnly,
    BrokenReference,
    Conflict,
    CRMError,
    DuplicateValue,
    IllegalTransition,
    Invalid,
    InvalidPayload,
    InvalidValue,
    NotFound,
    StaleStatus,
    Unavailable,
    from_database,
    kinds,
    problem,
    refusal,
)
from app.models import TRANSITIONS, Customer, TicketStatus
from app.schemas import Identifier, OutboundMessage
from app.services import identity, tickets
from app.testing import CustomerFactory, TicketFactory

ALL = [error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, CRMError)]
FAMILIES = [error for error in ALL if CRMError in error.__bases__]
CONCRETE = [error for error in ALL if error is not CRMError and error not in FAMILIES]
SOME_ID = UUID("0190f5fe-7c00-7a00-8000-000000000001")


@pytest.mark.parametrize("error", ALL)
def test_every_error_says_what_it_means(error):
    assert vars(error)["__doc__"]


def test_the_door_shows_every_kind():
    kinds_ = [name for name, kind in inspect.getmembers(kinds, inspect.isclass) if issubclass(kind, CRMError)]
    assert set(kinds_) <= set(errors.__all__)


CODES = {
    NotFound: ("not_found", 404),
    Conflict: ("conflict", 409),
    Invalid: ("invalid", 422),
    Unavailable: ("unavailable", 503),
    CRMError: ("crm_error", 500),
    errors.TicketNotFound: ("ticket_not_found", 404),
    errors.AlreadyAbsorbed: ("already_absorbed", 409),
    errors.InvalidPayload: ("invalid_payload", 422),
    errors.DatabaseUnavailable: ("database_unavailable", 503),
    errors.MigrationError: ("migration_error", 500),
}


@pytest.mark.parametrize(("error", "expected"), CODES.items())
def test_programs_know_an_error_by_its_code_and_answer_with_its_status(error, expected):
    assert (error.code, error.http_status) == expected


def test_no_two_errors_have_one_code():
    assert len({error.code for error in ALL}) == len(ALL)


OTHER_ID = UUID("0190f5fe-7c00-7a00-8000-000000000002")
PROBLEMS = {
    "uuid": (
        errors.AlreadyAbsorbed(SOME_ID, OTHER_ID),
        {"status": 409, "code": "already_absorbed", "current_id": str(OTHER_ID)},
    ),
    "holder": (errors.IdentifierTaken(SOME_ID), {"holder_id": str(SOME_ID)}),
    "tuple": (
        IllegalTransition("open", "open", [TicketStatus.CLOSED]),
        {"code": "illegal_transition", "legal": ["closed"], "old_status": "open"},
    ),
    "field": (
        InvalidPayload("From", "is missing"),
        {"status": 422, "field": "From", "detail": "From: is missing"},
    ),
    "plain": (NotFound("nothing"), {"status": 404, "detail": "nothing", "code": "not_found"}),
    "ours-by-the-database": (
        DBAPIError("SELECT 'ada@example.com'", {}, psycopg.errors.UniqueViolation("ada@example.com")),
        {"status": 409, "code": "duplicate_value"},
    ),
    "none-of-ours": (
        RuntimeError("ada@example.com"),
        {"status": 500, "code": "crm_error", "detail": "The request could not be completed."},
    ),
    "a-statement": (
        DBAPIError("SELECT 'ada@example.com'", {}, psycopg.errors.DivisionByZero("ada@example.com")),
        {"status": 500, "detail": "the database refused a statement (22012)"},
    ),
}


@pytest.mark.parametrize(("error", "expected"), PROBLEMS.values(), ids=PROBLEMS)
def test_a_problem_document_is_json_and_holds_what_the_error_does(error, expected):
    document = json.loads(json.dumps(errors.problem(error)))

    assert expected.items() <= document.items()
    assert {"type", "title", "status", "detail", "code"} <= document.keys()
    assert document["type"].endswith(document["code"])
    assert "ada@" not in json.dumps(document)


def test_an_error_cannot_overwrite_the_members_of_its_problem_document():
    error = NotFound("nothing")
    error.status, error.type = 200, "fine"
    assert (errors.problem(error)["status"], errors.problem(error)["type"][-9:]) == (404, "not_found")


CONNECTING = [
    ('server at "certificate.example", port 1 failed: Connection refused', "no database server answers"),
    ('FATAL:  password authentication failed for user "too many clients"', "the user or the password"),
    ('FATAL:  database "in recovery mode" does not exist', "no such database"),
    ('FATAL:  role "x" does not exist', "the user or the password"),
    ("FATAL:  sorry, too many clients already", "no connection left"),
    ("FATAL:  the database system is starting up", "starting or shutting down"),
    ("failed to resolve host 'x': [Errno -2] Name or service not known", "host name is unknown"),
    ("connection timeout expired", "did not answer in time"),
    ('FATAL:  no pg_hba.conf entry for host "1.2.3.4"', "does not let this user in"),
    ("SCHWERWIEGEND:  Passwort falsch", "cannot be reached or refused"),
    ("the connection is lost", "was lost"),
]


@pytest.mark.parametrize(("message", "sentence"), CONNECTING)
def test_a_connection_that_fails_is_told_by_its_cause_as_far_as_that_can_be_told(message, sentence):
    error = OperationalError(None, None, psycopg.OperationalError(message))
    explained = errors.explain(error)

    assert isinstance(explained, errors.DatabaseUnavailable)
    assert isinstance(explained, errors.LoginRefused) is (
        "password" in str(explained) or "let this" in str(explained)
    )
    assert sentence in str(explained)


def test_a_transaction_that_failed_before_is_no_lost_connection(crm_clone):
    with Session(crm_clone) as session:
        session.add(Customer())
        with pytest.raises(IntegrityError):
            session.flush()
        with pytest.raises(PendingRollbackError) as unheard:
            session.execute(text("SELECT 1"))
    with crm_clone.connect() as connection:
        for _ in range(2):
            with pytest.raises(DBAPIError) as refused:
                connection.execute(text("SELECT 1 / 0"))
    for error in (unheard.value, refused.value):
        explained = errors.explain(error)
        assert type(explained) is errors.CRMError
        assert str(explained) == "an earlier statement of the transaction failed; roll it back"


def test_a_connection_that_was_lost_before_is_told_as_lost(crm_clone):
    with crm_clone.connect() as connection:
        connection.begin()
        connection.invalidate()
        with pytest.raises(PendingRollbackError) as unheard:
            connection.execute(text("SELECT 1"))
    assert isinstance(errors.explain(unheard.value), errors.DatabaseUnavailable)


@pytest.mark.parametrize("error", CONCRETE)
def test_every_concrete_error_belongs_to_one_family(error):
    assert {NotFound, Conflict, Invalid, Unavailable} <= set(FAMILIES)
    assert sum(issubclass(error, family) for family in FAMILIES) == 1


@pytest.mark.parametrize("error", [e for e in CONCRETE if issubclass(e, NotFound)])
def test_what_is_missing_is_named_by_its_id(error):
    assert str(SOME_ID) in str(error(SOME_ID))


def test_an_illegal_transition_names_the_legal_ones():
    error = IllegalTransition("resolved", "waiting", sorted(TRANSITIONS[TicketStatus.RESOLVED]))
    assert (
        str(error) == "a ticket cannot go from resolved to waiting; from resolved it may go to closed, open"
    )
    assert (error.old_status, error.new_status, error.legal) == ("resolved", "waiting", ("closed", "open"))
    assert str(IllegalTransition("gone", "open")).endswith("it may go to nothing")


def test_a_stale_status_tells_both():
    error = StaleStatus(SOME_ID, "waiting", "resolved")
    assert (error.expected, error.actual) == ("waiting", "resolved")
    assert str(error) == f"ticket {SOME_ID} was expected to be waiting and is resolved"


def test_a_bad_value_names_its_field():
    error = InvalidPayload("From", "is missing")
    assert isinstance(error, InvalidValue)
    assert (error.field, str(error)) == ("From", "From: is missing")


def test_services_raise_the_family_that_the_situation_has(session):
    ticket = TicketFactory(status=TicketStatus.RESOLVED)
    for family, ask in (
        (NotFound, lambda: tickets.get_ticket(session, uuid4())),
        (Conflict, lambda: tickets.change_status(session, ticket.id, TicketStatus.WAITING, actor="human:7")),
        (Invalid, lambda: tickets.change_status(session, ticket.id, "gone", actor="human:7")),
    ):
        with pytest.raises(family):
            ask()


@pytest.mark.parametrize(
    "identifier",
    [
        Identifier(type="email", value="ada.lovelace@@example.com"),
        Identifier(type="email", value=f"{'ada.lovelace' * 30}@example.com"),
        Identifier(type="phone", value="ada.lovelace"),
        Identifier(type="whatsapp", value="+49 ada.lovelace"),
    ],
)
def test_a_message_repeats_no_personal_data(session, identifier):
    with pytest.raises(InvalidValue) as caught:
        identity.find_customer(session, identifier)
    shown = str(caught.value) + repr(caught.value)
    assert "lovelace" not in shown
    # Nor does a traceback that shows where the error came from.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_database_names_the_broken_rule_for_those_who_write_raw_sql(session):
    ticket = TicketFactory(status=TicketStatus.RESOLVED)
    with pytest.raises(IntegrityError) as caught, session.begin_nested():
        session.execute(text("UPDATE tickets SET status = 'waiting' WHERE id = :id"), {"id": ticket.id})
    diagnosis = caught.value.orig.diag
    assert (diagnosis.sqlstate, diagnosis.constraint_name) == ("23514", "tickets_status_transition")
    assert (diagnosis.table_name, diagnosis.schema_name) == ("tickets", "public")
    assert diagnosis.message_primary == "a ticket cannot go from resolved to waiting"


REFUSED = {
    "taken": ("INSERT INTO customers (email) VALUES (:secret)", DuplicateValue, "customers_email_key"),
    "no customer": (
        "INSERT INTO conversations (customer_id, channel) VALUES (gen_random_uuid(), 'email')",
        BrokenReference,
        "conversations_customer_id_fkey",
    ),
    "still needed": ("DELETE FROM tickets", BrokenReference, "ticket_status_changes_ticket_id_fkey"),
    "audit": ("DELETE FROM ticket_status_changes", AppendOnly, "ticket_status_changes_append_only"),
    "transition": ("UPDATE tickets SET status = 'waiting'", Conflict, "state machine"),
    "code": ("UPDATE customers SET plan = :secret", InvalidValue, "customers_plan_check"),
    "null": ("UPDATE customers SET email = NULL", InvalidValue, "email"),
    "long": ("UPDATE customers SET name = repeat(:secret, 100)", InvalidValue, "text"),
}


@pytest.mark.parametrize(("statement", "expected", "rule"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_by_the_database_has_a_meaning_and_no_row_in_its_message(
    session, statement, expected, rule
):
    secret = "ada.lovelace@example.com"
    TicketFactory(customer=CustomerFactory(email=secret), status=TicketStatus.RESOLVED)
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        session.execute(text(statement), {"secret": secret})
    for error in (caught.value, caught.value.orig):
        meaning = from_database(error)
        assert type(meaning) is expected
        assert rule in str(meaning)
        assert "lovelace" not in str(meaning)


def test_an_error_that_is_no_rule_of_the_database_has_no_meaning(session):
    with pytest.raises(DBAPIError) as caught, session.begin_nested():
        session.execute(text("SELECT 1 / 0"))
    for error in (caught.value, caught.value.orig, RuntimeError(), InvalidValue("a", "b")):
        assert from_database(error) is None


@pytest.mark.parametrize(
    "error",
    [
        errors.IllegalTransition("open", "closed", ["processing"]),
        errors.InvalidValue("subject", "must not be empty"),
        errors.TicketNotFound("TKT-0042"),
        errors.ArticleNotFound("of the source faq.md"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_survives_the_way_to_another_process(error):
    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_what_a_schema_refuses_is_a_problem_without_the_value():
    with pytest.raises(ValidationError) as caught:
        Identifier(type="fax", value="SECRET")
    document = problem(caught.value)
    assert (document["status"], document["code"], document["field"]) == (422, "invalid_value", "type")
    assert "fax" not in json.dumps(document)
    with pytest.raises(ValidationError) as caught:
        OutboundMessage(content="")
    assert problem(caught.value)["detail"].startswith("content: ")


class Strict(BaseModel):
    """Breaks each kind of rule that a schema has."""

    number: int = 0
    even: int = 0
    positive: int = 1

    @field_validator("even")
    @classmethod
    def _is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("must be even")
        return value

    @field_validator("positive")
    @classmethod
    def _is_positive(cls, value: int) -> int:
        assert value > 0, "must be positive"
        return value

    @model_validator(mode="after")
    def _has_a_number(self) -> Strict:
        if self.number == self.even:
            raise ValueError("must have two numbers")
        return self


BROKEN = {
    "a-type": ({"number": "SECRET"}, "number", "Input should be a valid integer"),
    "a-validator": ({"even": 3}, "even", "must be even"),
    "an-assertion": ({"positive": -3}, "positive", "must be positive"),
    "the-whole": ({}, "", "must have two numbers"),
}


@pytest.mark.parametrize(("values", "field", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_schema_s_refusal_is_the_sentence_of_its_rule_alone(values, field, sentence):
    with pytest.raises(ValidationError) as caught:
        Strict(**values)

    assert refusal(caught.value)[0] == field
    assert refusal(caught.value)[1].startswith(sentence)
    assert problem(caught.value)["detail"].startswith(f"{field or 'Strict'}: {sentence}")


REQUESTS = {
    "a-field-of-the-body": (
        {"type": "missing", "loc": ("body", "plan", "reason"), "msg": "Needed"},
        "plan.reason",
    ),
    "the-body": ({"type": "missing", "loc": ("body",), "msg": "Needed"}, "body"),
    "no-json": ({"type": "json_invalid", "loc": ("body", 17), "msg": "JSON decode error"}, "body"),
    "a-header": ({"type": "missing", "loc": ("header", "X-Actor"), "msg": "Needed"}, "X-Actor"),
}


@pytest.mark.parametrize(("refusal", "field"), REQUESTS.values(), ids=REQUESTS)
def test_what_fastapi_refuses_is_a_problem_of_the_request_s_field(refusal, field):
    document = problem(RequestValidationError([refusal], body={"secret": "ada@example.com"}))
    assert (document["status"], document["code"], document["field"]) == (422, "invalid_value", field)
    assert "ada@" not in json.dumps(document)


def test_what_a_validator_of_a_request_says_is_the_sentence_alone():
    said = {"type": "value_error", "loc": ("body", "age"), "msg": "Value error, must be even"}

    assert problem(RequestValidationError([said]))["detail"] == "age: must be even"


@pytest.mark.parametrize("kind", [HTTPException, StarletteHTTPException])
def test_what_fastapi_answers_itself_keeps_its_status(kind):
    document = json.loads(json.dumps(problem(kind(405))))
    assert (document["status"], document["code"]) == (405, "method_not_allowed")
    assert (document["type"], document["detail"]) == ("about:blank", "Method Not Allowed")
    assert problem(kind(403, "not signed"))["detail"] == "not signed"
