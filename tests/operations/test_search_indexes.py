"""Search indexes are rebuilt while the database is in use, are valid afterwards, and know one language."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from app.database import make_engine
from app.errors import CRMError, InvalidValue
from app.operations import search_indexes
from app.operations.search_indexes import VECTOR_INDEXES, WORD_INDEXES, reindex, set_language
from app.services import search
from app.testing import MessageFactory, bound_to

pytestmark = pytest.mark.own_connection("a build's settings are a session's")

INDEX = "message_embeddings_embedding_idx"
WORDS = "idx_messages_words"
ALL = (*VECTOR_INDEXES, *WORD_INDEXES)
VECTORS = """
INSERT INTO knowledge_base (title, content, category, embedding)
SELECT n, n, 'faq', (SELECT array_agg(random()) FROM generate_series(1, 1536) WHERE n > 0)::vector
FROM generate_series(1, 300) AS n
"""


@pytest.fixture
def engine(crm_clone: Engine) -> Iterator[Engine]:
    """With one connection, which every use gets again, and one more for a watcher."""
    engine = make_engine(crm_clone.url, pool_size=1, max_overflow=1, allow_insecure_tls=True)
    yield engine
    engine.dispose()


def ask(engine: Engine, statement: str, **values: object) -> list[object]:
    with engine.begin() as connection:
        result = connection.execute(text(statement), values)
        return list(result.scalars()) if result.returns_rows else []


def invalid(engine: Engine) -> list[object]:
    return ask(engine, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")


def definitions(engine: Engine) -> list[object]:
    return ask(engine, "SELECT indexname || indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")


def files(engine: Engine) -> dict[str, object]:
    return {
        name: ask(engine, "SELECT relfilenode FROM pg_class WHERE relname = :name", name=name) for name in ALL
    }


def spoil(engine: Engine, name: str) -> None:
    """Leave an index as an interrupted build leaves it."""
    ask(
        engine,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST(:name AS regclass)",
        name=name,
    )


def test_every_search_index_is_one_of_the_database(engine):
    assert len(ask(engine, "SELECT 1 FROM pg_indexes WHERE indexname = ANY (:names)", names=list(ALL))) == 6


def test_indexes_are_built_anew_and_are_the_same_and_valid_afterwards(engine):
    before, old = definitions(engine), files(engine)
    reindex(engine)
    now = files(engine)
    assert {name for name in ALL if now[name] != old[name]} == set(VECTOR_INDEXES)
    assert (definitions(engine), invalid(engine)) == (before, [])
    reindex(engine, ALL, memory="64MB", workers=0)
    assert all(files(engine)[name] != old[name] for name in ALL)


def test_an_index_that_is_not_valid_is_mended(engine):
    spoil(engine, INDEX)
    reindex(engine, [INDEX])
    assert invalid(engine) == []


def test_what_an_interrupted_rebuild_left_is_dropped_and_nothing_else(engine):
    before = definitions(engine)
    ask(engine, "CREATE SCHEMA other; CREATE TABLE other.message_embeddings (model text)")
    leftovers = [f"{INDEX}_ccnew", f"{INDEX}_ccnew1", f"{INDEX}_ccold"]
    others = [f"{INDEX}_ccnews", f"other.{INDEX}_ccnew"]
    for name in [*leftovers, *others, f"{INDEX}_ccold2"]:
        schema, _, short = name.rpartition(".")
        ask(engine, f"CREATE INDEX {short} ON {schema or 'public'}.message_embeddings (model)")
        if name != f"{INDEX}_ccold2":
            spoil(engine, name)

    reindex(engine, [INDEX])

    assert sorted(map(str, invalid(engine))) == others
    # A valid one is somebody's own.
    assert len(definitions(engine)) == len(before) + 2


def test_an_index_that_is_still_not_valid_after_its_build_is_an_error(engine, monkeypatch):
    monkeypatch.setattr(search_indexes, "_VALID", text("SELECT :name = ''"))
    with pytest.raises(CRMError, match=f"{INDEX} is not valid after its build"):
        reindex(engine, [INDEX])


def test_the_settings_are_those_of_the_build_alone(engine, monkeypatch):
    settings = (
        "maintenance_work_mem",
        "max_parallel_maintenance_workers",
        "min_parallel_table_scan_size",
        "statement_timeout",
        "lock_timeout",
    )
    asked = "SELECT concat_ws(' ', " + ", ".join(f"current_setting('{name}')" for name in settings) + ")"
    used: list[object] = []
    before = ask(engine, asked)

    @event.listens_for(engine, "before_cursor_execute")
    def look(connection, _cursor, statement, *_):
        if statement.startswith("REINDEX"):
            with connection.connection.dbapi_connection.cursor() as cursor:
                used.extend(cursor.execute(asked).fetchone())

    reindex(engine, [INDEX], memory="77MB", workers=1)
    monkeypatch.setattr(search_indexes, "_VALID", text("SELECT :name = ''"))
    with pytest.raises(CRMError):
        reindex(engine, [INDEX], memory="78MB")

    assert used == ["77MB 1 0 0 0", "78MB 2 0 0 0"]
    assert ask(engine, asked) == before


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout", "transaction_timeout"])
def test_no_limit_of_the_database_ends_a_build(engine, crm_clone, limit):
    if not ask(engine, "SELECT name FROM pg_settings WHERE name = :name", name=limit):
        pytest.skip("PostgreSQL has it since 17")
    ask(engine, VECTORS)
    ask(engine, f"ALTER DATABASE {engine.url.database} SET {limit} = '50ms'")
    limited = make_engine(crm_clone.url, allow_insecure_tls=True)
    reindex(limited, ["idx_knowledge_base_embedding"])
    limited.dispose()


def test_several_processes_build_the_index_of_vectors_that_are_stored_out_of_line(engine):
    ask(engine, """
        INSERT INTO knowledge_base (title, content, category, embedding)
        SELECT n::text, '', 'faq', ARRAY(SELECT random() FROM generate_series(1, 1536) WHERE n > 0)::vector
        FROM generate_series(1, 100) AS n
    """)  # fmt: skip
    told: list[str] = []
    with engine.connect() as connection:  # the one that the build will get
        raw = connection.connection.dbapi_connection
        raw.add_notice_handler(lambda notice: told.append(notice.message_primary))
        connection.execute(text("SET client_min_messages = debug1"))
        connection.commit()
    reindex(engine, ["idx_knowledge_base_embedding"], memory="128MB", workers=1)
    assert "using 1 parallel workers" in told


def test_a_build_is_watched_from_a_second_connection(engine, monkeypatch):
    monkeypatch.setattr(search_indexes, "_POLL", 0.001)
    ask(engine, """
        INSERT INTO knowledge_base (title, content, category, embedding)
        SELECT n::text, '', 'faq', ARRAY(SELECT random() FROM generate_series(1, 1536) WHERE n > 0)::vector
        FROM generate_series(1, 700) AS n
    """)  # fmt: skip
    told: list[tuple[str, int, int]] = []
    reindex(engine, ["idx_knowledge_base_embedding"], progress=lambda *one: told.append(one))
    assert told
    assert {phase.partition(":")[0] for phase, _, _ in told} == {"idx_knowledge_base_embedding"}
    assert all(0 <= done <= total for _, done, total in told)
    assert any("loading tuples" in phase and done for phase, done, _ in told)


def test_a_build_that_cannot_be_watched_goes_on_unseen(crm_clone):
    """There is no second connection."""
    engine = make_engine(crm_clone.url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    old = files(engine)
    reindex(engine, [INDEX], progress=lambda *_: None)
    assert files(engine)[INDEX] != old[INDEX]
    engine.dispose()


@pytest.mark.parametrize(
    "names",
    [["messages_pkey"], ["idx_messages_words; DROP TABLE messages"], ["IDX_MESSAGES_WORDS"], [""], "messages",
     [None], [INDEX, "x"]],
    ids=str,
)  # fmt: skip
def test_only_search_indexes_are_rebuilt(crm_engine, names):
    old = files(crm_engine)
    with pytest.raises(InvalidValue, match="there is no search index"):
        reindex(crm_engine, names)
    assert files(crm_engine) == old


@pytest.mark.parametrize(
    "bad",
    [
        *({"memory": memory} for memory in (
            "", "0MB", "1 GB", "1gb", "-1GB", "1TB", "lots", "2048GB", "999999GB", "64kB",
            "1GB; DROP TABLE messages", "1GB\n", "\u0661GB", None, 1024,
        )),
        *({"workers": workers} for workers in (-1, 65, 1.5, "2", None)),
    ],
    ids=str,
)  # fmt: skip
def test_memory_and_workers_that_make_no_sense_are_refused(crm_engine, bad):
    old = files(crm_engine)
    with pytest.raises(InvalidValue):
        reindex(crm_engine, [INDEX], **bad)
    assert files(crm_engine) == old


@pytest.mark.parametrize("memory", ["1MB", "2047GB"])
def test_the_smallest_and_the_largest_memory_are_taken(engine, memory):
    reindex(engine, [WORDS], memory=memory)


# The language of words


@pytest.fixture
def said(engine: Engine) -> None:
    with Session(engine) as session, bound_to(session):
        MessageFactory(content="As faturas foram canceladas")
        MessageFactory(content="The invoices were cancelled")
        session.commit()


def found(engine: Engine, words: str) -> set[str]:
    with Session(engine) as session:
        return {hit.content[:2] for hit in search.search_messages(session, words, mode="text")}


def test_a_language_decides_which_words_are_one(engine, said):
    assert (found(engine, "cancelling"), found(engine, "cancelar")) == ({"Th"}, set())
    set_language(engine, "portuguese")
    assert (found(engine, "cancelling"), found(engine, "cancelar")) == (set(), {"As"})
    set_language(engine, "simple")
    assert (found(engine, "cancelling"), found(engine, "cancelar")) == (set(), set())
    assert (found(engine, "INVOICES"), found(engine, "faturas")) == ({"Th"}, {"As"})
    set_language(engine, "english")
    assert found(engine, "invoicing") == {"Th"}
    assert invalid(engine) == []


def test_a_language_is_one_of_postgresql(engine, said):
    old = files(engine)
    known = ask(engine, "SELECT cfgname FROM pg_ts_config WHERE cfgname <> 'crm'")
    assert len(known) > 20
    unknown = [
        "klingon", "", "crm", "English", "pg_catalog.english", "english; DROP TABLE messages", "en\x00",
        "\ud800", "e" * 10_000, None, 3,
    ]  # fmt: skip
    for language in unknown:
        with pytest.raises(InvalidValue, match=r"must be one of arabic, .*, simple, .*, yiddish"):
            set_language(engine, language)
    assert files(engine) == old
    assert found(engine, "cancelling") == {"Th"}


@pytest.mark.soak
def test_every_language_of_postgresql_can_be_chosen(engine, said):
    for language in ask(engine, "SELECT cfgname FROM pg_ts_config WHERE cfgname <> 'crm'"):
        set_language(engine, language)
        mapped = """
            SELECT string_agg(concat_ws(' ', maptokentype, mapdict), ',' ORDER BY maptokentype, mapseqno)
            FROM pg_ts_config_map JOIN pg_ts_config c ON c.oid = mapcfg WHERE cfgname = :name
        """
        assert ask(engine, mapped, name="crm") == ask(engine, mapped, name=language), language


def test_an_engine_of_one_connection_is_enough(crm_clone):
    engine = make_engine(crm_clone.url, poolclass=StaticPool, allow_insecure_tls=True)
    reindex(engine, [WORDS])
    assert invalid(engine) == []
    engine.dispose()
