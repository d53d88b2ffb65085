"""What a plan says of rows of other applications, what they cost, and the trigger that lets them follow."""

from __future__ import annotations

import pytest

from app.errors import StalePlan
from app.services import merging

from .foreign_tables import THREE_ORDERS, WHY, fill, merge, orders, people, run, unmerge


def test_times_that_only_say_when_a_row_changed_stay_as_they_were(session):
    run(
        session,
        orders()
        + """; ALTER TABLE orders ADD COLUMN updated_at timestamptz DEFAULT '2020-01-01';
        CREATE TRIGGER mine BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION update_updated_at()
    """,
    )
    ana, other = people(2)
    fill(session, THREE_ORDERS, other)
    unmerge(session, merge(session, ana, other))
    assert run(session, "SELECT count(*) FROM orders WHERE updated_at = '2020-01-01'").scalar() == 3


@pytest.mark.parametrize("side", [0, 1], ids=["of the survivor", "of the absorbed"])
def test_a_plan_is_stale_after_a_row_of_another_application(session, side):
    run(session, orders())
    pair = people(2)
    planned = merging.plan_merge(session, *pair)
    fill(session, THREE_ORDERS, pair[side])
    with pytest.raises(StalePlan):
        merging.merge(session, *pair, fingerprint=planned.fingerprint, **WHY)


def test_tables_without_rows_of_the_two_change_no_plan(session):
    pair = people(3)
    planned = merging.plan_merge(session, *pair[:2])
    run(session, orders())
    fill(session, THREE_ORDERS, pair[2])
    assert merging.plan_merge(session, *pair[:2]).fingerprint == planned.fingerprint


def test_ten_rows_cost_as_many_statements_as_two_thousand(session, queries):
    run(session, orders("ON DELETE CASCADE"))
    counted = []
    for size in (10, 2_000):
        ana, other = people(2)
        run(session, f"INSERT INTO orders (customer_id) SELECT '{other}' FROM generate_series(1, {size})")
        queries.reset()
        merging.plan_merge(session, ana, other)
        assert queries.count == 2, queries
        done = merge(session, ana, other)
        counted.append(queries.count)
        queries.reset()
        assert unmerge(session, done).returned["orders"] == size
        counted.append(queries.count)
    assert counted[:2] == counted[2:]


def test_tables_without_rows_to_move_cost_one_statement_more(session, queries):
    counted = []
    for ddl in ("SELECT", orders() + "; CREATE TABLE visits (customer_id uuid REFERENCES customers)"):
        run(session, ddl)
        ana, other = people(2)
        queries.reset()
        merge(session, ana, other)
        counted.append(queries.count)
    assert counted[1] == counted[0] + 1
    assert counted[0] <= 7


@pytest.mark.parametrize("column", ["customer_id", "buyer", 'Käufer "1" % :x'])
def test_a_table_with_the_trigger_follows_the_redirect(session, column):
    name = '"' + column.replace('"', '""') + '"'
    run(
        session,
        f"""
        CREATE TABLE orders (number serial PRIMARY KEY, {name} uuid REFERENCES customers, at timestamptz,
            price numeric, notes jsonb, tags text[]);
        CREATE TRIGGER orders_follow_redirect BEFORE INSERT OR UPDATE ON orders
            FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect({
            "" if column == "customer_id" else "'" + column + "'"
        })
    """,
    )
    ana, other, third = people(3)
    insert = f"""
        INSERT INTO orders ({name}, at, price, notes, tags)
        VALUES ('{{}}', '2026-01-01 00:00+00', 0.10, '{{{{"a": 1}}}}', '{{{{x,NULL}}}}')
        RETURNING {name}, at, price::text, notes, tags
    """
    plain = run(session, insert.format(other)).one()
    done = merge(session, ana, other)
    followed = run(session, insert.format(other)).one()
    assert (plain[0], followed[0], plain[1:]) == (other, ana, followed[1:])
    run(session, f"UPDATE orders SET {name} = '{third}'")
    run(session, f"UPDATE orders SET {name} = '{other}'")
    assert set(run(session, f"SELECT {name} FROM orders").scalars()) == {ana}
    assert unmerge(session, done).returned["orders"] == 1
    assert run(session, insert.format(other)).one()[0] == other
    assert run(session, f"INSERT INTO orders ({name}) VALUES (NULL) RETURNING {name}").scalar() is None
