"""What the server and its extensions are, before anything of ours is looked at."""

from __future__ import annotations

from collections.abc import Iterator

from ...database import probe
from ...models import Base
from .patient import Check, Patient, Severity, check

OLDEST_POSTGRESQL = 16
_OURS = ", ".join(f"'{name}'" for name in Base.metadata.tables)
_VECTOR_VERSION = (
    "(SELECT string_to_array(extversion, '.')::int[] FROM pg_extension WHERE extname = 'vector')"
)


@check(
    "connection",
    Severity.ERROR,
    what="the database cannot be used",
    mend="look at the server, the address and the password",
    needs_schema=False,
)
def connection(patient: Patient) -> Iterator[str]:
    problem = probe(patient.engine, version_table=patient.settings.version_table).problem
    if problem is not None:
        yield problem


postgresql_version = Check(
    name="postgresql_version",
    severity=Severity.ERROR,
    what=f"the server is older than PostgreSQL {OLDEST_POSTGRESQL}",
    mend="upgrade the server",
    find="SELECT current_setting('server_version') "
    f"WHERE current_setting('server_version_num')::int < {OLDEST_POSTGRESQL}0000",
    needs_schema=False,
)
pgvector_missing = Check(
    name="pgvector_missing",
    severity=Severity.ERROR,
    what="the extension vector is missing, or older than 0.8",
    mend="install pgvector 0.8.4 or newer; CREATE EXTENSION vector, or ALTER EXTENSION vector UPDATE",
    find=f"SELECT 'vector' WHERE COALESCE({_VECTOR_VERSION} < '{{0,8}}', true)",
    needs_schema=False,
)
pgvector_version = Check(
    name="pgvector_version",
    severity=Severity.WARNING,
    what="pgvector before 0.8.4 can damage HNSW indexes in VACUUM, and before 0.8.2 a parallel HNSW build "
    "can read another relation's memory (CVE-2026-3172)",
    mend="update pgvector, then ALTER EXTENSION vector UPDATE, then REINDEX the HNSW indexes",
    find=f"SELECT array_to_string({_VECTOR_VERSION}, '.') "
    f"WHERE {_VECTOR_VERSION} BETWEEN '{{0,8}}' AND '{{0,8,3}}'",
    needs_schema=False,
)
unused_indexes = Check(
    name="unused_indexes",
    severity=Severity.INFO,
    what="no query has used these indexes since the server's statistics began",
    mend="if that is long ago, and no standby uses them, they only cost writes",
    find=f"""
    SELECT format('%s, %s', indexrelid::regclass, pg_size_pretty(pg_relation_size(indexrelid)))
    FROM pg_stat_user_indexes JOIN pg_index USING (indexrelid)
    WHERE idx_scan = 0 AND NOT indisunique AND relname IN ({_OURS})
        AND pg_relation_size(indexrelid) > 1000000
    """,  # noqa: S608 - names of our own
)
