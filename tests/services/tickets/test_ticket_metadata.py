"""A ticket's metadata changes by a service, key by key, and on record."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import text

from app.services import tickets
from app.testing import TicketFactory


def test_keys_are_set_and_taken_away_and_the_others_stay_in_one_statement(session, queries):
    ticket = TicketFactory(extra={"tags": ["new"], "old": 1, "kept": {"deep": True}})
    queries.reset()

    changed = tickets.change_metadata(
        session, ticket.id, {"tags": ["new", "vip"], "old": None, "more": 0}, actor="human:7", comment="vip"
    )

    assert queries.count == 1, queries
    assert changed is ticket
    assert ticket.extra == {"tags": ["new", "vip"], "kept": {"deep": True}, "more": 0}
    (entry,) = tickets.field_history(session, ticket.id)
    assert (entry.field, entry.changed_by, entry.comment) == ("metadata", "human:7", "vip")
    assert json.loads(entry.old_value)["tags"] == ["new"]
    assert json.loads(entry.new_value) == ticket.extra
    assert tickets.verify_history(session, ticket.id) == []


def test_what_is_so_already_is_no_change_and_its_comment_is_kept_as_a_remark(session):
    ticket = TicketFactory(extra={"a": 1})
    tickets.change_metadata(session, ticket.id, {"a": 1, "b": None}, actor="human:7", comment="looked at it")
    assert tickets.field_history(session, ticket.id) == []
    assert tickets.status_history(session, ticket.id)[-1].comment == "looked at it"


@pytest.mark.parametrize("stored", ["NULL", "'[1]'", "'7'", "'null'"])
def test_metadata_of_another_backend_that_is_no_object_becomes_one(session, stored):
    ticket = TicketFactory()
    session.execute(text(f"UPDATE tickets SET metadata = {stored} WHERE id = :id"), {"id": ticket.id})
    assert tickets.change_metadata(session, ticket.id, {"a": 1}, actor="human:7").extra == {"a": 1}


def test_plain_sql_is_on_record_too(session):
    ticket = TicketFactory()
    session.execute(text("UPDATE tickets SET metadata = '{\"vip\": true}' WHERE id = :id"), {"id": ticket.id})
    (entry,) = tickets.field_history(session, ticket.id)
    assert (entry.field, entry.new_value) == ("metadata", '{"vip": true}')
    assert entry.changed_by.startswith("db:")
