"""The registry of columns that hold personal data, against the catalogue."""

from __future__ import annotations

from sqlalchemy import text

from app.services.privacy import KEPT, PERSONAL

WORDS = """
    SELECT c.relname || '.' || a.attname
    FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    JOIN pg_type AS t ON t.oid = a.atttypid
    LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
        AND c.relname <> 'alembic_version' AND a.attnum > 0 AND NOT a.attisdropped
        AND COALESCE(e.typname, t.typname) NOT IN (
            'bool', 'date', 'float4', 'float8', 'int2', 'int4', 'int8', 'interval', 'numeric', 'timestamptz',
            'uuid'
        )
"""


def registered(columns) -> set[str]:
    return {f"{table}.{column}" for table, names in columns.items() for column in names}


def test_every_column_that_can_hold_words_is_registered_once(session):
    assert set(session.scalars(text(WORDS))) == registered(PERSONAL) | registered(KEPT)
    assert registered(PERSONAL) & registered(KEPT) == set()


def test_a_new_column_is_noticed(session):
    session.execute(text("ALTER TABLE tickets ADD COLUMN nicknames text[], ADD COLUMN born date"))

    assert set(session.scalars(text(WORDS))) - registered(PERSONAL) - registered(KEPT) == {
        "tickets.nicknames"
    }
