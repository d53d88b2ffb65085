"""A server in trouble: its disk is full, its connections are used up, its clock was set back."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from app.database import make_engine, make_session_factory, transaction
from app.errors import DatabaseUnavailable
from app.models import Channel, Message
from app.schemas import Identifier, InboundMessage
from app.services import conversations, tickets
from app.testing import TicketFactory, bound_to
from tests.services._feed import caught_up


def mail(number: int, content: str = "Help") -> InboundMessage:
    return InboundMessage(
        channel=Channel.EMAIL,
        account="help@example.com",
        provider_message_id=f"m{number}",
        sender=(Identifier(type="email", value="wanda@post.example", verified=True),),
        content=content,
    )


@pytest.fixture
def small_disk(crm_clone: Engine) -> Iterator[Path]:
    """A file system of 24 MB with a tablespace on it; needs the right to mount one."""
    folder = Path(tempfile.mkdtemp(prefix="crm-disk-"))
    folder.chmod(0o755)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        folder.rmdir()
        pytest.skip("needs the right to mount a file system")
    try:
        with crm_clone.connect() as connection:
            owner = Path(connection.scalar(text("SHOW data_directory"))).stat()
        place = folder / "space"
        place.mkdir()
        os.chown(place, owner.st_uid, owner.st_gid)
        yield place
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.soak
def test_a_full_disk_is_a_typed_error_and_loses_nothing_that_was_acknowledged(crm_clone, small_disk):
    name = f"crm_small_{os.getpid()}"
    with crm_clone.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE TABLESPACE {name} LOCATION '{small_disk}'"))
        connection.execute(text(f"ALTER TABLE messages SET TABLESPACE {name}"))
    sessions = make_session_factory(crm_clone)
    acknowledged = []

    def store_until_refused() -> None:
        for number in range(1000):
            # What cannot be compressed.
            content = os.urandom(150_000).hex()
            acknowledged.append(transaction(sessions, conversations.ingest, mail(number, content)).message_id)

    with pytest.raises(DatabaseUnavailable, match="disk is full"):
        store_until_refused()
    assert acknowledged

    subprocess.run(["mount", "-o", "remount,size=96m", small_disk.parent], check=True)
    acknowledged.append(transaction(sessions, conversations.ingest, mail(1001)).message_id)

    with crm_clone.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        assert set(connection.scalars(select(Message.id))) == set(acknowledged)
        connection.execute(text("ALTER TABLE messages SET TABLESPACE pg_default"))
        connection.execute(text(f"DROP TABLESPACE {name}"))


@pytest.mark.soak
def test_without_a_free_connection_callers_get_a_typed_error_and_go_on_afterwards(crm_clone):
    role = f"crm_few_{os.getpid()}"
    with crm_clone.begin() as connection:
        connection.execute(text(f"CREATE ROLE {role} LOGIN SUPERUSER"))
        # A limit of the role holds for everybody but superusers.
        connection.execute(text(f"ALTER ROLE {role} NOSUPERUSER CONNECTION LIMIT 3"))
        connection.execute(text(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}"))
        connection.execute(text(f"GRANT EXECUTE ON FUNCTION record_identity_events TO {role}"))
    engine = make_engine(crm_clone.url.set(username=role), allow_insecure_tls=True)
    sessions = make_session_factory(engine)
    url = crm_clone.url.set(drivername="postgresql", username=role).render_as_string(hide_password=False)
    try:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(psycopg.connect(url))
            with pytest.raises(DatabaseUnavailable, match="no connection left"):
                transaction(sessions, conversations.ingest, mail(1))
        assert transaction(sessions, conversations.ingest, mail(1)).duplicate is False
    finally:
        engine.dispose()
        with crm_clone.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {role}"))
            connection.execute(text(f"DROP ROLE {role}"))


def test_order_that_matters_is_no_clocks(crm_clone):
    """As after the server's clock was set back by a day: all that was written before bears later times."""
    with Session(crm_clone) as session, bound_to(session):
        ticket_id = TicketFactory().id
        tickets.change_status(session, ticket_id, "processing", actor="human:7", comment="before")
        session.commit()
        before = caught_up(session)
        for table, column in (
            ("messages", "created_at"),
            ("tickets", "created_at"),
            ("customers", "updated_at"),
            ("change_feed", "changed_at"),
        ):
            session.execute(text(f"UPDATE {table} SET {column} = {column} + interval '1 day'"))
        session.commit()
        later = datetime.now(UTC) + timedelta(hours=23)

        tickets.change_status(session, ticket_id, "resolved", actor="human:7", comment="after")
        session.commit()

        history = tickets.status_history(session, ticket_id)
        assert [entry.comment for entry in history][-2:] == ["before", "after"]
        assert tickets.verify_history(session) == []
        assert {change.changed_at > later for change in before.changes} <= {False}
        page = caught_up(session, before.token)
        assert page.changes[-1].id == ticket_id
