"""Bytes on disk: of each table and index by row, and what could be saved."""

from __future__ import annotations

from typing import Any

import psycopg

_TABLES = """
    SELECT c.relname, c.reltuples::bigint,
        pg_relation_size(c.oid) + COALESCE(pg_relation_size(c.reltoastrelid), 0)
    FROM pg_class AS c
    WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.reltuples >= %s
    ORDER BY pg_total_relation_size(c.oid) DESC
"""
_INDEXES = """
    SELECT i.relname, pg_relation_size(i.oid)
    FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid
    WHERE x.indrelid = %s::regclass ORDER BY 2 DESC
"""
_ACCOUNT = """
    SELECT avg(pg_column_size(account)) FROM (SELECT account FROM provider_messages LIMIT 10000) AS receipts
"""


def sizes(connection: psycopg.Connection, *, fewest_rows: int = 100) -> list[dict[str, Any]]:
    """Each table with its indexes, the largest first; tables of few rows are left out."""
    return [
        {
            "table": table,
            "rows": rows,
            "bytes": size,
            "indexes": dict(connection.execute(_INDEXES, [table]).fetchall()),
        }
        for table, rows, size in connection.execute(_TABLES, [fewest_rows]).fetchall()
    ]


def savings(connection: psycopg.Connection, measured: list[dict[str, Any]]) -> dict[str, int]:
    """Bytes that other ways of storing the same would spare."""
    by_table = {one["table"]: one for one in measured}
    spared = {}
    metrics = by_table.get("agent_metrics", {"indexes": {}})
    if {"idx_metrics_channel_time", "idx_metrics_time"} <= metrics["indexes"].keys():
        spared["idx_metrics_channel_time, beside idx_metrics_time"] = metrics["indexes"][
            "idx_metrics_channel_time"
        ]
    if "provider_messages" in by_table:
        row = connection.execute(_ACCOUNT).fetchone()
        width = float(row[0] or 0) if row else 0.0
        # Once in the row and once in the primary key; a number of two bytes would do.
        spared["the account in each receipt and in its key"] = round(
            2 * max(0, width - 2) * by_table["provider_messages"]["rows"]
        )
    return spared
