"""WhatsApp by Twilio or Meta: webhooks -> InboundMessage and DeliveryReport; Delivery -> calls.

Both providers know who the sender is, so senders are verified; check the request's signature before parsing.
"""

from __future__ import annotations

from .composing import compose_meta, compose_twilio
from .meta import parse_meta
from .statuses import parse_meta_statuses, parse_twilio_status
from .twilio import parse_twilio

__all__ = [
    "compose_meta",
    "compose_twilio",
    "parse_meta",
    "parse_meta_statuses",
    "parse_twilio",
    "parse_twilio_status",
]
