"""The checks in the order in which they are made: what others rest on comes first."""

from __future__ import annotations

from . import address_checks, record_checks, role_checks, schema_checks, server_checks, vector_checks

CHECKS = [
    server_checks.postgresql_version,
    server_checks.pgvector_missing,
    server_checks.pgvector_version,
    schema_checks.revision,
    schema_checks.guards,
    schema_checks.indexes,
    schema_checks.catalogue,
    role_checks.no_roles,
    role_checks.rights,
    server_checks.unused_indexes,
    vector_checks.hnsw,
    vector_checks.search_settings,
    record_checks.tickets,
    record_checks.records,
    record_checks.ticket_numbers,
    record_checks.redirects,
    address_checks.uncanonical_addresses,
    address_checks.colliding_addresses,
    address_checks.unreadable_addresses,
    address_checks.addresses_of_others,
    address_checks.customers_without_identifiers,
    record_checks.messages_of_others,
    record_checks.tickets_of_others,
    record_checks.left_by_unmerge,
    vector_checks.embedding_models,
    vector_checks.zero_vectors,
]
