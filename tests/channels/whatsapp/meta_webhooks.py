"""Webhooks of Meta, as it sends them."""

from __future__ import annotations

from typing import Any

from app.channels import whatsapp
from app.schemas import InboundMessage

METADATA = {"display_phone_number": "12025550100", "phone_number_id": "431276509870142"}


CONTACT = {"profile": {"name": "Ann"}, "wa_id": "447700900123"}


TEXT = {
    "from": "447700900123",
    "id": "wamid.1",
    "timestamp": "1794834131",
    "type": "text",
    "text": {"body": "Hi"},
}


def webhook(
    *messages: Any, contacts: Any = (CONTACT,), field: Any = "messages", **value: Any
) -> dict[str, Any]:
    body = {"messaging_product": "whatsapp", "metadata": METADATA, "contacts": list(contacts)}
    body |= {"messages": list(messages)} if messages else {}
    change = {"field": field, "value": body | value}
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [change]}]}


def one(contacts: Any = (CONTACT,), **changes: Any) -> InboundMessage:
    message = {name: value for name, value in (TEXT | changes).items() if value is not None}
    (parsed,) = whatsapp.parse_meta(webhook(message, contacts=contacts))
    return parsed
