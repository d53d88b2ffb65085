"""Who is meant by an address, a number or an id."""

from __future__ import annotations

from sqlalchemy.orm import Session

from ..errors import InvalidValue, NotFound
from ..models import Customer, IdentifierType
from ..schemas import Identifier
from ..services import identity, merging
from .desk import uuid_or_none


def find_customer(session: Session, reference: str, region: str | None) -> Customer:
    """The customer with this address, number or id.

    Raises:
        NotFound: there is none.
        InvalidValue: it is none of the three.
    """
    if not reference.strip():
        raise InvalidValue("customer", "is empty")
    customer_id = uuid_or_none(reference)
    if customer_id is not None:
        return session.get_one(Customer, merging.current_customer_id(session, customer_id))
    if "@" in reference:
        kind = IdentifierType.EMAIL
    elif region and not any(map(str.isalpha, reference)):
        # Digits alone are dialled at home; as a WhatsApp id they would begin with the country code.
        kind = IdentifierType.PHONE
    else:
        kind = IdentifierType.WHATSAPP
    identifier = Identifier(type=kind, value=reference)
    customer = identity.find_customer(session, identifier, default_region=region)
    if customer is None:
        raise NotFound("there is no customer with this address or number")
    return customer
