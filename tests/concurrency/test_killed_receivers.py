"""A receiver that is killed anywhere: what it acknowledged is stored, and nothing is stored twice."""

from __future__ import annotations

import multiprocessing
import signal

import pytest
from sqlalchemy import text

from app.database import transaction
from app.operations.doctor import examine
from app.services import conversations
from tests.concurrency import receiver

POINTS = 30
STORED = text("SELECT provider_message_id, message_id IS NOT NULL FROM provider_messages")
BROKEN = text("""
    SELECT count(*) FROM messages AS m
    LEFT JOIN provider_messages AS p ON p.message_id = m.id
    LEFT JOIN conversations AS c ON c.id = m.conversation_id AND c.customer_id = m.customer_id
    WHERE p.message_id IS NULL OR c.id IS NULL
        OR NOT EXISTS (SELECT FROM customer_identifiers AS i WHERE i.customer_id = m.customer_id)
""")


@pytest.mark.soak
def test_a_receiver_that_is_killed_at_any_of_thirty_points_loses_and_doubles_nothing(
    crm_clone, sessions, tmp_path
):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.concurrency.receiver"])
    url = crm_clone.url.render_as_string(hide_password=False)
    file = tmp_path / "acknowledged"
    for point in range(1, POINTS + 1):
        process = context.Process(target=receiver.main, args=(url, point, point, str(file)))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        process.close()
    acknowledged = [tuple(map(int, line.split())) for line in file.read_text().splitlines()]

    with sessions() as session:
        stored = dict(map(tuple, session.execute(STORED)))
        assert session.scalar(BROKEN) == 0
    names = {receiver.message(*delivery).provider_message_id for delivery in acknowledged}
    assert names <= stored.keys()
    assert set(stored.values()) == {True}
    assert len(names) > POINTS
    # At most the one that each was busy with is stored without anybody's having been told.
    assert len(stored.keys() - names) <= POINTS

    for run in range(1, POINTS + 1):
        for number in range(2 + max((n for r, n in acknowledged if r == run), default=-1)):
            delivery = receiver.message(run, number)
            outcome = transaction(sessions, conversations.ingest, delivery)
            assert outcome.duplicate == (delivery.provider_message_id in stored)
    with sessions() as session:
        names |= set(session.scalars(text("SELECT provider_message_id FROM provider_messages")))
        assert session.scalar(text("SELECT count(*) FROM messages")) == len(names)
        assert session.scalar(BROKEN) == 0
        regulars = text("SELECT count(*) FROM customers WHERE email = 'regular1@post.example'")
        assert session.scalar(regulars) == 1
    assert [f.check for f in examine(crm_clone).findings if f.check != "no_roles"] == []
