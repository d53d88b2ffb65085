"""Providers' payloads -> InboundMessage: one module per channel, pure functions, no database."""

from __future__ import annotations

from . import email, signatures, web_form, whatsapp
from .archives import begins_mbox, is_archive, messages_in
from .files import FolderStore, Store, safe_name
from .payloads import MailOptions, parse_archive, parse_file, parse_payload

__all__ = [
    "FolderStore",
    "MailOptions",
    "Store",
    "begins_mbox",
    "email",
    "is_archive",
    "messages_in",
    "parse_archive",
    "parse_file",
    "parse_payload",
    "safe_name",
    "signatures",
    "web_form",
    "whatsapp",
]
