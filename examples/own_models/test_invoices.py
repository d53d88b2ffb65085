"""Our tables and the CRM's, in one database."""

from __future__ import annotations

import pytest
from alembic import command
from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from crm_digital_fte import migrations
from crm_digital_fte.models import Customer
from crm_digital_fte.services import merging
from crm_digital_fte.testing import CustomerFactory, Databases
from invoices.factories import InvoiceFactory
from invoices.migrating import own_config
from invoices.models import Invoice


def test_a_merge_of_customers_moves_our_rows_and_its_undoing_gives_them_back(session: Session) -> None:
    kept, gone = CustomerFactory(), CustomerFactory()
    invoice = InvoiceFactory(customer=gone)

    assert merging.plan_merge(session, kept.id, gone.id).rows["invoices"] == 1
    merge = merging.merge(session, kept.id, gone.id, actor="human:7", reason="one person")
    session.refresh(invoice)
    assert invoice.customer_id == kept.id

    gone_id = merge.absorbed_id
    merging.unmerge(session, merge.id, actor="human:7", reason="they are two")
    session.refresh(invoice)
    assert invoice.customer_id == gone_id


def test_the_database_keeps_our_foreign_keys(session: Session) -> None:
    invoice = InvoiceFactory()

    leave = delete(Customer).where(Customer.id == invoice.customer_id)
    with pytest.raises(IntegrityError, match="invoices_customer_id_fkey"):
        session.execute(leave)


def test_a_query_joins_our_tables_and_theirs(session: Session) -> None:
    customer = CustomerFactory(name="Ana")
    InvoiceFactory(customer=customer, cents=100)

    query = select(Customer.name, Invoice.cents).join(Customer, Customer.id == Invoice.customer_id)
    assert session.execute(query).all() == [("Ana", 100)]


def test_the_two_histories_leave_each_other_alone(crm_database_url: str, crm_databases: Databases) -> None:
    own = own_config(crm_database_url)
    command.check(own)  # autogenerate has nothing to do: it sees our models, and only them
    migrations.check(crm_database_url)  # and theirs are as their migrations made them

    url = crm_databases.clone()
    command.upgrade(own_config(url), "head")
    command.downgrade(own_config(url), "base")
    migrations.check(url)
    crm_databases.drop(url)
