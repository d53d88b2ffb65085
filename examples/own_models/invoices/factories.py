"""Factories of our own: they build into the same session as the CRM's, and make the owners that they need."""
# factory_boy says that it is typed, and is not:
# mypy: disable-error-code="no-untyped-call"

from __future__ import annotations

from factory.declarations import SelfAttribute, Sequence, SubFactory

from crm_digital_fte.testing import CRMFactory, CustomerFactory

from .models import Invoice


class InvoiceFactory(CRMFactory[Invoice]):
    """``customer=`` takes a customer; without one there is a new one."""

    class Meta:
        model = Invoice
        exclude = ("customer",)

    customer = SubFactory(CustomerFactory)
    customer_id = SelfAttribute("customer.id")
    number = Sequence(lambda n: f"INV-{n:06}")
    cents = 4_900
