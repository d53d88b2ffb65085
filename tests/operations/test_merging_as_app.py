"""A merge by the app's role, where tables of other applications have owners and rights of their own."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from app.errors import MergeBlocked
from app.services import merging
from app.testing import CustomerFactory, bound_to

WHY = {"actor": "human:7", "reason": "the same person"}
BARRED = "the database user may not "


@pytest.fixture
def pair(own_desk) -> list[UUID]:
    """Two customers; the second has an order in a schema that is none of the app's."""
    with Session(own_desk.admin) as session, bound_to(session):
        ids = [CustomerFactory().id for _ in range(2)]
        session.commit()
    for statement in (
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (number bigint PRIMARY KEY, "
        "buyer uuid REFERENCES customers ON DELETE CASCADE, note text)",
        "ALTER SCHEMA shop OWNER TO {owner}",
        "ALTER TABLE shop.orders OWNER TO {owner}",
    ):
        own_desk.run(own_desk.role(statement))
    own_desk.run("INSERT INTO shop.orders VALUES (7, :id)", id=ids[1])
    return ids


def orders(desk) -> list[tuple[int, UUID]]:
    return [tuple(row) for row in desk.run("SELECT number, buyer FROM shop.orders")]


def attempt(desk, pair: list[UUID]) -> None:
    """A refused merge: the plan says so too, and nothing is done."""
    with Session(desk.login("app")) as session:
        planned = merging.plan_merge(session, *pair)
        with pytest.raises(MergeBlocked) as stopped:
            merging.merge(session, *pair, **WHY)
        session.commit()
    assert stopped.value.blocked == planned.blocked
    assert [id_ for (id_,) in desk.run("SELECT id FROM customers ORDER BY id")] == sorted(pair)
    assert desk.run("SELECT FROM customer_merges") == []
    assert orders(desk) == [(7, pair[1])]
    raise stopped.value


LACKING = {
    "nothing": ([], "read it"),
    "the schema": (["GRANT SELECT, UPDATE ON shop.orders TO {app}"], "read it"),
    "to read": (["GRANT USAGE ON SCHEMA shop TO {app}", "GRANT UPDATE ON shop.orders TO {app}"], "read it"),
    "to read all of it": (
        ["GRANT USAGE ON SCHEMA shop TO {app}", "GRANT SELECT (buyer), UPDATE ON shop.orders TO {app}"],
        "read it",
    ),
    "to update": (
        ["GRANT USAGE ON SCHEMA shop TO {app}", "GRANT SELECT, INSERT, DELETE ON shop.orders TO {app}"],
        "update its column",
    ),
    "to update that column": (
        ["GRANT USAGE ON SCHEMA shop TO {app}", "GRANT SELECT, UPDATE (note) ON shop.orders TO {app}"],
        "update its column",
    ),
}


@pytest.mark.parametrize(("grants", "right"), LACKING.values(), ids=LACKING)
def test_without_a_right_on_the_table_the_merge_is_refused_by_its_name(own_desk, pair, grants, right):
    for grant in grants:
        own_desk.run(own_desk.role(grant))
    with pytest.raises(MergeBlocked, match=f"shop.orders: {BARRED}{right}"):
        attempt(own_desk, pair)


def test_rows_that_row_security_hides_are_not_deleted_unseen(own_desk, pair):
    for statement in (
        "GRANT USAGE ON SCHEMA shop TO {app}",
        "GRANT SELECT, UPDATE ON shop.orders TO {app}",
        "ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY large ON shop.orders USING (number > 100)",
    ):
        own_desk.run(own_desk.role(statement))
    with pytest.raises(MergeBlocked, match=r"shop\.orders: row security"):
        attempt(own_desk, pair)


def test_the_least_rights_are_enough(own_desk, pair):
    for grant in (
        "GRANT USAGE ON SCHEMA shop TO {app}",
        "GRANT SELECT, UPDATE (buyer) ON shop.orders TO {app}",
    ):
        own_desk.run(own_desk.role(grant))
    with Session(own_desk.login("app")) as session, session.begin():
        done = merging.merge(session, *pair, **WHY).id
    assert orders(own_desk) == [(7, pair[0])]

    own_desk.run(own_desk.role("REVOKE UPDATE (buyer) ON shop.orders FROM {app}"))
    with (
        Session(own_desk.login("app")) as session,
        session.begin(),
        pytest.raises(MergeBlocked, match=r"shop\.orders: the database user may not update"),
    ):
        merging.unmerge(session, done, **WHY)
    assert orders(own_desk) == [(7, pair[0])]
    assert own_desk.run("SELECT FROM customer_merges WHERE undone_at IS NOT NULL") == []

    own_desk.run(own_desk.role("GRANT UPDATE (buyer) ON shop.orders TO {app}"))
    with Session(own_desk.login("app")) as session, session.begin():
        assert merging.unmerge(session, done, **WHY).returned["shop.orders"] == 1
    assert orders(own_desk) == [(7, pair[1])]


def test_rows_of_the_survivor_alone_need_no_right_to_update(own_desk, pair):
    for grant in ("GRANT USAGE ON SCHEMA shop TO {app}", "GRANT SELECT ON shop.orders TO {app}"):
        own_desk.run(own_desk.role(grant))
    with Session(own_desk.login("app")) as session, session.begin():
        merging.merge(session, pair[1], pair[0], **WHY)
    assert orders(own_desk) == [(7, pair[1])]


def test_another_application_may_put_the_trigger_on_its_table(own_desk, pair):
    """As the docs say: its owner is granted the function, and may then let its rows follow."""
    for statement in (
        "CREATE ROLE {readonly}_shop",
        "ALTER SCHEMA shop OWNER TO {readonly}_shop",
        "ALTER TABLE shop.orders OWNER TO {readonly}_shop",
        "GRANT EXECUTE ON FUNCTION follow_customer_redirect() TO {readonly}_shop",
        "SET ROLE {readonly}_shop",
        "CREATE TRIGGER orders_follow_redirect BEFORE INSERT ON shop.orders "
        "FOR EACH ROW EXECUTE FUNCTION follow_customer_redirect('buyer')",
        "RESET ROLE",
        "GRANT USAGE ON SCHEMA shop TO {app}",
        "GRANT SELECT, INSERT, UPDATE ON shop.orders TO {app}",
    ):
        own_desk.run(own_desk.role(statement))
    try:
        with Session(own_desk.login("app")) as session, session.begin():
            merging.merge(session, *pair, **WHY)
            insert = "INSERT INTO shop.orders VALUES (8, %(id)s)"
            session.connection().exec_driver_sql(insert, {"id": pair[1]})
        assert orders(own_desk) == [(7, pair[0]), (8, pair[0])]
    finally:
        own_desk.run("DROP SCHEMA shop CASCADE")
        own_desk.run(own_desk.role("REVOKE ALL ON FUNCTION follow_customer_redirect() FROM {readonly}_shop"))
        own_desk.run(own_desk.role("DROP ROLE {readonly}_shop"))
