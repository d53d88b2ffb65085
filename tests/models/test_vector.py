"""Vectors travel in binary, both ways, whoever made the engine; the database refuses what is none."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from array import array
from collections import UserList
from collections.abc import Iterator

import pytest
from pgvector.sqlalchemy import HALFVEC, VECTOR
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    Table,
    Uuid,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import psycopg2
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, undefer
from sqlalchemy.pool import NullPool

from app.database import make_async_engine
from app.models import KnowledgeBaseEntry, MessageEmbedding, uuid7
from app.models.vector import HalfVector, Vector
from app.testing import KnowledgeBaseEntryFactory, MessageEmbeddingFactory, MessageFactory

TYPES = [pytest.param(Vector, id="vector"), pytest.param(HalfVector, id="halfvec")]
EXACT = [1.0, -0.5, 0.25]
BODY = {"title": "Refunds", "content": "Ask us.", "category": "billing"}


def point(*values: float) -> list[float]:
    return [*values, *[0.0] * (1536 - len(values))]


@pytest.fixture
def connection(crm_engine: Engine) -> Iterator[Connection]:
    with crm_engine.connect() as connection:
        yield connection
        connection.rollback()


def table_of(connection: Connection, kind: type) -> Table:
    """A table of this transaction alone, with a vector of three dimensions."""
    table = Table(
        "points",
        MetaData(),
        Column("id", Uuid, primary_key=True, default=uuid7),
        Column("at", kind(3)),
        prefixes=["TEMPORARY"],
    )
    table.create(connection)
    return table


@pytest.fixture(params=TYPES)
def table(request, connection) -> Table:
    return table_of(connection, request.param)


@pytest.mark.parametrize("stored", [point(0.5, 0.5), None], ids=["vector", "NULL"])
def test_an_orm_insert_update_and_deferred_load_keep_the_vector(session, stored):
    article = KnowledgeBaseEntryFactory(embedding=stored)
    session.expire_all()
    assert "embedding" not in vars(article)
    assert article.embedding == stored

    article.embedding = point(0.25)
    session.flush()
    session.expire_all()
    assert article.embedding == point(0.25)
    article.embedding = None
    session.flush()
    assert session.scalar(select(func.num_nulls(KnowledgeBaseEntry.embedding))) == 1 or stored is None
    session.refresh(article, ["embedding"])
    assert article.embedding is None


def test_an_embedding_is_loaded_when_it_is_asked_for_and_not_before(session, queries):
    key = MessageEmbeddingFactory(embedding=point(0.5)).message_id
    session.expunge_all()
    queries.reset()
    found = session.scalars(select(MessageEmbedding).where(MessageEmbedding.message_id == key)).one()
    assert "send" not in queries.statements[-1]
    assert found.embedding == point(0.5)
    session.expunge_all()
    queries.reset()
    at_once = session.scalars(select(MessageEmbedding).options(undefer(MessageEmbedding.embedding))).one()
    assert (at_once.embedding, queries.count) == (point(0.5), 1)


def test_many_rows_go_in_at_once_with_and_without_returning(session):
    rows = [BODY | {"embedding": point(n)} for n in range(1, 8)] + [BODY | {"embedding": None}]
    returned = session.scalars(insert(KnowledgeBaseEntry).returning(KnowledgeBaseEntry.embedding), rows)
    assert sorted(returned, key=str) == sorted((row["embedding"] for row in rows), key=str)

    session.execute(insert(KnowledgeBaseEntry), rows)
    found = session.scalars(
        select(KnowledgeBaseEntry.embedding).where(KnowledgeBaseEntry.title == "Refunds")
    ).all()
    assert sorted(found, key=str) == sorted([row["embedding"] for row in rows] * 2, key=str)


def test_many_objects_are_flushed_by_one_statement(session, queries):
    message_ids = [message.id for message in MessageFactory.create_batch(5)]
    rows = [
        MessageEmbedding(
            message_id=key, model="letters", dimensions=1, content_hash=b"", embedding=point(n + 1)
        )
        for n, key in enumerate(message_ids)
    ]
    queries.reset()
    session.add_all(rows)
    session.flush()
    assert queries.count == 1, queries
    session.expire_all()
    assert [row.embedding for row in rows] == [point(n + 1) for n in range(5)]


def test_rows_keep_their_vectors_in_core_too(connection, table):
    keys = [uuid7() for _ in range(3)]
    connection.execute(insert(table), [{"id": key, "at": EXACT} for key in keys])
    changed = update(table).where(table.c.id == bindparam("key")).values(at=bindparam("to"))
    connection.execute(changed, [{"key": keys[0], "to": [1, 2, 3]}, {"key": keys[1], "to": None}])

    found = {row.id: row.at for row in connection.execute(select(table))}

    assert found == {keys[0]: [1.0, 2.0, 3.0], keys[1]: None, keys[2]: EXACT}
    assert connection.scalar(update(table).values(at=[3, 2, 1]).returning(table.c.at)) == [3.0, 2.0, 1.0]


def test_a_column_may_be_selected_from_wherever_it_is(connection, table):
    connection.execute(insert(table).values(at=EXACT))
    inner = select(table.c.at).subquery()
    asked = [
        select(inner),
        union_all(select(table.c.at), select(table.c.at).where(text("false"))),
        select(func.coalesce(inner.c.at, type_=table.c.at.type)),
        select(literal(EXACT, table.c.at.type)),
    ]
    assert [connection.scalar(one) for one in asked] == [EXACT] * 4
    copied = insert(table).from_select(["id", "at"], select(func.gen_random_uuid(), table.c.at))
    connection.execute(copied)
    assert connection.scalars(select(table.c.at)).all() == [EXACT] * 2


def test_the_driver_gets_bytes_and_the_server_takes_them_for_a_vector(connection, table):
    sent = []

    @event.listens_for(connection, "before_cursor_execute")
    def keep(_connection, _cursor, statement, parameters, *_):
        sent.append((statement, parameters))

    connection.execute(insert(table).values(at=EXACT))
    assert connection.scalar(select(table.c.at)) == EXACT

    (_, parameters), (asked, _) = sent
    size = 4 + 3 * (4 if isinstance(table.c.at.type, Vector) else 2)
    bound = parameters["at"]
    assert repr(bound) == f"<vector of {size} bytes>"
    assert bound.data == connection.scalar(text(f"SELECT {table.c.at.type.send_function}(at) FROM points"))
    assert table.c.at.type.send_function in asked
    driver = connection.connection.dbapi_connection
    with driver.cursor() as cursor:
        cursor.execute("SELECT pg_typeof(%s::vector)::text", [bound] if size == 16 else ["[1]"])
        assert cursor.fetchone() == ("vector",)


def test_no_vector_is_sent_as_text(crm_engine, tmp_path):
    """As libpq traces what goes over the wire: the bytes of 0.5, and no digits of it."""
    with crm_engine.connect() as connection, (tmp_path / "wire").open("w+b") as wire:
        connection.execute(text("SELECT 1"))
        driver = connection.connection.dbapi_connection
        driver.pgconn.trace(wire.fileno())
        asked = select(func.vector_norm(literal([0.5] * 3, Vector(3))), literal([0.5] * 3, Vector(3)))
        length, back = connection.execute(asked).one()
        driver.pgconn.untrace()
        connection.rollback()
        wire.seek(0)
        traced = wire.read()
    assert (length, back) == (pytest.approx(0.75**0.5), [0.5] * 3)
    assert rb"?\x00\x00\x00?\x00\x00\x00?\x00\x00\x00" in traced
    assert b"0.5" not in traced


@pytest.mark.parametrize("kind", [Vector, HalfVector])
def test_distances_are_those_of_vectors_that_are_written_as_text(connection, kind):
    table = table_of(connection, kind)
    chance = random.Random(7)
    for _ in range(20):
        at, to = ([chance.uniform(-1, 1) for _ in range(3)] for _ in range(2))
        connection.execute(table.delete())
        connection.execute(insert(table).values(at=at))
        names = ("cosine_distance", "l2_distance", "max_inner_product", "l1_distance")
        ours = connection.execute(select(*(getattr(table.c.at, name)(to) for name in names))).one()
        written, name = str(to), table.c.at.type.send_function.removesuffix("_send")
        operators = ("<=>", "<->", "<#>", "<+>")
        parts = ", ".join(f"'{at}'::{name}(3) {op} '{written}'::{name}(3)" for op in operators)
        assert tuple(ours) == tuple(connection.execute(text(f"SELECT {parts}")).one())


def test_floats_are_rounded_as_the_database_rounds_them(connection):
    """To 32 and to 16 bits."""
    chance = random.Random(11)
    values = [chance.uniform(-1, 1) for _ in range(500)] + [1 / 3, 6e-8, -65504.0]
    for kind, name in ((Vector, "vector"), (HalfVector, "halfvec")):
        size = len(values)
        ours, theirs = connection.execute(
            select(
                literal(values, kind(size)),
                text(f"{name}_send('{values}'::{name}({size}))"),
            )
        ).one()
        assert ours == kind(size).unpack(theirs[4:])
        assert ours == pytest.approx(values, rel=1e-6 if kind is Vector else 1e-3, abs=1e-7)


class Sized:
    """What is no list and behaves like one, as an array of numpy does."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        return iter(self.values)


