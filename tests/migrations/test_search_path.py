"""Whatever the client's search_path is: triggers and functions work, and on our tables."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from app import migrations

PINNED = "search_path=pg_catalog, public, pg_temp"
# They name built-ins only, or ours by their schema, and are inlined for speed.
FREE = {
    "address_keys",
    "article_hash",
    "folded_text",
    "is_plain_actor",
    "plain_address",
    "plain_company",
    "bare_text",
    "record_words_hash",
    "text_words",
    "ticket_field_change_hash",
    "ticket_status_change_hash",
    "ticket_transition_allowed",
}
# Another application's schema, with names of ours and wrong answers.
STRANGER = """
    CREATE SCHEMA stranger;
    CREATE TABLE stranger.customers (id uuid);
    CREATE TABLE stranger.tickets (id uuid, conversation_id uuid);
    CREATE TABLE stranger.messages (id uuid);
    CREATE TABLE stranger.knowledge_base (id uuid);
    CREATE TABLE stranger.customer_redirects (absorbed_id uuid, customer_id uuid);
    CREATE TABLE stranger.ticket_record_heads (ticket_id uuid, status_hash bytea, field_hash bytea);
    CREATE SEQUENCE stranger.ticket_number_seq START 700;
    CREATE TEXT SEARCH CONFIGURATION stranger.crm (COPY = pg_catalog.german);
    CREATE FUNCTION stranger.ticket_transition_allowed(text, text) RETURNS boolean
        LANGUAGE sql RETURN true;
    CREATE FUNCTION stranger.ticket_actor() RETURNS text LANGUAGE sql RETURN 'human:nobody';
    CREATE FUNCTION stranger.search_conditions(text, jsonb) RETURNS text LANGUAGE sql RETURN 'false';
    CREATE FUNCTION stranger.sha256(bytea) RETURNS bytea LANGUAGE sql RETURN '\\x00'::bytea;
"""
ADA, BOB = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
ROWS = f"""
    INSERT INTO customers (id, email) VALUES ('{ADA}', 'ada@example.com');
    INSERT INTO customer_merges (id, survivor_id, absorbed_id, actor, reason, absorbed)
        VALUES ('{ADA}', '{ADA}', '{BOB}', 'human:7', 'the same', '{{}}');
    INSERT INTO customer_redirects (absorbed_id, customer_id, merge_id) VALUES ('{BOB}', '{ADA}', '{ADA}');
    DELETE FROM knowledge_base;
    INSERT INTO knowledge_base (title, content, category, embedding)
        VALUES ('Running costs', 'Invoices', 'billing', array_fill(1, ARRAY[1536])::vector);
