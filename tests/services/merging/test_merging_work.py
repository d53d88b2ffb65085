"""What an undo reads grows with what it gives back, whatever the statistics say."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.services import merging
from app.testing import ConversationFactory, CustomerFactory
from tests.services._reading import rows_read

WHY = {"actor": "human:7", "reason": "the same person"}
MESSAGES = text("""
    INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
    SELECT :conversation_id, :customer_id, 'email', 'inbound', 'customer', 'Hello ' || n
    FROM generate_series(1, 1000) AS n
""")


@pytest.mark.parametrize("analyzed", ["before", "after"])
def test_an_undo_compares_no_row_with_every_other(session, analyzed):
    survivor, absorbed = CustomerFactory(), CustomerFactory()
    conversation = ConversationFactory(customer=absorbed)
    fill = MESSAGES.bindparams(conversation_id=conversation.id, customer_id=absorbed.id)
    analyze = text("ANALYZE messages, customer_merge_moves")
    for statement in (analyze, fill) if analyzed == "before" else (fill, analyze):
        session.execute(statement)
    merge_id = merging.merge(session, survivor.id, absorbed.id, **WHY).id
    assert rows_read(session, lambda: merging.unmerge(session, merge_id, **WHY)) < 20_000


def test_the_transaction_keeps_its_own_way_of_joining(session):
    session.execute(text("SET LOCAL enable_nestloop = off"))
    merge_id = merging.merge(session, CustomerFactory().id, CustomerFactory().id, **WHY).id
    merging.unmerge(session, merge_id, **WHY)
    assert session.scalar(text("SHOW enable_nestloop")) == "off"
