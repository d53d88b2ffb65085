"""Erasing while others write, and dying in the middle of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.database import make_session_factory, transaction
from app.models import Channel
from app.schemas import Identifier, InboundMessage
from app.services import conversations, privacy, tickets
from app.testing import bound_to
from tests.services.privacy.planting import dump, in_dump, person_of, plant_person

BY = {"actor": "human:7", "reason": "asked"}


def mail(number: int, content: str) -> InboundMessage:
    return InboundMessage(
        channel=Channel.EMAIL,
        account="help@example.com",
        provider_message_id=f"m{number}",
        sender=(Identifier(type="email", value="wanda@post.example", verified=True),),
        content=content,
    )


def test_a_message_that_waits_for_the_erasure_is_somebody_new_s(crm_clone: Engine):
    sessions = make_session_factory(crm_clone)
    first = transaction(sessions, conversations.ingest, mail(1, "Old words"))
    with Session(crm_clone) as eraser, ThreadPoolExecutor() as pool:
        privacy.erase_customer(eraser, first.customer_id, **BY)
        later = pool.submit(transaction, sessions, conversations.ingest, mail(2, "New words"))
        while not eraser.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            time.sleep(0.01)
        eraser.commit()
        second = later.result(timeout=30)

    assert second.customer_id != first.customer_id
    with Session(crm_clone) as session:
        assert [entry.content for entry in privacy.export_customer(session, first.customer_id).messages] == [
            ""
        ]
        assert privacy.export_customer(session, second.customer_id).messages[0].content == "New words"


def test_plain_sql_that_waits_for_the_erasure_is_refused(crm_clone: Engine):
    with Session(crm_clone) as session, bound_to(session):
        customer_id = person_of(session)
        session.commit()
    insert = text("INSERT INTO conversations (customer_id, channel) VALUES (:id, 'email')")

    def write():
        with crm_clone.begin() as connection:
            connection.execute(insert, {"id": customer_id})

    with Session(crm_clone) as eraser, ThreadPoolExecutor() as pool:
        privacy.erase_customer(eraser, customer_id, **BY)
        later = pool.submit(write)
        while not eraser.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")):
            time.sleep(0.01)
        eraser.commit()
        with pytest.raises(IntegrityError, match="was erased"):
            later.result(timeout=30)


def test_of_two_erasures_at_once_there_is_one(crm_clone: Engine):
    with Session(crm_clone) as session, bound_to(session):
        customer_id = person_of(session)
        session.commit()
    sessions = make_session_factory(crm_clone)

    with ThreadPoolExecutor() as pool:
        erasing = [
            pool.submit(transaction, sessions, privacy.erase_customer, customer_id, **BY) for _ in range(8)
        ]
        reports = [erasure.result(timeout=60) for erasure in erasing]

    assert len({report.erasure_id for report in reports}) == 1


OTHERS = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
""")
KILLED = """
import os, sys
from uuid import UUID
from sqlalchemy.orm import Session
from app.database import make_engine
from app.services import privacy
with Session(make_engine(os.environ["DATABASE_URL"], allow_insecure_tls=True)) as session:
    session.connection()
    print("ready", flush=True)
    privacy.erase_customer(session, UUID(sys.argv[1]), actor="human:7", reason="asked")
    session.commit()
"""


@pytest.mark.soak
def test_a_kill_at_any_moment_leaves_all_or_nothing(crm_databases):
    from app.database import make_engine

    template = crm_databases.clone()
    engine = make_engine(template, allow_insecure_tls=True)
    with Session(engine) as session, bound_to(session):
        person = plant_person(session, "Wanda")
        for _ in range(300):
            conversation_id = session.scalar(text("SELECT id FROM conversations LIMIT 1"))
            conversations.note(session, conversation_id, person.word("messages.content"), actor="human:7")
        session.commit()
    engine.dispose()
    outcomes = set()
    for moment in range(30):
        url = crm_databases.clone(template)
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(person.customer_id)],
            env=os.environ | {"DATABASE_URL": url},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        Event().wait(moment * 0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        engine = make_engine(url, allow_insecure_tls=True)
        with Session(engine) as session:
            # What pg_stat_activity tells is the same until the transaction ends.
            while session.scalar(OTHERS):
                session.rollback()
                time.sleep(0.02)
            is_erased = session.scalar(text("SELECT count(*) FROM erasures")) == 1
            left = in_dump(dump(url), person.words)
            assert left == ({} if is_erased else person.words)
            assert tickets.verify_history(session) == []
        outcomes.add(is_erased)
        engine.dispose()
        crm_databases.drop(url)
    crm_databases.drop(template)
    assert outcomes == {True, False}
