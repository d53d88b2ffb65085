"""How fast messages are imported, and how fast mere COPY puts the same rows into the same tables.

    python benchmarks/imports.py [--messages 20000] [--rounds 3] [--seed 1] [--database-url URL]

Draws a correspondence, imports it with ``bulk.import_messages`` into a database of its own, then writes the
very rows that it left by binary COPY into another one, with the same triggers and indexes, and a part of it
by ``conversations.ingest``, one after the other. The three take turns, each on empty tables; what COPY does
not do is to read, check, normalise, resolve, place and look for redeliveries. Prints messages a second.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

from _articles import WORDS, connect
from _server import roomy_server
from psycopg import Connection, sql

from app.database import make_engine, make_session_factory, transaction
from app.models import Channel
from app.schemas import Identifier, InboundMessage
from app.services import bulk, conversations
from app.testing import Databases, provision

TABLES = (
    "customers", "customer_identifiers", "identity_events", "conversations", "conversation_routes",
    "messages", "provider_messages",
)  # fmt: skip
"""What an import of messages writes, parents first; triggers write the rest."""
ONE_BY_ONE = 1000
START = datetime(2024, 1, 1, tzinfo=UTC)


def correspondence(count: int, seed: int) -> Iterator[InboundMessage]:
    """Mails of 80 words on average; a person writes five, and every second one answers an earlier one."""
    rng = random.Random(seed)
    words = WORDS.split()
    threads: dict[int, list[str]] = {}
    for number in range(count):
        person = rng.randrange(max(count // 5, 1))
        own = threads.setdefault(person, [])
        id_ = f"<{number}.{seed}@mail.example>"
        root = rng.choice(own) if own and rng.random() < 0.5 else None
        if root is None:
            own.append(id_)
        at = START + timedelta(seconds=30 * number)
        yield InboundMessage(
            channel=Channel.EMAIL,
            account="support@techcorp.example",
            provider_message_id=id_,
            sender=(Identifier(type="email", value=f"person{person}@example.com", verified=True),),
            subject=" ".join(rng.choices(words, k=5)),
            content=" ".join(rng.choices(words, k=rng.randint(20, 140))),
            thread_id=root or id_,
            references=() if root is None else (root,),
            sent_at=at,
            received_at=at + timedelta(seconds=3),
        )


def imported(url: str, messages: list[InboundMessage]) -> float:
    engine = make_engine(url)
    since = time.perf_counter()
    report = bulk.import_messages(engine, messages, archived=True)
    seconds = time.perf_counter() - since
    engine.dispose()
    assert report.new == len(messages), report
    return len(messages) / seconds


def copied(url: str, source: str, count: int) -> float:
    """Copy the rows of ``source`` into ``url``; they are read before the clock starts."""
    with connect(source) as side:
        tables = {name: _rows(side, name) for name in TABLES}
    with connect(url) as side:
        side.autocommit = False
        since = time.perf_counter()
        for name, (columns, rows) in tables.items():
            statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
                sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
            with side.cursor() as cursor, cursor.copy(statement) as writing:
                for row in rows:
                    writing.write(row)
        side.commit()
        return count / (time.perf_counter() - since)


def one_by_one(url: str, messages: list[InboundMessage]) -> float:
    engine = make_engine(url)
    sessions = make_session_factory(engine)
    since = time.perf_counter()
    for message in messages:
        transaction(sessions, conversations.ingest, message, archived=True)
    seconds = time.perf_counter() - since
    engine.dispose()
    return len(messages) / seconds


def _rows(side: Connection, table: str) -> tuple[list[str], list[bytes]]:
    """The table's columns, and its content as COPY has it: no Python between the two servers."""
    columns = [
        name
        for (name,) in side.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
            "AND NOT attisdropped AND attgenerated = '' AND attidentity = '' ORDER BY attnum",
            [table],
        )
    ]
    # A trigger tells which identifiers were attached.
    rest = sql.SQL(" WHERE event <> 'attached'" if table == "identity_events" else "")
    statement = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT (FORMAT BINARY)").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(table), rest
    )
    with side.cursor() as cursor, cursor.copy(statement) as reading:
        return columns, [bytes(block) for block in reading]


def main() -> None:
    parser = argparse.ArgumentParser(description="Messages a second: imported, by mere COPY, one by one.")
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database-url")
    options = parser.parse_args()
    messages = list(correspondence(options.messages, options.seed))
    figures: dict[str, list[float]] = {"import_messages": [], "COPY": [], "ingest": []}
    own = roomy_server() if options.database_url is None else provision("auto", url=options.database_url)
    with own as server, closing(Databases(server)) as databases:
        for _ in range(options.rounds):
            urls = [databases.clone() for _ in figures]
            figures["import_messages"].append(imported(urls[0], messages))
            figures["COPY"].append(copied(urls[1], urls[0], len(messages)))
            figures["ingest"].append(one_by_one(urls[2], messages[:ONE_BY_ONE]))
            for url in urls:
                databases.drop(url)
    print("| | messages a second | of mere COPY |\n|---|---|---|")
    mere = statistics.median(figures["COPY"])
    for name, rates in figures.items():
        rate = statistics.median(rates)
        print(f"| {name} | {rate:,.0f} | {rate / mere:.2f} |")


if __name__ == "__main__":
    main()
