"""Who may do what in the database: one table of the roles' rights on every object."""

from __future__ import annotations

ROLES = ("app", "readonly", "auditor")

_MERGES = (
    "SELECT, INSERT (id, survivor_id, absorbed_id, actor, reason, absorbed, filled), "
    "UPDATE (absorbed, filled, undone_at, undone_by, undo_reason, undo_report)"
)
_CHANNELS = (
    "SELECT, UPDATE (is_enabled, max_response_length, tone, response_template, api_config_ref, metadata, "
    "updated_at)"
)
_TICKETS = (
    "SELECT, INSERT, UPDATE (conversation_id, customer_id, subject, category, priority, status, "
    "assigned_to, escalation_reason, resolution_notes, metadata, updated_at, resolved_at)"
)
# Inserting is erasing: a trigger does it, and writes the rest of the row.
_ERASURES = "SELECT, INSERT (id, customer_id, actor, reason, address_hashes)"
_HOLDS = "SELECT, INSERT (id, customer_id, actor, reason), UPDATE (released_at, released_by, release_reason)"
RIGHTS = (
    # Kind, object, and what the app, readers and auditors may do, in the words of GRANT.
    # The app writes business rows, and triggers and functions the audit.
    ("TABLE", "agent_metrics", "SELECT, INSERT, DELETE", "SELECT", "SELECT"),
    ("TABLE", "alembic_version", "SELECT", "SELECT", "SELECT"),
    ("TABLE", "change_feed", "SELECT", "SELECT", "SELECT"),
    ("TABLE", "channel_configs", _CHANNELS, "SELECT", "SELECT"),
    ("TABLE", "channel_setting_changes", "SELECT", "", "SELECT"),
    ("TABLE", "conversation_routes", "SELECT, INSERT, UPDATE (used_at)", "SELECT", "SELECT"),
    ("TABLE", "conversations", "SELECT, INSERT, UPDATE", "SELECT", "SELECT"),
    ("TABLE", "customer_identifiers", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"),
    ("TABLE", "customer_merge_foreign_moves", "SELECT, INSERT, UPDATE (returned_at)", "", "SELECT"),
    ("TABLE", "customer_merge_moves", "SELECT, INSERT, UPDATE (returned_at)", "", "SELECT"),
    ("TABLE", "customer_merges", _MERGES, "", "SELECT"),
    ("TABLE", "customer_redirects", "SELECT, INSERT, UPDATE (customer_id), DELETE", "SELECT", "SELECT"),
    ("TABLE", "customers", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"),
    ("TABLE", "early_delivery_reports", "SELECT, INSERT, DELETE", "", "SELECT"),
    ("TABLE", "embedding_models", "SELECT, INSERT, UPDATE", "SELECT", "SELECT"),
    ("TABLE", "embedding_queue", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"),
    ("TABLE", "erasures", _ERASURES, "", "SELECT"),
    ("TABLE", "identity_events", "SELECT", "", "SELECT"),
    ("TABLE", "legal_holds", _HOLDS, "", "SELECT"),
    ("TABLE", "outbox", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"),
    ("TABLE", "provider_messages", "SELECT, INSERT", "SELECT", "SELECT"),
    ("TABLE", "knowledge_base", "SELECT, INSERT, UPDATE", "SELECT", "SELECT"),
    ("TABLE", "knowledge_documents", "SELECT, INSERT, UPDATE", "SELECT", "SELECT"),
    ("TABLE", "knowledge_embeddings", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"),
    ("TABLE", "lost_proofs", "SELECT", "", "SELECT"),
    ("TABLE", "message_embeddings", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"),
    ("TABLE", "messages", "SELECT, INSERT, UPDATE", "SELECT", "SELECT"),
    ("TABLE", "replaced_models", "SELECT, INSERT, DELETE", "SELECT", "SELECT"),
    ("TABLE", "search_thresholds", "SELECT, INSERT, UPDATE", "SELECT", "SELECT"),
    ("TABLE", "ticket_embeddings", "SELECT, INSERT, UPDATE, DELETE", "SELECT", "SELECT"),
    ("TABLE", "ticket_field_changes", "SELECT", "", "SELECT"),
    ("TABLE", "ticket_links", "SELECT, INSERT", "SELECT", "SELECT"),
    ("TABLE", "ticket_record_heads", "SELECT", "", "SELECT"),
    ("TABLE", "ticket_status_changes", "SELECT", "", "SELECT"),
    ("TABLE", "tool_calls", "SELECT, INSERT, UPDATE (result)", "SELECT", "SELECT"),
    # The record belongs to the id, and people name tickets by their number: neither changes.
    ("TABLE", "tickets", _TICKETS, "SELECT", "SELECT"),
    ("SEQUENCE", "ticket_number_seq", "USAGE", "", "SELECT"),
    # Of the functions, those that run as their owner; triggers call the others.
    ("FUNCTION", "erase_old_messages", "EXECUTE", "", ""),
    ("FUNCTION", "record_identity_events", "EXECUTE", "", ""),
)
"""A role gets what its column says and nothing else."""


def _of(kind: str) -> dict[str, dict[str, str]]:
    return {name: dict(zip(ROLES, rights, strict=True)) for of, name, *rights in RIGHTS if of == kind}


TABLES = _of("TABLE")
SEQUENCES = _of("SEQUENCE")
FUNCTIONS = _of("FUNCTION")
