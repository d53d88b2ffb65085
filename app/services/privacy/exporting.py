"""Everything that is kept about a person, as one document."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from sqlalchemy import Uuid, bindparam, text
from sqlalchemy.orm import Session

from ...errors import CustomerNotFound
from ...schemas import CustomerExport
from .._shared.checks import checked_uuid
from .._shared.redirects import find_living

_EXPORT = text(Path(__file__).with_name("export.sql").read_text(encoding="utf-8")).bindparams(
    bindparam("customer_id", type_=Uuid())
)


def export_customer(session: Session, customer_id: UUID) -> CustomerExport:
    """Everything about a customer and those whom it absorbed; of an erased one, what was left.

    What is in the document is what an erasure would take, and with it what stays. Its JSON Schema is
    ``CustomerExport.model_json_schema()``, published as docs/customer-export.schema.json. Two statements, no
    lock; reads all measurements that have facts.

    Raises:
        CustomerNotFound: there never was such a customer.
    """
    customer_id = checked_uuid("customer_id", customer_id)
    session.flush()
    # Who is merged in between is followed.
    while (living_id := find_living(session, customer_id)) is not None:
        document = session.execute(_EXPORT, {"customer_id": living_id}).scalar_one_or_none()
        if document is not None:
            return CustomerExport.model_validate(document)
    raise CustomerNotFound(customer_id)
