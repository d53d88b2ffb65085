"""Messages of ours on their way out: claimed by senders, sent, and what providers report of them.

A message is sent at least once: a sender that dies between the provider's word and ``sent`` leaves it to be
sent again when its lease ends. ``Delivery.idempotency_key`` is the same each time, for providers that can
tell.
"""

from __future__ import annotations

from .claiming import claim
from .reports import record_deliveries, record_delivery
from .sending import failed, sent

__all__ = ["claim", "failed", "record_deliveries", "record_delivery", "sent"]
