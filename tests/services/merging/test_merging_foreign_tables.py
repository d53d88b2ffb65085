"""Tables of other applications that point to customers: their rows move too, or nothing does."""

from __future__ import annotations

from itertools import permutations
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.models import CustomerMergeForeignMove
from app.services import merging
from app.services.merging.rows import MOVED_TABLES
from app.testing import TicketFactory

from .foreign_tables import THREE_ORDERS, WHY, content, fill, merge, orders, people, run, unmerge

ODD = '"Kunden: 100% ""ok"" :id"'


def keyed(key: str, values: str) -> tuple[str, str, str]:
    """A table whose primary key has this type, and rows with keys of their own for each customer."""
    return (
        f"CREATE TABLE orders (number {key} PRIMARY KEY, customer_id uuid REFERENCES customers)",
        f"INSERT INTO orders SELECT {values}, :id FROM generate_series(:seed + 1, :seed + 3) AS n",
        "orders",
    )


# How a table points to customers: its definition, three rows for a customer, and how the plan calls it.
TABLES: dict[str, tuple[str, str, str]] = {
    **{
        rule or "NO ACTION": (orders(rule), THREE_ORDERS, "orders")
        for rule in [
            "",
            "ON DELETE CASCADE",
            "ON DELETE RESTRICT",
            "ON DELETE SET NULL",
            "ON DELETE SET DEFAULT",
            "DEFERRABLE INITIALLY DEFERRED",
            "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
        ]
    },
    "a foreign key that is not validated": (
        "CREATE TABLE orders (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer_id uuid, "
        "what text); ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers NOT VALID",
        THREE_ORDERS,
        "orders",
    ),
    "two foreign keys of one column": (
        orders()
        + "; ALTER TABLE orders ADD FOREIGN KEY (customer_id) REFERENCES customers ON DELETE CASCADE",
        THREE_ORDERS,
        "orders",
    ),
    "names that need quotes": (
        f"""
        CREATE SCHEMA "Büro % ""1"" :x";
        CREATE TABLE "Büro % ""1"" :x"."Order Lines % :y" (
            "No. %s :z" bigint, "select" text, {ODD} uuid REFERENCES customers ON DELETE CASCADE,
            PRIMARY KEY ("No. %s :z", "select")
        )
        """,
        'INSERT INTO "Büro % ""1"" :x"."Order Lines % :y" '
        "SELECT n, 'a:b', :id FROM generate_series(:seed + 1, :seed + 3) AS n",
        '"Büro % ""1"" :x"."Order Lines % :y"',
    ),
    "text": keyed("text", "'№ ' || n || ' \"%s\" :x'"),
    "uuid": keyed("uuid", "gen_random_uuid()"),
    "numeric": keyed("numeric", "n * 12345678901234567890.10"),
    "double precision": keyed("double precision", "n / 3.0::float8"),
    "timestamptz": keyed("timestamptz", "'2026-03-29 01:00:00.123456+00'::timestamptz + n * interval '1 h'"),
    "date": keyed("date", "'0044-03-15 BC'::date + n::int"),
    "bytea": keyed("bytea", "sha256(n::text::bytea)"),
    "bigint[]": keyed("bigint[]", "ARRAY[n, NULL, -n]"),
    "daterange": keyed("daterange", "daterange('2026-01-01'::date + n::int, NULL)"),
    "jsonb": keyed("jsonb", "jsonb_build_object('n', n)"),
    "char": keyed("char(9)", "n::text"),
    "inet": keyed("inet", "'10.0.0.0'::inet + n"),
    "a key with the customer in it": (
        "CREATE TABLE tags (customer_id uuid REFERENCES customers ON DELETE CASCADE, tag text, "
        "PRIMARY KEY (customer_id, tag))",
        "INSERT INTO tags SELECT :id, n::text FROM generate_series(:seed + 1, :seed + 3) AS n",
        "tags",
    ),
    "a key of included columns": (
        "CREATE TABLE tags (tag bigint, customer_id uuid REFERENCES customers, PRIMARY KEY (tag) "
        "INCLUDE (customer_id))",
        "INSERT INTO tags SELECT n, :id FROM generate_series(:seed + 1, :seed + 3) AS n",
        "tags",
    ),
    "partitions by customer": (
        """
        CREATE TABLE visits (n bigint, customer_id uuid REFERENCES customers ON DELETE CASCADE,
            PRIMARY KEY (n, customer_id)) PARTITION BY HASH (customer_id);
        CREATE TABLE visits_0 PARTITION OF visits FOR VALUES WITH (MODULUS 3, REMAINDER 0);
        CREATE TABLE visits_1 PARTITION OF visits FOR VALUES WITH (MODULUS 3, REMAINDER 1);
        CREATE TABLE visits_2 PARTITION OF visits FOR VALUES WITH (MODULUS 3, REMAINDER 2)
        """,
        "INSERT INTO visits SELECT n, :id FROM generate_series(:seed + 1, :seed + 3) AS n",
        "visits",
    ),
    "a partition with a foreign key of its own": (
        """
        CREATE TABLE visits (n bigint, customer_id uuid, PRIMARY KEY (n)) PARTITION BY RANGE (n);
        CREATE TABLE visits_0 PARTITION OF visits DEFAULT;
        ALTER TABLE visits_0 ADD FOREIGN KEY (customer_id) REFERENCES customers ON DELETE CASCADE
        """,
        "INSERT INTO visits SELECT n, :id FROM generate_series(:seed + 1, :seed + 3) AS n",
        "visits_0",
    ),
    "the address, which is unique": (
        "CREATE TABLE letters (n bigint PRIMARY KEY, address varchar(255) REFERENCES customers (email) "
        "ON DELETE CASCADE)",
        "INSERT INTO letters SELECT n, (SELECT email FROM customers WHERE id = :id) "
        "FROM generate_series(:seed + 1, :seed + 3) AS n",
        "letters",
    ),
    "a column that another application added to ours": (
        "ALTER TABLE agent_metrics ADD COLUMN caller uuid REFERENCES customers ON DELETE CASCADE",
        "INSERT INTO agent_metrics (metric_type, value, caller) "
        "SELECT 'sentiment', n, :id FROM generate_series(1, 3) AS n",
        "agent_metrics",
    ),
}


