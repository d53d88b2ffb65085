"""A rule of a support desk: what an enterprise customer complains about goes to a human at once."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.orm import Session

from crm_digital_fte.models import CustomerPlan, TicketCategory, TicketStatus
from crm_digital_fte.services import customers, tickets


def escalate_complaint(session: Session, ticket_id: UUID) -> bool:
    """Whether the ticket was escalated. The caller's transaction decides whether it stays so."""
    ticket = tickets.get_ticket(session, ticket_id)
    customer = customers.get_customer(session, ticket.customer_id)
    if ticket.category != TicketCategory.COMPLAINT or customer.plan != CustomerPlan.ENTERPRISE:
        return False
    tickets.change_status(
        session,
        ticket_id,
        TicketStatus.ESCALATED,
        actor="system:escalation",
        escalation_reason="complaint of an enterprise customer",
    )
    return True