@pytest.mark.parametrize(
    "given",
    [
        EXACT, tuple(EXACT), array("f", EXACT), array("d", EXACT), UserList(EXACT), Sized(EXACT)
    ],
    ids=["list", "tuple", "float32", "float64", "UserList", "sized"],
)  # fmt: skip
def test_any_sequence_of_numbers_is_taken_and_stays_as_it_was(connection, table, given):
    connection.execute(insert(table).values(at=given))
    assert connection.scalar(select(table.c.at)) == EXACT == list(given)


@pytest.mark.parametrize(
    "given",
    [
        ["1", "2", "3"], ["1", 2.0, 3.0], "[1,2,3]", b"abc", bytearray(12), 1.0, [1.0, None, 2.0],
        [1.0, 2j, 3.0], [[1.0], [2.0], [3.0]], {"a": 1.0}, {1.0, 2.0, 3.0}, iter(EXACT),
        [1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [], [0.0] * 70_000, [float("nan"), 1.0, 1.0],
        [float("inf"), 1.0, 1.0], [1e39, 1.0, 1.0], [1e400, 1.0, 1.0], [10**400, 1.0, 1.0],
    ],
    ids=lambda given: str(given)[:24],
)  # fmt: skip
def test_what_is_no_vector_is_refused_and_the_transaction_can_go_on(connection, table, given):
    with pytest.raises(SQLAlchemyError), connection.begin_nested():
        connection.execute(insert(table).values(at=given))
    assert connection.scalar(select(func.count()).select_from(table)) == 0
    connection.execute(insert(table).values(at=EXACT))
    assert connection.scalar(select(table.c.at)) == EXACT


def test_an_object_with_a_bad_vector_is_refused_and_the_session_can_go_on(session):
    savepoint = session.begin_nested()
    session.add(KnowledgeBaseEntry(**BODY, embedding=[1.0, 2.0]))
    with pytest.raises(SQLAlchemyError, match="expected 1536 dimensions, not 2"):
        session.flush()
    savepoint.rollback()
    assert KnowledgeBaseEntryFactory(embedding=point(0.5)).embedding == point(0.5)


@pytest.mark.parametrize("options", [{}, {"poolclass": NullPool}], ids=["pool", "no pool"])
def test_an_engine_that_sqlalchemy_made_itself_works_too(crm_database_url, options):
    engine = create_engine(crm_database_url, **options)
    with engine.connect() as connection:
        assert connection.scalar(select(literal(EXACT, Vector(3)))) == EXACT
    engine.dispose()


def test_an_engine_and_its_connection_may_be_older_than_the_import_of_the_models(crm_database_url):
    """In a process of its own: in this one the models are imported."""
    script = """
import sys
from sqlalchemy import create_engine, literal, select, text
engine = create_engine(sys.argv[1])
with engine.connect() as connection:
    connection.execute(text("SELECT 1"))
from app.models.vector import Vector
with engine.connect() as connection:
    print(connection.scalar(select(literal([1.0, -0.5], Vector(2)))))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, crm_database_url], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[1.0, -0.5]\n", "")


def test_vectors_travel_through_an_engine_for_asyncio(crm_database_url):
    async def there_and_back() -> list[list[float] | None]:
        engine = make_async_engine(crm_database_url)
        asked = select(literal(EXACT, Vector(3)), literal(EXACT, HalfVector(3)), literal(None, Vector(3)))
        async with engine.connect() as connection:
            found = (await connection.execute(asked)).one()
        await engine.dispose()
        return list(found)

    assert asyncio.run(there_and_back()) == [EXACT, EXACT, None]


@pytest.mark.parametrize(("kind", "stock"), [(Vector, VECTOR), (HalfVector, HALFVEC)])
def test_another_driver_gets_the_text_of_pgvector(kind, stock):
    other = psycopg2.dialect()
    process = kind(3)._cached_bind_processor(other)
    assert process(EXACT) == stock(3).bind_processor(other)(EXACT) == "[1.0,-0.5,0.25]"
    assert process(None) is None


@pytest.mark.parametrize(("kind", "stock"), [(Vector, VECTOR), (HalfVector, HALFVEC)])
def test_a_vector_can_be_written_into_the_text_of_a_statement(kind, stock):
    """For Alembic's offline mode and for reading a statement."""
    compiled = select(literal(EXACT, kind(3))).compile(
        dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
    )
    assert "'[1.0,-0.5,0.25]'" in str(compiled)
    assert isinstance(kind(3), stock)
    assert kind(3).compile(postgresql.dialect()) == stock(3).compile(postgresql.dialect())


def test_values_in_an_error_are_not_shown(crm_session: Session):
    secret = [0.123456, *[0.0] * 1534]
    with pytest.raises(SQLAlchemyError) as caught, crm_session.begin_nested():
        crm_session.execute(insert(KnowledgeBaseEntry).values(**BODY, embedding=secret))
    assert "0.123456" not in str(caught.value)
