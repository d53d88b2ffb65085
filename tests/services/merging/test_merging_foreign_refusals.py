"""Where rows of other applications cannot move, nothing does; and what a plan says of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from app.errors import MergeBlocked
from app.services import merging
from app.testing import CustomerFactory

from .foreign_tables import THREE_ORDERS, WHY, content, fill, merge, orders, people, run, sql, unmerge


def journal(session: Session) -> list[Any]:
    tables = ("customer_merges", "customer_merge_moves", "customer_merge_foreign_moves", "identity_events")
    return [run(session, f"SELECT count(*) FROM {table}").scalar() for table in tables]


UPDATED = {
    "it follows": ("ON UPDATE CASCADE", None),
    "it does not": ("", "the merge changes the email that it points to, without ON UPDATE CASCADE"),
    "it is emptied": (
        "ON UPDATE SET NULL",
        "the merge changes the email that it points to, without ON UPDATE CASCADE",
    ),
}


@pytest.mark.parametrize("whose", [[0], [1], [0, 1]], ids=["survivor", "absorbed", "both"])
@pytest.mark.parametrize(("rule", "reason"), UPDATED.values(), ids=UPDATED)
def test_rows_by_an_address_that_the_merge_changes_follow_it_or_stop_it(session, rule, reason, whose):
    run(
        session, f"CREATE TABLE letters (n int PRIMARY KEY, address text REFERENCES customers (email) {rule})"
    )
    pair = CustomerFactory(email="x@placeholder.invalid").id, CustomerFactory(email="ana@example.com").id
    for position in whose:
        run(
            session,
            f"INSERT INTO letters SELECT {position}, email FROM customers WHERE id = '{pair[position]}'",
        )
    before = content(session)
    plan = merging.plan_merge(session, *pair)
    assert plan.blocked == ({"letters": reason} if reason else {})
    if reason:
        with pytest.raises(MergeBlocked):
            merge(session, *pair)
    else:
        done = merge(session, *pair)
        assert run(session, "SELECT DISTINCT address FROM letters").scalars().all() == ["ana@example.com"]
        unmerge(session, done)
    after = content(session)
    assert after["public.letters"] == before["public.letters"]


def test_an_undoing_stops_where_rows_point_to_the_address_that_it_takes_back(session):
    pair = CustomerFactory(email="x@placeholder.invalid").id, CustomerFactory(email="ana@example.com").id
    done = merge(session, *pair)
    run(session, "CREATE TABLE letters (n int PRIMARY KEY, address text REFERENCES customers (email))")
    run(session, "INSERT INTO letters VALUES (1, 'ana@example.com')")
    before = content(session), journal(session)
    with pytest.raises(MergeBlocked, match="letters: the undoing changes the email"):
        unmerge(session, done)
    assert (content(session), journal(session)) == before
    run(session, "DELETE FROM letters")
    assert unmerge(session, done).undecided_fields == ()


ONE_EACH = "INSERT INTO t (customer_id, what) VALUES ('{}', 'pen')"


# What keeps rows where they are: a definition, a row for a customer, and the reason.
BLOCKED: dict[str, tuple[str, str, str]] = {
    "no primary key": (
        "CREATE TABLE t (customer_id uuid REFERENCES customers ON DELETE CASCADE, what text)",
        ONE_EACH,
        "it has no primary key",
    ),
    "a unique key but no primary one": (
        "CREATE TABLE t (customer_id uuid REFERENCES customers, what text, n serial UNIQUE NOT NULL)",
        ONE_EACH,
        "it has no primary key",
    ),
    "several columns": (
        """
        ALTER TABLE customers ADD UNIQUE (id, email);
        CREATE TABLE t (n serial PRIMARY KEY, customer_id uuid, what varchar(255),
            FOREIGN KEY (customer_id, what) REFERENCES customers (id, email) ON DELETE CASCADE)
        """,
        "INSERT INTO t (customer_id, what) SELECT id, email FROM customers WHERE id = '{}'",
        "its foreign key has several columns",
    ),
    "a generated column": (
        """
        CREATE TABLE t (n serial PRIMARY KEY, what text,
            customer_id uuid GENERATED ALWAYS AS (what::uuid) STORED REFERENCES customers)
        """,
        "INSERT INTO t (what) VALUES ('{}')",
        "its column is generated",
    ),
    "a key of several customers": (
        """
        CREATE TABLE t (customer_id uuid REFERENCES customers, other uuid REFERENCES customers,
            PRIMARY KEY (customer_id, other))
        """,
        "INSERT INTO t SELECT '{}', id FROM customers WHERE name = 'Third'",
        "its primary key names several customers",
    ),
    "one row for each customer": (
        "CREATE TABLE t (customer_id uuid PRIMARY KEY REFERENCES customers ON DELETE CASCADE)",
        "INSERT INTO t VALUES ('{}')",
        "a unique key of it would hold the same twice",
    ),
    "a unique constraint": (
        "CREATE TABLE t (n serial PRIMARY KEY, customer_id uuid REFERENCES customers ON DELETE CASCADE, "
        "what text, UNIQUE (what, customer_id))",
        ONE_EACH,
        "a unique key of it would hold the same twice",
    ),
    "a deferred unique constraint": (
        "CREATE TABLE t (n serial PRIMARY KEY, customer_id uuid REFERENCES customers, what text, "
        "UNIQUE (what, customer_id) DEFERRABLE INITIALLY DEFERRED)",
        ONE_EACH,
        "a unique key of it would hold the same twice",
    ),
    "a unique expression": (
        "CREATE TABLE t (n serial PRIMARY KEY, customer_id uuid REFERENCES customers, what text); "
        "CREATE UNIQUE INDEX ON t (lower(what), (customer_id::text || ':%'))",
        ONE_EACH,
        "a unique key of it would hold the same twice",
    ),
    "a unique index of some rows": (
        "CREATE TABLE t (n serial PRIMARY KEY, customer_id uuid REFERENCES customers, what text); "
        "CREATE UNIQUE INDEX ON t (customer_id) WHERE what = 'pen'",
        ONE_EACH,
        "a unique key of it would hold the same twice",
    ),
    "nulls that are not distinct": (
        "CREATE TABLE t (n serial PRIMARY KEY, customer_id uuid REFERENCES customers, what text, "
        "UNIQUE NULLS NOT DISTINCT (what, customer_id))",
        "INSERT INTO t (customer_id) VALUES ('{}')",
        "a unique key of it would hold the same twice",
    ),
    "an exclusion constraint": (
        "CREATE TABLE t (n serial PRIMARY KEY, customer_id uuid REFERENCES customers, what text, "
        "EXCLUDE USING hash ((customer_id::text) WITH =))",
        ONE_EACH,
        "a unique key of it would hold the same twice",
    ),
    "a survivor that gets the value": (
        "ALTER TABLE customers ADD UNIQUE (company); "
        "CREATE TABLE t (n serial PRIMARY KEY, firm varchar(255) REFERENCES customers (company))",
        "INSERT INTO t (firm) SELECT company FROM customers WHERE id = '{}' AND company IS NOT NULL",
        "the merge changes the company that it points to, without ON UPDATE CASCADE",
    ),
    "a survivor that has no such value": (
        "ALTER TABLE customers ADD UNIQUE (company); CREATE TABLE t (n serial PRIMARY KEY, "
        "firm varchar(255) REFERENCES customers (company) ON UPDATE CASCADE ON DELETE CASCADE)",
        "INSERT INTO t (firm) SELECT company FROM customers WHERE id = '{}' AND company IS NOT NULL",
        "the survivor has no company",
    ),
}


def blocked_pair(session: Session, ddl: str) -> list[UUID]:
    CustomerFactory(name="Third")
    pair = [CustomerFactory(name="Ana").id, CustomerFactory(name="Ana", company="Acme").id]
    session.flush()
    run(session, ddl)
    return pair


@pytest.mark.parametrize(("ddl", "row", "reason"), BLOCKED.values(), ids=BLOCKED)
def test_rows_that_cannot_move_stop_the_merge_by_name_before_anything_is_done(session, ddl, row, reason):
    pair = blocked_pair(session, ddl)
    for id_ in pair:
        run(session, row.format(id_))
    before = content(session), journal(session)
    plan = merging.plan_merge(session, *pair)
    assert plan.blocked == {"t": reason}
    with pytest.raises(MergeBlocked, match=r"\(t: ") as stopped:
        merging.merge(session, *pair, fingerprint=plan.fingerprint, **WHY)
    assert stopped.value.blocked == plan.blocked
    assert (content(session), journal(session)) == before


@pytest.mark.parametrize(("ddl", "row", "reason"), BLOCKED.values(), ids=BLOCKED)
def test_such_a_table_does_not_matter_where_the_absorbed_customer_has_no_rows(session, ddl, row, reason):
    pair = blocked_pair(session, ddl)
    run(session, row.format(pair[0]))
    assert merging.plan_merge(session, *pair).blocked == {}
    unmerge(session, merge(session, *pair))


FREE = {
    "other values": (
        "UNIQUE (what, customer_id)",
        ["('{ana}', 'pen')", "('{other}', 'ink')"],
    ),
    "nulls are distinct": (
        "UNIQUE (what, customer_id)",
        ["('{ana}', NULL)", "('{other}', NULL)"],
    ),
    "rows outside the index": (
        "EXCLUDE USING btree (customer_id WITH =) WHERE (what <> 'pen')",
        ["('{ana}', 'pen')", "('{other}', 'ink')"],
    ),
}


@pytest.mark.parametrize(("constraint", "rows"), FREE.values(), ids=FREE)
def test_a_unique_key_stops_nothing_that_it_allows(session, constraint, rows):
    run(
        session,
        "CREATE TABLE t (n serial PRIMARY KEY, customer_id uuid REFERENCES customers, "
        f"what text, {constraint})",
    )
    ana, other = people(2)
    for row in rows:
        run(session, f"INSERT INTO t (customer_id, what) VALUES {row.format(ana=ana, other=other)}")
    before = content(session)
    unmerge(session, merge(session, ana, other))
    assert content(session) == before


def test_customers_that_point_to_customers_stop_the_merge(session):
    run(session, "ALTER TABLE customers ADD COLUMN referred_by uuid REFERENCES customers ON DELETE CASCADE")
    ana, other, third = people(3)
    merge(session, *people(2))
    point = "UPDATE customers SET referred_by = {} WHERE id = '{}'"
    for whom, who in [(f"'{other}'", third), (f"'{third}'", other)]:
        run(session, point.format(whom, who))
        before = content(session)
        with pytest.raises(MergeBlocked, match="customers: customers point to customers"):
            merge(session, ana, other)
        assert content(session) == before
        run(session, point.format("NULL", who))
    merge(session, ana, other)


TRIGGERS = {
    "raises": ("RAISE EXCEPTION 'no: %', NEW;", "orders: a rule or a trigger of it refuses the change"),
    "skips the row": ("RETURN NULL;", "orders: a trigger or a rule of it keeps its rows"),
    "puts it back": ("NEW.customer_id := OLD.customer_id; RETURN NEW;", "orders: a trigger or a rule"),
    "breaks a check": ("NEW.what := 'bad'; RETURN NEW;", r"orders: the value is none .*|orders_what_check"),
}


@pytest.mark.parametrize("rule", ["", "ON DELETE CASCADE"])
@pytest.mark.parametrize(("body", "message"), TRIGGERS.values(), ids=TRIGGERS)
def test_rules_that_no_plan_foresees_stop_the_merge_and_nothing_is_done(session, rule, body, message):
    run(
        session,
        orders(rule)
        + f"""; ALTER TABLE orders ADD CHECK (what <> 'bad');
        CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;
        CREATE TRIGGER mine BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION mine()
    """,
    )
    ana, other = people(2)
    fill(session, THREE_ORDERS, other)
    before = content(session), journal(session)
    with pytest.raises(MergeBlocked, match=message) as stopped:
        merge(session, ana, other)
    assert str(other) not in str(stopped.value)
    assert stopped.value.__cause__ is None
    session.commit()
    assert (content(session), journal(session)) == before
    run(session, "DROP TRIGGER mine ON orders")
    done = merge(session, ana, other)
    if "RAISE" in body:
        run(session, "CREATE TRIGGER mine BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION mine()")
        merged = content(session), journal(session)
        with pytest.raises(MergeBlocked, match=message):
            unmerge(session, done)
        assert (content(session), journal(session)) == merged


def test_a_row_that_a_rule_of_the_table_hides_is_not_deleted(session):
    run(
        session, orders("ON DELETE CASCADE") + "; CREATE RULE quiet AS ON UPDATE TO orders DO INSTEAD NOTHING"
    )
    ana, other = people(2)
    fill(session, THREE_ORDERS, other)
    before = content(session)
    with pytest.raises(MergeBlocked, match="orders: "):
        merge(session, ana, other)
    assert content(session) == before


CHANGES = {
    "two rows deleted": (sql("DELETE FROM orders WHERE number > 1"), 1, 2),
    "all rows deleted": (sql("DELETE FROM orders"), 0, 3),
    "a row moved on by hand": (sql("UPDATE orders SET customer_id = '{third}' WHERE number = 1"), 2, 1),
    "another number": (sql("UPDATE orders SET number = DEFAULT WHERE number = 1"), 2, 1),
    "rows since": (sql("INSERT INTO orders (customer_id) VALUES ('{ana}')"), 3, 0),
    "the table dropped": (sql("DROP TABLE orders"), 0, 3),
    "the foreign key dropped": (sql("ALTER TABLE orders DROP CONSTRAINT orders_customer_id_fkey"), 0, 3),
    "the column dropped": (sql("ALTER TABLE orders DROP COLUMN customer_id"), 0, 3),
    "the key renamed": (sql("ALTER TABLE orders RENAME number TO id"), 0, 3),
    "the table renamed": (sql("ALTER TABLE orders RENAME TO purchases"), 0, 3),
    "another type of key": (
        sql("ALTER TABLE orders ALTER number DROP IDENTITY", "ALTER TABLE orders ALTER number TYPE text"),
        3,
        0,
    ),
    "another table of that name": (sql("DROP TABLE orders", "CREATE TABLE orders (number int)"), 0, 3),
}


@pytest.mark.parametrize(("change", "returned", "stayed"), CHANGES.values(), ids=CHANGES)
def test_what_changed_since_the_merge_is_left_alone_and_counted(session, change, returned, stayed):
    run(session, orders("ON DELETE CASCADE"))
    ana, other, third = people(3)
    fill(session, THREE_ORDERS, other)
    done = merge(session, ana, other)
    change(session, ana, other, third)
    report = unmerge(session, done)
    assert (report.returned["orders"], report.stayed["orders"]) == (returned, stayed)
    assert merging.unmerge(session, done, **WHY) == report
    assert merging.current_customer_id(session, other) == other


def test_a_table_that_lost_its_primary_key_stops_the_undoing(session):
    run(session, orders())
    ana, other = people(2)
    fill(session, THREE_ORDERS, other)
    done = merge(session, ana, other)
    run(session, "ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    before = content(session), journal(session)
    with pytest.raises(MergeBlocked, match="orders: it has no primary key"):
        unmerge(session, done)
    assert (content(session), journal(session)) == before