shapes = pytest.mark.parametrize(("ddl", "rows", "label"), TABLES.values(), ids=TABLES)


def points_to(session: Session, label: str) -> dict[UUID, int]:
    """How many rows of the table point to whom, by id or address."""
    column = next(
        name
        for name in [*run(session, f"SELECT * FROM {label} LIMIT 0").keys()]
        if name in ("customer_id", "address", "caller", ODD[1:-1].replace('""', '"'))
    ).replace('"', '""')
    found = f"""
        SELECT c.id, count(*) FROM {label} JOIN customers AS c ON "{column}"::text IN (c.id::text, c.email)
        GROUP BY c.id
    """
    return dict(run(session, found).all())


@shapes
def test_rows_move_as_planned_and_come_back_exactly(session, ddl, rows, label):
    ana, other = people(2)
    run(session, ddl)
    fill(session, rows, ana, other)
    before = content(session)
    assert points_to(session, label) == {ana: 3, other: 3}

    plan = merging.plan_merge(session, ana, other)
    assert plan.rows == dict.fromkeys(MOVED_TABLES, 0) | {label: 3}
    assert plan.blocked == {}
    done = merging.merge(session, ana, other, fingerprint=plan.fingerprint, **WHY).id
    assert points_to(session, label) == {ana: 6}

    report = unmerge(session, done)
    assert (report.returned[label], report.stayed[label]) == (3, 0)
    assert content(session) == before
    session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["oldest first", "latest first"])
