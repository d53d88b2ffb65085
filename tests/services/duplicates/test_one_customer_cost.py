"""What is looked up for one customer's pairs: no more of it in a larger base."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, text

from app.services.duplicates.blocking import PAIRS_OF_ONE

MOST, COUNTED = 4, 40
"""Holders of a key that makes pairs, and how many are counted of one that does not."""

# A hundredth of them, of which the share does not grow, are called Bruno.
INSERT = text("""
    INSERT INTO customers (email, name, phone)
    SELECT n || '@gmail.com', CASE WHEN n % 120 < 1 THEN 'Bruno ' ELSE 'Ana ' END || md5(n\\:\\:text),
        CASE WHEN n < 2 THEN '+4915112345678' WHEN n < 3 THEN '+49 (1511) 2345678' END
    FROM generate_series(1 + CAST(:before AS integer), CAST(:after AS integer)) AS n
""")
READ = text("""
    SELECT COALESCE(idx_scan, 0), COALESCE(idx_tup_fetch, 0) FROM pg_stat_xact_user_tables
    WHERE relname = 'customers'
""")
HOLDERS = text("SELECT count(*) FROM key_holders(:key, :most)")


def read(connection: Connection) -> tuple[int, int]:
    """How often the transaction has looked customers up, and how many it read."""
    scans, rows = connection.execute(READ).one()
    return scans, rows


def grow(connection: Connection, before: int, after: int) -> None:
    connection.execute(INSERT, {"before": before, "after": after})
    connection.execute(text("ANALYZE customers"))
    # What a transaction read is counted with the next one's for up to a second, but for this.
    connection.execute(text("SELECT pg_stat_force_next_flush()"))
    connection.commit()


@pytest.fixture
def connection(crm_clone: Engine):
    with crm_clone.connect() as connection:
        yield connection


@pytest.mark.parametrize("number", [1, 120])
def test_no_more_customers_are_read_in_a_base_of_three_times_as_many(connection, number):
    rows, before = [], 0
    only = text("SELECT id FROM customers WHERE email = :email")
    for size in (5000, 15_000):
        grow(connection, before, size)
        before = size
        customer_id = connection.scalar(only, {"email": f"{number}@gmail.com"})
        connection.rollback()
        connection.execute(PAIRS_OF_ONE, {"only": customer_id, "most": MOST, "unseen": 0}).all()
        rows.append(read(connection)[1])
        connection.rollback()
    assert rows[1] <= rows[0] + MOST


def test_a_key_that_analyze_saw_with_many_is_not_looked_up(connection):
    """The index would be read to the end of it, however few are taken."""
    grow(connection, 0, 5000)
    assert connection.scalar(HOLDERS, {"key": "word ana", "most": COUNTED}) == 0
    assert read(connection) == (0, 0)
    assert connection.scalar(HOLDERS, {"key": "local 2", "most": COUNTED}) == 0


def test_a_key_of_few_is_looked_up_before_the_first_analyze_and_after(connection):
    connection.execute(INSERT, {"before": 0, "after": 5000})
    key = {"key": "number 4915112345678", "most": COUNTED}
    before = connection.scalar(HOLDERS, key)
    connection.execute(text("ANALYZE customers"))
    assert (before, connection.scalar(HOLDERS, key)) == (2, 2)


def test_beyond_what_is_counted_it_is_as_many_as_analyze_saw(connection):
    grow(connection, 0, 12_000)
    likely = text("SELECT likely_key_holders(:key)")
    assert connection.scalar(likely, {"key": "word bruno"}) == pytest.approx(100, rel=0.3)
    assert connection.scalar(likely, {"key": "word ana"}) > 11_000


def test_it_is_asked_in_a_transaction_that_only_reads(connection):
    """The function that asks the planner is volatile, and writes nothing."""
    grow(connection, 0, 5000)
    connection.execute(text("SET TRANSACTION READ ONLY"))
    only = connection.scalar(text("SELECT id FROM customers WHERE email = '120@gmail.com'"))
    assert connection.execute(PAIRS_OF_ONE, {"only": only, "most": MOST, "unseen": 0}).all() == []
