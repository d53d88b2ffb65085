"""What a person may ask for: everything that is kept, and that it is gone."""

from __future__ import annotations

from ..identity.erasures import find_erasures
from .columns import KEPT, PERSONAL
from .erasing import erase_customer, plan_erasure
from .exporting import export_customer
from .holds import place_hold, release_hold
from .retention import retain

__all__ = [
    "KEPT",
    "PERSONAL",
    "erase_customer",
    "export_customer",
    "find_erasures",
    "place_hold",
    "plan_erasure",
    "release_hold",
    "retain",
]
