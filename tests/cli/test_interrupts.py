"""Ctrl-C, as a terminal sends it: what a command was at is not stored, and it goes on where it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.orm import Session

from app import migrations
from app.database import make_engine
from app.models import Customer, Message, ObjectType
from app.services import indexing
from app.testing import ConversationFactory, Databases, MessageFactory, bound_to

pytestmark = pytest.mark.soak

Run = Callable[..., Any]
ROWS, MESSAGES = 3_000, 600


def url_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


@contextmanager
def started(environment: dict[str, str], url: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        env=environment | {"DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background would pass on that it ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def interrupted(process: subprocess.Popen[str], is_at_work: Callable[[], object]) -> None:
    """Ctrl-C once it is at work; it ends in order and says nothing of its insides."""
    deadline = time.monotonic() + 60
    while not is_at_work():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert all(line.startswith("crm: ") for line in err.splitlines()), err


def count(engine: Engine, statement: Any) -> int:
    with engine.connect() as connection:
        return connection.execute(statement).scalar_one()


def is_waiting_for_a_lock(engine: Engine) -> bool:
    waiting = text("""
        SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
    """)
    return count(engine, waiting) > 0


def test_an_import_goes_on_where_it_was(
    crm: Run, environment: dict[str, str], crm_clone: Engine, tmp_path: Path
) -> None:
    file = tmp_path / "people.jsonl"
    file.write_text(
        "".join(json.dumps({"email": f"person{n}@example.com", "name": "P"}) + "\n" for n in range(ROWS))
    )
    people = select(func.count()).select_from(Customer)

    with started(environment, url_of(crm_clone), "import", str(file)) as process:
        interrupted(process, lambda: count(crm_clone, people))
    stored = count(crm_clone, people)
    again = crm("import", str(file), "--json", DATABASE_URL=url_of(crm_clone))

    report = json.loads(again.out)["report"]
    assert 0 < stored < ROWS
    assert (report["new"], report["already_there"]) == (ROWS - stored, stored)
    assert count(crm_clone, people) == ROWS


def test_embedding_goes_on_where_it_was(crm: Run, environment: dict[str, str], crm_clone: Engine) -> None:
    with Session(crm_clone) as session, bound_to(session):
        conversation = ConversationFactory()
        template = MessageFactory(conversation=conversation)
        session.execute(
            text("""
            INSERT INTO messages (conversation_id, customer_id, channel, direction, role, content)
            SELECT conversation_id, customer_id, channel, direction, role, 'question ' || n
            FROM messages CROSS JOIN generate_series(1, :rows) AS n WHERE id = :id
            """),
            {"rows": MESSAGES, "id": template.id},
        )
        session.commit()

    def embedded() -> int:
        with Session(crm_clone) as session:
            (status,) = (
                one for one in indexing.embedding_status(session) if one.object_type is ObjectType.MESSAGE
            )
        return status.current

    with started(environment, url_of(crm_clone), "knowledge", "embed", "--only", "message") as process:
        interrupted(process, embedded)
    done = embedded()
    again = crm("knowledge", "embed", "--only", "message", "--json", DATABASE_URL=url_of(crm_clone))

    assert 0 < done < MESSAGES
    assert json.loads(again.out)["embedded"] == {"messages": MESSAGES + 1 - done}
    assert embedded() == MESSAGES + 1


def test_a_reply_that_was_not_finished_is_not_there(environment: dict[str, str], crm_clone: Engine) -> None:
    with Session(crm_clone) as session, bound_to(session):
        conversation_id = ConversationFactory().id
        session.commit()

    with crm_clone.connect() as other:
        other.execute(text("SELECT FROM conversations WHERE id = :id FOR UPDATE"), {"id": conversation_id})
        with started(environment, url_of(crm_clone), "reply", str(conversation_id), "Hello.") as process:
            interrupted(process, lambda: is_waiting_for_a_lock(crm_clone))

    assert count(crm_clone, select(func.count()).select_from(Message)) == 0


def test_a_migration_stays_at_the_last_whole_revision_and_goes_on(
    crm: Run, environment: dict[str, str], crm_databases: Databases
) -> None:
    url = crm_databases.empty()
    engine = make_engine(url)
    try:
        migrations.upgrade(engine, "+1")
        with engine.connect() as writer:
            # A writer whose transaction is open keeps the next revisions from this table.
            writer.execute(text("LOCK TABLE tickets IN ROW EXCLUSIVE MODE"))
            with started(environment, url, "db", "upgrade") as process:
                interrupted(process, lambda: is_waiting_for_a_lock(engine))
        stopped_at = migrations.current(engine)
        again = crm("db", "upgrade", DATABASE_URL=url)

        assert stopped_at not in (None, migrations.head())
        assert again.code == 0, again.err
        # An index that was being built beside its writers is built anew.
        assert count(engine, text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")) == 0
        migrations.check(engine)
    finally:
        engine.dispose()
        crm_databases.drop(url)
