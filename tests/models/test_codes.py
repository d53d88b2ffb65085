"""Codes: the enums in Python and the CHECK constraints in the database say the same, in both directions."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from app.errors import IllegalTransition, InvalidValue
from app.models import Base, CustomerPlan, MessageRole, Ticket, TicketPriority, TicketStatus
from app.models.base import Code
from app.services import tickets, timeline
from app.testing import ConversationFactory, CustomerFactory, MessageFactory, TicketFactory

CODES = {
    (table.name, column.name): column.type.enum
    for table in Base.metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, Code)
}
code_columns = pytest.mark.parametrize(
    ("table", "column"), [pytest.param(*where, id=".".join(where)) for where in CODES]
)

CHECKS = text("""
    SELECT r.relname AS "table", a.attname AS "column", pg_get_constraintdef(c.oid) AS rule, a.attnotnull
    FROM pg_constraint c
    JOIN pg_class r ON r.oid = c.conrelid
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum = ANY (c.conkey)
    WHERE c.contype = 'c' AND r.relnamespace = 'public'::regnamespace
""")


def listed_codes(session) -> dict[tuple[str, str], set[str]]:
    """What the database's CHECKs on lists of codes allow, by table and column."""
    return {
        (row.table, row.column): set(re.findall(r"'([^']*)'::", row.rule))
        for row in session.execute(CHECKS)
        if "ANY (" in row.rule
    }


def test_every_code_column_allows_what_its_enum_has_and_no_other_column_lists_codes(session):
    assert listed_codes(session) == {
        where: {member.value for member in enum} for where, enum in CODES.items()
    }


@code_columns
def test_the_longest_code_fits_its_column(table, column):
    type_ = Base.metadata.tables[table].c[column].type
    assert max(map(len, type_.enum)) <= type_.length


@code_columns
def test_the_database_refuses_any_other_code(session, table, column):
    rule = next(
        row.rule
        for row in session.execute(CHECKS)
        if (row.table, row.column) == (table, column) and "ANY" in row.rule
    )
    condition = rule.removeprefix("CHECK ")
    for value, allowed in [(next(iter(CODES[table, column])).value, True), ("nonsense", False), ("", False)]:
        found = session.scalar(
            text(f"SELECT {condition} FROM (SELECT CAST(:value AS varchar) AS {column}) AS row"),
            {"value": value},
        )
        assert found is allowed


def test_values_are_stored_and_not_the_names_of_python(session):
    customer = CustomerFactory(plan=CustomerPlan.ENTERPRISE)
    stored = session.scalar(text("SELECT plan FROM customers WHERE id = :id"), {"id": customer.id})
    assert stored == "enterprise"
    session.expire(customer)
    assert customer.plan is CustomerPlan.ENTERPRISE


def test_a_plain_value_is_as_good_as_the_member(session):
    customer = CustomerFactory(plan="starter")
    session.expire(customer)
    assert customer.plan is CustomerPlan.STARTER


@pytest.mark.parametrize("value", ["ENTERPRISE", "platinum", "", MessageRole.AGENT])
def test_python_refuses_another_code_before_the_database_does(session, queries, value):
    queries.reset()
    with pytest.raises(StatementError, match="the code is none of free, starter"):
        CustomerFactory(plan=value)
    assert queries.count == 0, queries


def test_raw_sql_cannot_store_another_code(session):
    with pytest.raises(IntegrityError, match="customers_plan_check"):
        session.execute(text("INSERT INTO customers (email, plan) VALUES ('a@example.com', 'platinum')"))


def test_a_code_of_a_newer_version_is_read_as_text_and_not_written(session):
    conversation = ConversationFactory()
    MessageFactory(conversation=conversation)
    ticket = TicketFactory(conversation=conversation)
    for table, column in [("tickets", "category"), ("tickets", "status"), ("messages", "role")]:
        session.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {table}_{column}_check"))
    session.execute(
        text("ALTER TABLE ticket_status_changes DROP CONSTRAINT ticket_status_changes_new_status_check")
    )
    session.execute(text("UPDATE tickets SET category = 'legal'"))
    session.execute(text("SELECT set_config('crm.force', 'on', true)"))
    session.execute(text("UPDATE tickets SET status = 'snoozed'"))
    session.execute(text("UPDATE messages SET role = 'partner'"))

    session.expire_all()
    assert (ticket.category, ticket.status) == ("legal", "snoozed")
    (line,) = tickets.list_tickets(session).items
    assert (line.category, line.status, line.priority) == ("legal", "snoozed", TicketPriority.MEDIUM)
    assert type(line.priority) is TicketPriority
    assert tickets.get_ticket(session, ticket.id).category == "legal"
    assert tickets.lifecycle(session, ticket.id).status == "snoozed"
    assert tickets.status_history(session, ticket.id)[-1].new_status == "snoozed"
    assert timeline.history(session, conversation.customer_id).items[0].role == "partner"
    session.execute(text("SELECT set_config('crm.force', '', true)"))
    with pytest.raises(IllegalTransition, match="from snoozed"):
        tickets.change_status(session, ticket.id, TicketStatus.CLOSED, actor="human:7")
    with pytest.raises(InvalidValue, match=r"^category: "):
        tickets.change_category(session, ticket.id, "legal", actor="human:7")
    ticket.category = "legal, too"
    with pytest.raises(StatementError, match="the code is none of"):
        session.flush()


def test_codes_can_be_compared_and_counted_in_queries(session):
    before = dict(session.execute(select(Ticket.status, func.count()).group_by(Ticket.status)).all())
    TicketFactory(status=TicketStatus.WAITING)
    after = dict(session.execute(select(Ticket.status, func.count()).group_by(Ticket.status)).all())
    assert after[TicketStatus.WAITING] == before.get(TicketStatus.WAITING, 0) + 1
