"""Which columns hold what a person wrote or is, and which do not: every one that could is in this file.

A test compares the two tables with the catalogue, so that a new column is in one of them; another one writes
into each personal column and looks for it in an export before, and in a dump after an erasure.
"""

from __future__ import annotations

from collections.abc import Mapping

PERSONAL: Mapping[str, tuple[str, ...]] = {
    "agent_metrics": ("metadata",),
    "conversation_routes": ("account", "address", "group_id", "identifier_value", "thread_id"),
    "conversations": ("escalation_reason", "metadata"),
    "customer_identifiers": ("identifier_value",),
    "customer_merge_foreign_moves": ("row_key",),
    "customer_merges": ("absorbed", "actor", "filled", "reason", "undo_reason", "undone_by"),
    "customers": ("company", "email", "metadata", "name", "phone"),
    "early_delivery_reports": ("account", "code", "provider_message_id", "reason", "recipient"),
    "identity_events": ("actor", "details", "reason"),
    "legal_holds": ("actor", "reason", "release_reason", "released_by"),
    "message_embeddings": ("content_hash", "embedding"),
    "messages": ("content", "metadata"),
    "outbox": ("account",),
    "provider_messages": ("account", "provider_message_id"),
    "ticket_embeddings": ("content_hash", "embedding"),
    "ticket_field_changes": ("changed_by", "comment", "new_value", "old_value"),
    "ticket_links": ("created_by",),
    "ticket_status_changes": ("changed_by", "comment"),
    "tickets": ("escalation_reason", "metadata", "resolution_notes", "subject"),
    "tool_calls": ("actor", "arguments_hash", "idempotency_key", "result", "tool"),
}
"""An erasure empties them, replaces them or deletes their rows."""

_CODE = "one of a few codes"
_STAFF = "names who works here"
_HASH = "of words it has only a salted hash"
_OURS = "written by us for everybody"
_MODEL = "names an embedding model"

KEPT: Mapping[str, Mapping[str, str]] = {
    "agent_metrics": {"channel": _CODE, "metric_type": _CODE},
    "change_feed": {"change": _CODE, "subject": _CODE},
    "channel_configs": {
        "api_config_ref": _OURS,
        "channel": _CODE,
        "metadata": _OURS,
        "response_template": _OURS,
        "tone": _CODE,
    },
    "channel_setting_changes": {
        "changed_by": _STAFF,
        "channel": _CODE,
        "comment": _OURS,
        "db_user": _STAFF,
        "new_values": _OURS,
        "old_values": _OURS,
    },
    "conversation_routes": {"channel": _CODE, "identifier_type": _CODE},
    "conversations": {"channel": _CODE, "resolution_type": _CODE, "status": _CODE},
    "customer_identifiers": {"channel": _CODE, "identifier_type": _CODE},
    "customer_merge_foreign_moves": {
        "column_name": "the catalogue's",
        "schema_name": "the catalogue's",
        "table_name": "the catalogue's",
    },
    "customer_merge_moves": {"table_name": "the catalogue's"},
    "customer_merges": {"undo_report": "names of fields, and counts"},
    "customers": {"plan": _CODE},
    "early_delivery_reports": {"channel": _CODE, "status": _CODE},
    "embedding_models": {"model": _MODEL, "object_type": _CODE},
    "embedding_queue": {"model": _MODEL, "object_type": _CODE},
    "erasures": {
        "actor": _STAFF,
        "address_hashes": "the key is not in the database",
        "db_user": _STAFF,
        "reason": "refused where it names the person",
        "report": "ids and counts",
    },
    "identity_events": {"db_user": _STAFF, "event": _CODE},
    "knowledge_base": dict.fromkeys(
        ("category", "content", "embedding", "metadata", "source", "title"), _OURS
    ),
    "knowledge_documents": {"source": _OURS},
    "knowledge_embeddings": {"content_hash": _OURS, "embedding": _OURS, "model": _MODEL},
    "message_embeddings": {"model": _MODEL},
    "messages": dict.fromkeys(("channel", "content_type", "delivery_status", "direction", "role"), _CODE),
    "outbox": {"channel": _CODE},
    "provider_messages": {"channel": _CODE},
    "replaced_models": {"model": _MODEL, "object_type": _CODE},
    "search_thresholds": {"model": _MODEL, "object_type": _CODE},
    "ticket_embeddings": {"model": _MODEL},
    "ticket_field_changes": {
        "db_user": _STAFF,
        "field": _CODE,
        "hash": _HASH,
        "prev_hash": _HASH,
        "words_hash": _HASH,
    },
    "ticket_record_heads": {"field_hash": _HASH, "status_hash": _HASH},
    "ticket_status_changes": {
        "db_user": _STAFF,
        "hash": _HASH,
        "new_status": _CODE,
        "old_status": _CODE,
        "prev_hash": _HASH,
        "words_hash": _HASH,
    },
    "tickets": {
        "assigned_to": _STAFF,
        "category": _CODE,
        "priority": _CODE,
        "source_channel": _CODE,
        "status": _CODE,
        "ticket_number": "counted",
    },
}
"""They stay, and why they may."""
