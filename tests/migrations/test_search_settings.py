"""Revision 0011: what the database sets for its sessions, and that the plain query of others gains by it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import make_url

from app import migrations

OURS = {"random_page_cost": "1.1", "hnsw.iterative_scan": "strict_order"}
SETTINGS = """
    SELECT COALESCE(jsonb_object_agg(split_part(made, '=', 1), split_part(made, '=', 2)), '{}')
    FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS made
    WHERE d.datname = current_database() AND s.setrole = 0
"""
PLAIN = """
    SELECT id, title, content, category, 1 - (embedding <=> $1::vector) AS similarity
    FROM knowledge_base WHERE is_active = TRUE ORDER BY embedding <=> $1::vector LIMIT {limit}
"""
# `n` makes each of them another one.
ARTICLES = """
    INSERT INTO knowledge_base (title, content, category, embedding)
    SELECT 'Article ' || n, {body}, 'faq', at.spread::vector
    FROM generate_series(1, {rows}) AS n, LATERAL (
        SELECT array_agg(CASE WHEN i <= 12 THEN random() - 0.5 ELSE 0 END + n * 0) AS spread
        FROM generate_series(1, 1536) AS i
    ) AS at
"""
SHORT, LONG = "'Text'", "(SELECT string_agg(md5((n * i)::text), ' ') FROM generate_series(1, 150) AS i)"


def settings(server, url: str) -> dict[str, str]:
    return server.one(url, SETTINGS)


def name(url: str) -> str:
    return make_url(url).database or ""


def test_new_sessions_have_both_settings(server):
    url = server.at("head")
    assert settings(server, url) == OURS
    # Known from the first statement on, before anything has loaded the extension.
    assert {setting: server.one(url, f"SHOW {setting}") for setting in OURS} == OURS


def test_the_step_before_sets_nothing_and_going_back_takes_both_away(server):
    url = server.at("0010")
    assert settings(server, url) == {}
    migrations.upgrade(url, "0011")
    assert settings(server, url) == OURS
    migrations.downgrade(url, "0010")
    assert settings(server, url) == {}


@pytest.mark.parametrize(
    ("setting", "value"),
    [("random_page_cost", "2"), ("hnsw.iterative_scan", "relaxed_order"), ("hnsw.iterative_scan", "off")],
)
def test_somebody_s_own_setting_stays_both_ways(server, setting, value):
    url = server.at("0010")
    own = {setting: value, "work_mem": "7MB"}
    for parameter, chosen in own.items():
        server.ask(url, f"ALTER DATABASE {name(url)} SET {parameter} = '{chosen}'")
    migrations.upgrade(url, "0011")
    assert settings(server, url) == OURS | own
    migrations.downgrade(url, "0010")
    assert settings(server, url) == own


def test_a_setting_that_was_changed_since_is_not_taken_back(server):
    url = server.at("head")
    server.ask(url, f"ALTER DATABASE {name(url)} SET random_page_cost = 1.5")
    migrations.downgrade(url, "0010")
    assert settings(server, url) == {"random_page_cost": "1.5"}


def test_the_setting_of_a_role_or_of_another_database_is_no_setting_of_this_one(server):
    url, other = server.at("0010"), server.at("0010")
    server.ask(other, f"ALTER DATABASE {name(other)} SET random_page_cost = 3")
    server.ask(url, f"ALTER ROLE CURRENT_USER IN DATABASE {name(url)} SET random_page_cost = 3")
    migrations.upgrade(url, "0011")
    assert settings(server, url) == OURS
    assert settings(server, other) == {"random_page_cost": "3"}


def test_a_name_that_needs_quotes_is_quoted(server):
    url = server.at("0010")
    odd = f'{name(url)} "x"'
    with psycopg.connect(
        make_url(server.databases.server_url).set(drivername="postgresql").render_as_string(False),
        autocommit=True,
    ) as admin:
        admin.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*map(sql.Identifier, (name(url), odd)))
        )
        renamed = make_url(url).set(database=odd).render_as_string(False)
        migrations.upgrade(renamed, "0011")
        found = settings(server, renamed)
        admin.execute(
            sql.SQL("ALTER DATABASE {} RENAME TO {}").format(*map(sql.Identifier, (odd, name(url))))
        )
    assert found == OURS


@pytest.fixture
def tenant(server) -> Iterator[tuple[str, str]]:
    """A database at 0010 whose tables belong to a role that does not own the database; URLs of both."""
    url, role = server.at("0010"), f"crm_tenant_{secrets.token_hex(4)}"
    password = make_url(url).password
    server.ask(url, f"CREATE ROLE {role} LOGIN" + (f" PASSWORD '{password}'" if password else ""))
    server.ask(url, f"""
        GRANT CREATE ON SCHEMA public TO {role};
        DO $$
        DECLARE object record;
        BEGIN
            FOR object IN SELECT format('%I', relname) AS name FROM pg_class
                WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') ORDER BY relkind DESC
            LOOP
                EXECUTE 'ALTER TABLE ' || object.name || ' OWNER TO {role}';
            END LOOP;
        END $$
    """)  # fmt: skip
    yield url, make_url(url).set(username=role).render_as_string(False)
    server.ask(url, f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


def test_whoever_restores_a_database_sets_them_with_one_statement(server):
    url = server.at("head")
    for parameter in OURS:
        server.ask(url, f"ALTER DATABASE {name(url)} RESET {parameter}")
    server.ask(url, f"ALTER DATABASE {name(url)} SET random_page_cost = 2")
    assert server.ask(url, "SELECT * FROM search_settings()") == [
        ("random_page_cost", "1.1", "2"),
        ("hnsw.iterative_scan", "strict_order", None),
    ]

    server.ask(url, "SELECT set_search_settings()")

    assert settings(server, url) == OURS | {"random_page_cost": "2"}


def test_who_does_not_own_the_database_migrates_all_the_same_and_is_told(server, tenant):
    url, theirs = tenant
    migrations.upgrade(theirs, "0011")
    assert (migrations.current(url), settings(server, url)) == ("0011", {})
    script = ScriptDirectory.from_config(migrations.alembic_config()).get_revision("0011").module
    address = make_url(theirs).set(drivername="postgresql").render_as_string(False)
    told: list[str] = []
    with psycopg.connect(address) as connection:
        connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        connection.execute(script.SET_SETTINGS)
        connection.rollback()
    assert told == ["only its owner may change settings of this database; searches in plain SQL may be slow"]

    migrations.downgrade(theirs, "0010")
    assert migrations.current(url) == "0010"


@pytest.mark.parametrize("rows", [2_000, pytest.param(6_000, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    "body", [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.soak)]
)
def test_the_plain_query_of_other_backends_uses_the_index(server, body, rows):
    url = server.at("head")
    index = server.one(url, "SELECT pg_get_indexdef('idx_knowledge_base_embedding'::regclass)")
    server.ask(url, f"""
        DROP INDEX idx_knowledge_base_embedding; DELETE FROM knowledge_base;
        {ARTICLES.format(rows=rows, body=body)}; SET LOCAL maintenance_work_mem = '256MB'; {index}
    """.replace("::vector", r"\:\:vector"))  # fmt: skip
    address = make_url(url).set(drivername="postgresql").render_as_string(False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE knowledge_base")

    assert uses_the_index(address, limit=5)
    assert uses_the_index(address, limit=rows // 50)
    # The setting is what does it for the longer page.
    server.ask(url, f"ALTER DATABASE {name(url)} SET random_page_cost = 4")
    assert not uses_the_index(address, limit=rows // 50)


def uses_the_index(address: str, *, limit: int) -> bool:
    """Asked as asyncpg asks it: a parameter, and a plan that knows its value or does not."""
    plans = []
    with psycopg.connect(address, autocommit=True) as connection:
        for mode in ("force_custom_plan", "force_generic_plan"):
            connection.execute(f"SET plan_cache_mode = {mode}")
            connection.execute(f"PREPARE plain_{mode} (text) AS {PLAIN.format(limit=limit)}")
            point = str([0.5] * 12 + [0.0] * 1524)
            shown = connection.execute(f"EXPLAIN EXECUTE plain_{mode} ('{point}')").fetchall()
            plans.append(
                "Index Scan using idx_knowledge_base_embedding" in "\n".join(line for (line,) in shown)
            )
    assert len(set(plans)) == 1
    return plans[0]
