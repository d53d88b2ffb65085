"""Merges, unmerges, messages and raw inserts, at random and all at once: nothing is lost or stranded."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, sessionmaker

from app.database import transaction
from app.errors import AlreadyAbsorbed, SelfMerge
from app.models import Channel, CustomerMerge
from app.schemas import Identifier, InboundMessage, OutboundMessage
from app.services import conversations, identity, merging
from app.services.merging.rows import MOVED_TABLES
from app.testing import ConversationFactory, CustomerFactory, MessageFactory, TicketFactory, bound_to

CHECKOUT = Path(__file__).resolve().parents[2]
WHY = {"actor": "system:soak", "reason": "soak"}
TABLES = ["customer_identifiers", "conversations", "messages", "tickets"]
RAW = {
    "conversations": "INSERT INTO conversations (customer_id, channel) VALUES (:id, 'email')",
    "tickets": """
        INSERT INTO tickets (customer_id, subject, category, source_channel)
        VALUES (:id, 'Hi', 'billing', 'email')
    """,
    "customer_identifiers": """
        INSERT INTO customer_identifiers (customer_id, identifier_type, identifier_value, channel)
        VALUES (:id, 'email', gen_random_uuid() || '@example.com', 'email')
    """,
    # As another backend does: it has read whose conversation it is, and maybe long ago.
    "messages": """
        INSERT INTO messages (customer_id, conversation_id, channel, direction, role, content)
        SELECT customer_id, id, channel, 'outbound', 'agent', 'Hi' FROM conversations
        WHERE id = (SELECT id FROM conversations WHERE customer_id = :id LIMIT 1)
    """,
}
RESOLVER = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from app.database import make_engine, make_session_factory
from app.models import Channel
from app.schemas import Identifier
from app.services import identity

url, threads, people = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sessions = make_session_factory(make_engine(url, pool_size=threads))
barrier = Barrier(threads)


def keys(person, number):
    # A number is one key as a phone and as a WhatsApp id, which no unique key tells.
    type_ = ("phone", "whatsapp")[number % 2]
    return [
        Identifier(type="email", value=f"p{person}@example.com"),
        Identifier(type=type_, value=f"+49152{person:08}"),
        Identifier(type=type_, value=f"+49153{person:08}"),
    ]


def resolve(number):
    barrier.wait()
    found = []
    for person in range(people):
        same, reversed_ = (1, 2), ((1, 2), (2, 1))[number // 2 % 2]
        overlapping = ((0, 1), (1, 2), (2, 0))[number % 3]
        chosen = (same, reversed_, overlapping)[person % 3]
        with sessions.begin() as session:
            asked = [keys(person, number)[key] for key in chosen]
            found.append(str(identity.resolve(session, asked, channel=Channel.WEB_FORM).customer_id))
    return found


print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(threads) as pool:
    print(json.dumps(list(pool.map(resolve, range(threads)))))
"""


