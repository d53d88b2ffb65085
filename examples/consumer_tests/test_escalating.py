"""Each test has a real PostgreSQL with the CRM's tables, and leaves nothing behind. No conftest.py."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from crm_digital_fte.database import make_async_engine, make_async_session_factory, transaction_async
from crm_digital_fte.models import CustomerPlan, TicketCategory, TicketStatus
from crm_digital_fte.services import tickets
from crm_digital_fte.testing import CustomerFactory, QueryRecorder, TicketFactory, bound_to
from escalating import escalate_complaint

ENTERPRISE, COMPLAINT = CustomerPlan.ENTERPRISE, TicketCategory.COMPLAINT


# The three lines: a fixture, a factory, an assertion.
def test_a_complaint_of_an_enterprise_customer_goes_to_a_human(session: Session) -> None:
    ticket = TicketFactory(customer=CustomerFactory(plan=ENTERPRISE), category=COMPLAINT)
    assert escalate_complaint(session, ticket.id)


@pytest.mark.parametrize("plan", [plan for plan in CustomerPlan if plan is not ENTERPRISE])
def test_any_other_customers_complaint_stays(session: Session, plan: CustomerPlan) -> None:
    ticket = TicketFactory(customer=CustomerFactory(plan=plan), category=COMPLAINT)
    assert not escalate_complaint(session, ticket.id)
    assert ticket.status is TicketStatus.OPEN


def test_it_takes_few_statements(session: Session, queries: QueryRecorder) -> None:
    ticket = TicketFactory()
    queries.reset()
    escalate_complaint(session, ticket.id)
    assert queries.count == 2


async def test_the_same_rule_in_an_asynchronous_backend(crm_clone: Engine) -> None:
    """``crm_clone`` is a database of this test's own, for what really commits."""
    with Session(crm_clone, expire_on_commit=False) as session, session.begin(), bound_to(session):
        ticket = TicketFactory(customer=CustomerFactory(plan=ENTERPRISE), category=COMPLAINT)
    engine = make_async_engine(crm_clone.url)
    sessions = make_async_session_factory(engine)

    assert await transaction_async(sessions, escalate_complaint, ticket.id)

    history = await transaction_async(sessions, tickets.status_history, ticket.id)
    assert [change.changed_by for change in history][-1] == "system:escalation"
    await engine.dispose()