"""
# As a client writes it who names every schema; each line's answer, or nothing.
WORK = [
    f"INSERT INTO public.conversations (id, customer_id, channel) VALUES ('{ADA}', '{BOB}', 'email')",
    f"""
    INSERT INTO public.messages (conversation_id, customer_id, channel, direction, role, content)
    VALUES ('{ADA}', '{BOB}', 'email', 'inbound', 'customer', 'It runs')
    """,
    f"""
    INSERT INTO public.tickets (conversation_id, customer_id, subject, category, source_channel)
    VALUES ('{ADA}', '{BOB}', 'Help', 'billing', 'email')
    RETURNING ticket_number, customer_id::text
    """,
    """
    INSERT INTO public.ticket_embeddings (ticket_id, model, dimensions, content_hash, messages)
    SELECT id, 'letters', 26, '', 1 FROM public.tickets
    """,
    "SELECT public.ticket_text(id) FROM public.tickets",
    "UPDATE public.tickets SET status = 'processing', assigned_to = 'human:7' RETURNING status",
    "UPDATE public.tickets SET subject = 'Help!' RETURNING updated_at >= created_at",
    "UPDATE public.messages SET content = 'It runs and runs'",
    "SELECT count(*) FROM public.ticket_embeddings",
    """
    SELECT new_status, changed_by = 'db:' || session_user, public.ticket_status_change_hash(e) = hash
    FROM public.ticket_status_changes e ORDER BY seq
    """,
    "SELECT field, public.ticket_field_change_hash(e) = hash FROM public.ticket_field_changes e",
    f"""
    SELECT public.record_identity_events(
        '[{{"customer_id": "{ADA}", "event": "created", "actor": "human:7"}}]'
    )::text
    """,
    "SELECT title FROM public.search_knowledge_base(pg_catalog.array_fill(1, ARRAY[1536])::public.vector, 5)",
    """
    SELECT hit.text_rank, hit.vector_rank FROM public.search_objects('knowledge',
        pg_catalog.array_fill(1, ARRAY[1536])::public.vector, 'run', 5, '{"category": "billing"}') AS hit
    """,
    "SELECT count(*) FROM public.search_words('message', 'run', 5, '')",
    "SELECT count(*) FROM public.search_objects('message', NULL, 'running')",
    "SELECT count(*) FROM public.search_objects('ticket', NULL, 'running')",
]
ANSWERS = [
    [],
    [],
    [("TKT-0001", ADA)],
    [],
    [("Help\nIt runs",)],
    [("processing",)],
    [(True,)],
    [],
    [(0,)],
    [("open", True, True), ("processing", True, True)],
    [("assigned_to", True)],
    [("",)],
    [("Running costs",)],
    [(1, 1)],
    [(1,)],
    [(1,)],
    [(1,)],
]
REFUSED = [
    ("UPDATE public.tickets SET status = 'waiting'", "a ticket cannot go from closed to waiting"),
    ("UPDATE public.ticket_status_changes SET comment = ''", "is written by triggers only"),
    ("DELETE FROM public.identity_events", "is written by triggers only"),
]
PATHS = ["''", "pg_catalog", "stranger", "stranger, public", "pg_temp, stranger, public"]


@pytest.fixture
def database(server):
    url = server.at("head")
    server.execute(url, STRANGER + ROWS)
    return url


def test_every_function_pins_its_search_path_or_needs_none(server):
    functions = server.ask(
        server.as_migrated("head"),
        """
        SELECT p.proname, COALESCE(p.proconfig, '{}') FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
        """,
    )
    assert {name for name, settings in functions if PINNED not in settings} == FREE
    assert {name for name, _ in functions} == migrations.own_functions()


@pytest.mark.parametrize("path", ["public", *PATHS])
def test_plain_sql_works_under_any_search_path(server, database, path):
    name = server.one(database, "SELECT current_database()")
    server.ask(database, f"ALTER DATABASE {name} SET search_path = {path}")

    answers = [[tuple(row) for row in server.ask(database, step.replace("::", r"\:\:"))] for step in WORK]

    assert answers == ANSWERS


@pytest.mark.parametrize("path", ["public", *PATHS])
@pytest.mark.parametrize(("statement", "message"), REFUSED)
def test_what_is_refused_is_refused_under_any_search_path(server, database, statement, message, path):
    server.ask(
        database,
        f"""
        INSERT INTO tickets (customer_id, subject, category, source_channel, status)
        VALUES ('{ADA}', 'Help', 'billing', 'email', 'closed')
        """,
    )
    with pytest.raises(AssertionError, match=message):
        server.execute(database, f"SET search_path = {path}; {statement}")


def test_vectors_may_live_in_a_schema_of_their_own(server):
    url = server.empty()
    name = make_url(url).database
    server.execute(
        url,
        f"""
        CREATE SCHEMA extensions;
        CREATE EXTENSION vector SCHEMA extensions;
        ALTER DATABASE {name} SET search_path = public, extensions;
        """,
    )
    migrations.upgrade(url)
    server.execute(url, ROWS)
    server.ask(url, f"ALTER DATABASE {name} SET search_path = ''")

    searches = [step.replace("public.vector", "extensions.vector") for step in WORK if "search_" in step]

    answers = [[tuple(row) for row in server.ask(url, step.replace("::", r"\:\:"))] for step in searches]
    assert answers == [[("Running costs",)], [(1, 1)], [(0,)], [(0,)], [(0,)]]