@shapes
def test_rows_of_a_chain_of_merges_come_back_in_any_order(session, ddl, rows, label, order):
    ana, other, last = people(3)
    run(session, ddl)
    fill(session, rows, ana, other, last)
    before = content(session)
    done = [merge(session, ana, other), merge(session, last, ana)]
    assert points_to(session, label) == {last: 9}
    for position in order:
        assert unmerge(session, done[position]).stayed[label] == 0
    assert content(session) == before


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_the_one_row_of_a_customer_goes_from_hand_to_hand(session, order):
    run(session, "CREATE TABLE scores (customer_id uuid PRIMARY KEY REFERENCES customers, score int)")
    first, *others = ids = people(4)
    run(session, f"INSERT INTO scores VALUES ('{first}', 7)")
    before = content(session)
    done = [merge(session, survivor, absorbed) for absorbed, survivor in zip(ids, others, strict=False)]
    assert points_to(session, "scores") == {ids[-1]: 1}
    for position in order:
        assert unmerge(session, done[position]).stayed.get("scores", 0) == 0
    assert content(session) == before


def test_the_journal_keeps_the_key_of_each_row_and_not_the_customer(session):
    run(
        session,
        "CREATE TABLE tags (tag int, customer_id uuid REFERENCES customers, n numeric, "
        "PRIMARY KEY (tag, customer_id, n))",
    )
    ana, other = people(2)
    run(session, f"INSERT INTO tags VALUES (1, '{other}', 0.10), (2, '{other}', 12345678901234567890)")
    done = merge(session, ana, other)
    moves = session.query(CustomerMergeForeignMove).order_by(CustomerMergeForeignMove.id).all()
    assert [(m.merge_id, m.schema_name, m.table_name, m.column_name) for m in moves] == [
        (done, "public", "tags", "customer_id")
    ] * 2
    assert [set(m.row_key) for m in moves] == [{"tag", "n"}] * 2
    unmerge(session, done)
    session.expire_all()
    assert all(m.returned_at for m in moves)


def test_two_columns_of_one_table_move_each_for_itself(session):
    run(
        session,
        """
        CREATE TABLE referrals (id serial PRIMARY KEY, by uuid REFERENCES customers ON DELETE CASCADE,
            whom uuid REFERENCES customers ON DELETE SET NULL)
    """,
    )
    ana, other, third = people(3)
    for by, whom in [(other, third), (third, other), (other, other), (ana, other)]:
        run(session, f"INSERT INTO referrals (by, whom) VALUES ('{by}', '{whom}')")
    before = content(session)
    assert merging.plan_merge(session, ana, other).rows["referrals"] == 5
    done = merge(session, ana, other)
    moved = run(session, "SELECT by, whom FROM referrals ORDER BY id").all()
    assert [tuple(row) for row in moved] == [(ana, third), (third, ana), (ana, ana), (ana, ana)]
    assert unmerge(session, done).returned["referrals"] == 5
    assert content(session) == before


def test_a_column_added_to_a_table_of_ours_counts_with_it(session):
    run(session, "ALTER TABLE tickets ADD COLUMN reported_by uuid REFERENCES customers ON DELETE CASCADE")
    ana, other, third = people(3)
    ticket = TicketFactory(customer_id=third).id
    TicketFactory(customer_id=other)
    run(session, f"UPDATE tickets SET reported_by = '{other}' WHERE id = '{ticket}'")
    before = content(session)
    assert merging.plan_merge(session, ana, other).rows["tickets"] == 2
    done = merge(session, ana, other)
    assert unmerge(session, done).returned["tickets"] == 2
    assert content(session) == before


def test_rows_of_inheriting_tables_have_no_foreign_key_and_stay(session):
    run(session, orders() + "; CREATE TABLE old_orders () INHERITS (orders)")
    ana, other = people(2)
    fill(session, THREE_ORDERS, other)
    run(session, f"INSERT INTO old_orders (number, customer_id) VALUES (1, '{other}')")
    before = content(session)
    assert merging.plan_merge(session, ana, other).rows["orders"] == 3
    done = merge(session, ana, other)
    assert content(session)["public.old_orders"] == before["public.old_orders"]
    unmerge(session, done)
    assert content(session) == before
