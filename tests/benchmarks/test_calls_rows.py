"""The contenders do the same work: the same rows in every table, and the same answers, or a note says so."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import closing

import psycopg
import pytest

from app.database import normalize_url

pytestmark = pytest.mark.soak
MESSAGES, ARTICLES = 2_000, 60
WRITES = [
    "resolve_new",
    "ingest_known",
    "ingest_new",
    "open_ticket",
    "change_status",
    "assign",
    "reply",
    "record",
    "merge_10",
]
READS = ["find", "resolve_known", "history", "channel_metrics", "list_tickets", "lifecycle", "search_2000"]
OTHERS = ["ours_async", "handwritten", "seed_way", "plain_orm"]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.0-9]*(?:\+00:00|Z)?")
HASH = re.compile(r"\\\\x[0-9a-f]{64}")
COUNTED = re.compile(r'"(seq|transaction_id)": \d+')


def snapshot(url: str) -> dict[str, Counter[str]]:
    """Every row of every table, as the text of its JSON."""
    with psycopg.connect(
        normalize_url(url).set(drivername="postgresql").render_as_string(False)
    ) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        ]
        return {
            table: Counter(
                row for (row,) in connection.execute(f"SELECT to_jsonb(t)::text FROM {table} AS t")
            )
            for table in tables
        }


class Masks:
    """Hides what no two databases have alike: counters, and ids, times and hashes that are new."""

    def __init__(self, base: dict[str, Counter[str]]) -> None:
        self.old = {
            text
            for rows in base.values()
            for row in rows
            for kind in (UUID, TIME, HASH)
            for text in kind.findall(row)
        }

    def __call__(self, row: str) -> str:
        for kind, name in ((UUID, "new id"), (TIME, "new time"), (HASH, "new hash")):
            row = kind.sub(lambda match, name=name: match[0] if match[0] in self.old else name, row)
        return COUNTED.sub(r'"\1": 0', row)

    def changes(
        self, before: dict[str, Counter[str]], after: dict[str, Counter[str]]
    ) -> dict[str, Counter[str]]:
        changed = {}
        for table, rows in after.items():
            lines = Counter(f"+ {self(row)}" for row in (rows - before[table]).elements())
            lines.update(f"- {self(row)}" for row in (before[table] - rows).elements())
            if lines:
                changed[table] = lines
        return changed


@pytest.fixture(scope="module")
def operations(benchmark):
    module = benchmark("calls.operations")
    return {operation.key: operation for operation in (*module.EVERYDAY, *module.MERGES)}


@pytest.fixture(scope="module")
def contenders(benchmark):
    return benchmark("calls.contenders").BY_KEY


@pytest.fixture(scope="module")
def desk(benchmark, crm_databases):
    """A small base, and the calls that everybody makes on a copy of it."""
    base = benchmark("calls.base").Base(MESSAGES)
    filling, articles = benchmark("calls.fill"), benchmark("_articles")
    url = crm_databases.clone()
    filling.fill(url, base)
    articles.load(url, articles.Vectors(benchmark("calls.operations").ARTICLES_SEED), ARTICLES, 20)
    with closing(articles.connect(url)) as connection:
        supply = benchmark("calls.measure").Supply(
            base, 3, lambda messages: filling.add_to_merge(connection, messages)
        )
        module = benchmark("calls.operations")
        ours = benchmark("calls.contenders").BY_KEY["ours"]
        calls = {o.key: supply.next(o, ours) for o in (*module.EVERYDAY, module.Merge)}
    yield url, calls
    crm_databases.drop(url)


@pytest.fixture(scope="module")
def results(desk, operations, contenders, crm_databases):
    """What everybody answered, and what everybody changed, by operation."""
    url, calls = desk
    base = snapshot(url)
    masks = Masks(base)
    answered, changed = {}, {}
    for key in ("ours", *OTHERS):
        copy = crm_databases.clone(url)
        loop = asyncio.new_event_loop()
        (client,) = contenders[key].connect(copy, loop, 1)
        answers, changes, before = {}, {}, base
        for name in (*READS, *WRITES):
            method = client.method(operations[name])
            result = method(calls[name])
            if contenders[key].asynchronous:
                result = loop.run_until_complete(result)
            answers[name] = result
            after = snapshot(copy)
            changes[name] = masks.changes(before, after)
            before = after
        client.close()
        loop.close()
        crm_databases.drop(copy)
        answered[key], changed[key] = answers, changes
    return answered, changed


@pytest.mark.parametrize("name", WRITES)
def test_ours_writes_rows_and_the_others_the_same_ones_where_no_note_names_the_table(
    name, results, operations, contenders
):
    _, changed = results
    ours = changed["ours"][name]
    assert ours
    for key in OTHERS:
        theirs = changed[key][name]
        different = {table for table in ours.keys() | theirs.keys() if ours.get(table) != theirs.get(table)}
        note = contenders[key].differs.get(operations[name].work)
        assert different == (set(note.tables) if note else set()), key


@pytest.mark.parametrize("name", READS)
def test_reads_change_nothing(name, results):
    _, changed = results
    assert [key for key, changes in changed.items() if changes[name]] == []


def id_of(row):
    """The id in what any contender calls a row: a result, an entity, a record or a tuple of these."""
    if hasattr(row, "customer_id") and hasattr(row, "outcome"):
        return row.customer_id
    if hasattr(row, "id"):
        return row.id
    if hasattr(row, "keys"):
        return row["id"]
    return id_of(row[0]) if hasattr(row[0], "id") else row[0]


def page_of(result):
    return [id_of(row) for row in getattr(result, "items", result)]


@pytest.mark.parametrize("name", ["find", "resolve_known"])
def test_everybody_finds_the_same_customer(name, results):
    answered, _ = results
    assert len({id_of(answers[name]) for answers in answered.values()}) == 1


@pytest.mark.parametrize("name", ["history", "list_tickets", "search_2000"])
def test_everybody_reads_the_same_page(name, results):
    answered, _ = results
    ours = page_of(answered["ours"][name])
    assert len(ours) >= 4
    for key, answers in answered.items():
        assert page_of(answers[name]) == ours, key


def test_everybody_reads_the_same_metrics(results):
    answered, _ = results

    def figures(row):
        values = list(row.values()) if hasattr(row, "values") else list(row)
        return [None if value is None else float(value) for value in values[1:]]

    ours = [figures(row.model_dump()) for row in answered["ours"]["channel_metrics"]]
    assert any(any(row) for row in ours)
    for key in OTHERS[1:]:
        theirs = sorted((figures(row) for row in answered[key]["channel_metrics"]), key=str)
        assert [pytest.approx(row) for row in sorted(ours, key=str)] == theirs, key


def test_everybody_reads_the_same_lifecycle(results):
    answered, _ = results
    ours = answered["ours"]["lifecycle"]
    hand, seed, orm = (answered[key]["lifecycle"] for key in ("handwritten", "seed_way", "plain_orm"))
    facts = (ours.ticket_id, ours.reopens, ours.first_response_at)
    assert ours.reopens or len(ours.time_in) == 6
    assert (hand[0], hand[4], hand[13]) == facts
    assert (seed[0]["id"], seed[3], seed[1]) == facts
    assert (orm[0].id, orm[3], orm[1]) == facts


def test_every_note_is_about_an_operation(operations, contenders):
    works = {operation.work for operation in operations.values()}
    for contender in contenders.values():
        assert set(contender.differs) <= works
