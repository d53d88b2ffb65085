"""The app's role goes round the services: an absorbed id stays absorbed, and every change leaves an event."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.errors import InvalidValue, from_database
from app.services import merging
from app.testing import CustomerFactory, CustomerIdentifierFactory, bound_to
from tests.operations.conftest import Desk

AGAIN = "INSERT INTO customers (id, email) VALUES (:absorbed, 'again@example.com')"
REFUSED = {
    "take the redirect away": f"DELETE FROM customer_redirects WHERE absorbed_id = :absorbed; {AGAIN}",
    "lead somewhere else": """
        UPDATE customer_redirects SET customer_id = :other WHERE absorbed_id = :absorbed
    """,
    "lead a stranger there": """
        INSERT INTO customer_redirects (absorbed_id, customer_id, merge_id)
        SELECT gen_random_uuid(), :other, merge_id FROM customer_redirects WHERE absorbed_id = :absorbed
    """,
    "lead in a circle": """
        INSERT INTO customer_merges (survivor_id, absorbed_id, actor, reason, absorbed, filled)
        SELECT absorbed_id, survivor_id, actor, reason, absorbed, filled FROM customer_merges
        WHERE absorbed_id = :absorbed;
        UPDATE customer_redirects SET customer_id = :other WHERE absorbed_id = :absorbed
    """,
    "undo it in the future": """
        UPDATE customer_merges SET undone_at = 'infinity' WHERE absorbed_id = :absorbed
    """,
    "undo it twice": """
        UPDATE customer_merges SET undone_at = clock_timestamp() WHERE absorbed_id = :absorbed;
        UPDATE customer_merges SET undone_at = clock_timestamp() WHERE absorbed_id = :absorbed
    """,
    "undo its undoing": """
        UPDATE customer_merges SET undone_at = clock_timestamp() WHERE absorbed_id = :absorbed;
        UPDATE customer_merges SET undone_at = NULL WHERE absorbed_id = :absorbed
    """,
}


@pytest.fixture
def merged(desk: Desk) -> dict[str, UUID]:
    with Session(desk.admin) as session, bound_to(session):
        survivor, absorbed, other = (CustomerFactory().id for _ in range(3))
        merging.merge(session, survivor, absorbed, actor="human:7", reason="the same")
        session.commit()
    return {"survivor": survivor, "absorbed": absorbed, "other": other}


def run(desk: Desk, script: str, **values: object) -> None:
    """As the app; each statement with the values that it names."""
    with desk.login("app").begin() as connection:
        for statement in script.split(";"):
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), named)


@pytest.mark.parametrize("script", REFUSED.values(), ids=REFUSED.keys())
def test_an_absorbed_id_leads_where_its_merges_lead_and_nowhere_else(desk, merged, script):
    with pytest.raises(DBAPIError) as refusal:
        run(desk, script, **merged)
    assert from_database(refusal.value) is not None
    state = "SELECT customer_id FROM customer_redirects WHERE absorbed_id = :absorbed"
    assert desk.run(state, absorbed=merged["absorbed"]) == [(merged["survivor"],)]


def test_a_redirect_that_is_refused_is_typed(desk, merged):
    with pytest.raises(DBAPIError) as refusal:
        run(desk, REFUSED["take the redirect away"], **merged)
    assert isinstance(from_database(refusal.value), InvalidValue)


@pytest.mark.parametrize(
    ("change", "event", "details"),
    [
        ("customer_id = :other, verified = true", "reassigned", {"verified": True}),
        ("customer_id = :other", "reassigned", {}),
        (
            "identifier_value = '+4930901899', verified = true",
            "attached",
            {"replaces": "another address or spelling", "verified": True},
        ),
    ],
)
def test_a_proof_that_comes_or_goes_with_another_change_is_told_in_its_event(
    desk, merged, change, event, details
):
    with Session(desk.admin) as session, bound_to(session):
        identifier = CustomerIdentifierFactory(customer_id=merged["survivor"], verified=False).id
        session.commit()
    run(desk, f"UPDATE customer_identifiers SET {change} WHERE id = :id", id=identifier, **merged)
    events = desk.run(
        "SELECT event, details FROM identity_events WHERE identifier_id = :id ORDER BY seq DESC LIMIT 1",
        id=identifier,
    )
    assert events == [(event, details)]
    desk.run("DELETE FROM customer_identifiers WHERE id = :id", id=identifier)