@pytest.mark.parametrize(("processes", "people"), [(2, 10), pytest.param(4, 500, marks=pytest.mark.soak)])
def test_thirty_two_resolvers_in_several_processes_make_one_customer_each(
    crm_clone, sessions, processes, people
):
    url = crm_clone.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", RESOLVER, url, str(32 // processes), str(people)]
    started = [
        subprocess.Popen(
            command,
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout.readline() == "ready\n"
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    answers = []
    for process in started:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        answers += json.loads(out)
    assert len(answers) == 32
    assert all(answer == answers[0] for answer in answers)
    assert len(set(answers[0])) == people
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM customers")) == people


Step = tuple[str, Mapping[str, int]]
"""What was done, and how many rows it added."""


def test_one_number_as_a_phone_and_as_a_whatsapp_id_at_once_is_one_customer(sessions, until_it_waits):
    def resolve(session: Session, type_: str) -> UUID:
        asked = [Identifier(type=type_, value="+4915112345678")]
        return identity.resolve(session, asked, channel=Channel.WEB_FORM).customer_id

    with sessions() as first:
        made = resolve(first, "phone")
        second = until_it_waits(lambda: transaction(sessions, resolve, "whatsapp"))
        first.commit()
        assert second.result(30) == made


class Soak:
    """Workers that do things at random, and what they know to have succeeded."""

    def __init__(self, sessions: sessionmaker[Session], people: int) -> None:
        self.sessions = sessions
        self.serial = count()
        with sessions.begin() as session, bound_to(session):
            made = [CustomerFactory(with_email=True, with_whatsapp=True) for _ in range(people)]
            for customer in made:
                MessageFactory(conversation=ConversationFactory(customer=customer))
                TicketFactory(customer=customer)
            self.ids = [customer.id for customer in made]
            self.numbers = [customer.phone for customer in made]
        self.owners = self.all_owners()
        self.before = self.counts()

    def all_owners(self) -> dict[str, dict[UUID, UUID]]:
        with self.sessions() as session:
            rows = {t: session.execute(text(f"SELECT id, customer_id FROM {t}")) for t in TABLES}
            return {table: {row.id: row.customer_id for row in found} for table, found in rows.items()}

    def counts(self) -> Counter[str]:
        return Counter({table: len(rows) for table, rows in self.all_owners().items()})

    def work(self, seed: int, seconds: float) -> tuple[Counter[str], Counter[str]]:
        """What it did, and the rows that it added."""
        chance, did = random.Random(seed), Counter[str]()
        added = Counter[str]()
        steps = [self.merge] * 3 + [self.unmerge] * 3 + [self.insert] * 4 + [self.write] * 2 + [self.reply]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            done, rows = chance.choice(steps)(chance)
            did[done] += 1
            added.update(rows)
        return did, added

    def run(self, work: Any, *arguments: Any, **options: Any) -> Any:
        return transaction(self.sessions, work, *arguments, retries=10, **options)

    def merge(self, chance: random.Random) -> Step:
        try:
            self.run(merging.merge, chance.choice(self.ids), chance.choice(self.ids), **WHY)
        except (AlreadyAbsorbed, SelfMerge) as refused:
            return type(refused).__name__, {}
        return "merged", {}

    def unmerge(self, chance: random.Random) -> Step:
        def undo(session: Session) -> Any:
            open_ = session.scalars(select(CustomerMerge.id).where(CustomerMerge.undone_at.is_(None))).all()
            return merging.unmerge(session, chance.choice(open_), **WHY) if open_ else None

        report = self.run(undo)
        assert report is None or (set(report.stayed.values()), report.undecided_fields) == ({0}, ())
        return "unmerged", {}

    def insert(self, chance: random.Random) -> Step:
        table = chance.choice(list(RAW))

        def write(session: Session) -> int:
            return session.execute(text(RAW[table]), {"id": chance.choice(self.ids)}).rowcount

        return "inserted", {table: self.run(write)}

    def write(self, chance: random.Random) -> Step:
        message = InboundMessage(
            channel=Channel.WHATSAPP,
            account="+15550000000",
            provider_message_id=f"SM{next(self.serial)}",
            sender=(Identifier(type="whatsapp", value=chance.choice(self.numbers), verified=True),),
            content="Hello",
        )
        ingested = self.run(conversations.ingest, message)
        return "ingested", {"messages": 1, "conversations": int(ingested.conversation_opened)}

    def reply(self, chance: random.Random) -> Step:
        with self.sessions() as session:
            found = select(func.min(text("id::text"))).select_from(text("conversations"))
            conversation = session.scalar(
                found.where(text("customer_id = :id")), {"id": chance.choice(self.ids)}
            )
        if conversation is None:
            return "nothing", {}
        self.run(conversations.reply, UUID(conversation), OutboundMessage(content="Hi"))
        return "replied", {"messages": 1}


def violations(session: Session) -> dict[str, int]:
    """What must be zero whatever happened, each found by its own statement."""
    checks = {
        "redirects that chain": """
            FROM customer_redirects WHERE customer_id IN (SELECT absorbed_id FROM customer_redirects)
        """,
        "absorbed customers that exist": """
            FROM customer_redirects WHERE absorbed_id IN (SELECT id FROM customers)
        """,
        "redirects of no open merge": """
            FROM customer_redirects AS r WHERE NOT EXISTS (
                SELECT FROM customer_merges AS m
                WHERE m.id = r.merge_id AND m.absorbed_id = r.absorbed_id AND m.undone_at IS NULL
            )
        """,
        "open merges without a redirect": """
            FROM customer_merges AS m WHERE undone_at IS NULL
                AND NOT EXISTS (SELECT FROM customer_redirects AS r WHERE r.merge_id = m.id)
        """,
        "undone merges without a report": """
            FROM customer_merges WHERE undone_at IS NOT NULL AND undo_report IS NULL
        """,
        "messages apart from their conversation, which no unmerge gave back": """
            FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id
            WHERE m.customer_id <> c.customer_id AND NOT EXISTS (
                SELECT FROM customer_merge_moves WHERE row_id = c.id AND returned_at IS NOT NULL
            )
        """,
    } | {
        f"{table} that a merge has to give back and its survivor does not have": f"""
            FROM customer_merge_moves AS move JOIN customer_merges AS m ON m.id = move.merge_id
            LEFT JOIN customer_redirects AS r ON r.absorbed_id = m.survivor_id
            LEFT JOIN {table} AS t ON t.{key} = move.row_id
            WHERE move.table_name = '{table}' AND move.returned_at IS NULL AND m.undone_at IS NULL
                AND t.customer_id IS DISTINCT FROM COALESCE(r.customer_id, m.survivor_id)
        """
        for table, key in MOVED_TABLES.items()
    }  # fmt: skip
    return {name: session.scalar(text(f"SELECT count(*) {check}")) for name, check in checks.items()}


@pytest.mark.parametrize("seconds", [1, pytest.param(30, marks=pytest.mark.soak)])
def test_after_a_soak_every_row_is_there_and_has_a_living_customer(sessions, at_once, seconds):
    soak = Soak(sessions, people=8)
    seed = random.randrange(2**32)
    did, added = zip(*at_once([lambda n=n: soak.work(seed + n, seconds) for n in range(8)]), strict=True)

    assert {"merged", "unmerged", "inserted", "ingested", "replied"} <= {*sum(did, Counter())}
    assert soak.counts() == soak.before + sum(added, Counter())
    with sessions() as session:
        assert not any(violations(session).values()), violations(session)
        living = set(session.scalars(text("SELECT id FROM customers")))
        absorbed = set(session.scalars(text("SELECT absorbed_id FROM customer_redirects")))
        assert (living | absorbed, living & absorbed) == (set(soak.ids), set())
        open_ = list(session.scalars(select(CustomerMerge.id).where(CustomerMerge.undone_at.is_(None))))

    # And all of it can be taken back.
    random.Random(seed).shuffle(open_)
    for merge_id in open_:
        assert set(soak.run(merging.unmerge, merge_id, **WHY).stayed.values()) == {0}
    owners = soak.all_owners()
    for table, before in soak.owners.items():
        assert {row: owners[table][row] for row in before} == before
    with sessions() as session:
        assert not any(violations(session).values())
        assert set(session.scalars(text("SELECT id FROM customers"))) == set(soak.ids)
        assert session.scalar(text("SELECT count(*) FROM customer_redirects")) == 0
