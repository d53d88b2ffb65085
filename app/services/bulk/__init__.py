"""Imports: many rows at once, by the same rules and with the same result as one after the other."""

from __future__ import annotations

from .customers import import_customers
from .messages import import_messages
from .tickets import import_tickets

__all__ = ["import_customers", "import_messages", "import_tickets"]
