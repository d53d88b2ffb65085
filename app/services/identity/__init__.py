"""One person is one customer, whatever channel they write on."""

from __future__ import annotations

from .backfill import find_uncanonical, normalize_identifiers
from .identifiers import attach_identifier, detach_identifier, verify_identifier
from .lookups import IdentityHistory, customers_with_identifiers, identity_history
from .resolution import find_customer, resolve

__all__ = [
    "IdentityHistory",
    "attach_identifier",
    "customers_with_identifiers",
    "detach_identifier",
    "find_customer",
    "find_uncanonical",
    "identity_history",
    "normalize_identifiers",
    "resolve",
    "verify_identifier",
]
