"""Whether searches find what is there: the columns with embeddings, whichever tables have some."""

# The names in the statements are the catalogue's.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import text

from ...models import Base
from ...models.knowledge import EMBEDDED_BY
from ..search_indexes import VECTOR_INDEXES
from .patient import Check, Patient, Severity, check

_SEARCHES = {
    "knowledge_base": "SELECT count(*) FROM search_knowledge_base(CAST(:vector AS vector), 5)",
    "message_embeddings": "SELECT count(*) FROM search_objects('message', CAST(:vector AS vector))",
    "ticket_embeddings": "SELECT count(*) FROM search_objects('ticket', CAST(:vector AS vector))",
}
SEARCHES = {index: (table, _SEARCHES[table]) for index, table in VECTOR_INDEXES.items()}
"""HNSW index -> its table, and a search that has to read it; ``:vector`` is one that is stored there."""

# A search may compare fewer rows one by one, without its index; from here on it must not.
_LARGE = 1000

_COLUMNS = text("""
    SELECT quote_ident(c.relname) AS "table", quote_ident(a.attname) AS "column", t.typname::text AS type,
        a.attnotnull AS required,
        COALESCE((SELECT string_agg(quote_ident(k.attname), ', ' ORDER BY k.attnum) FROM pg_index i
            JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = ANY (i.indkey)
            WHERE i.indrelid = c.oid AND i.indisprimary), 'ctid') AS key,
        EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'model') AS names_model,
        EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'is_active') AS has_state
    FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid AND c.relnamespace = 'public'::regnamespace
    JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relname = ANY (:tables) AND t.typname IN ('vector', 'halfvec', 'sparsevec') AND NOT a.attisdropped
    ORDER BY 1, 2
""")


class _Column(NamedTuple):
    """A column with embeddings; its names are the catalogue's, quoted where they need it."""

    table: str
    column: str
    type: str
    required: bool
    key: str
    names_model: bool
    has_state: bool

    @property
    def model(self) -> str:
        """Who made the embedding: the tables beside say it in a column, the DDL's own has none."""
        return "model" if self.names_model else EMBEDDED_BY

    @property
    def used(self) -> str:
        """The rows that are searched."""
        return f"{self.column} IS NOT NULL{' AND is_active' if self.has_state else ''}"

    @property
    def is_zero(self) -> str:
        return f"{'vector_norm' if self.type == 'vector' else 'l2_norm'}({self.column}) = 0"


def _columns(patient: Patient) -> list[_Column]:
    with patient.reading() as session:
        return [_Column(*row) for row in session.execute(_COLUMNS, {"tables": list(Base.metadata.tables)})]


def _ask(patient: Patient, statement: str) -> list[str]:
    with patient.reading() as session:
        return list(session.scalars(text(statement)))


def _remove_zero_vectors(patient: Patient) -> None:
    """Where a row is nothing but its embedding, the row goes."""
    for one in _columns(patient):
        change = f"DELETE FROM {one.table}" if one.required else f"UPDATE {one.table} SET {one.column} = NULL"
        patient.run(f"{change} WHERE {one.is_zero}")


@check(
    "zero_vectors",
    Severity.ERROR,
    what="embeddings have no direction, so that no search finds them",
    mend="crm doctor --fix removes them, so that they are made again",
    fix=_remove_zero_vectors,
)
def zero_vectors(patient: Patient) -> Iterator[str]:
    for one in _columns(patient):
        yield from _ask(
            patient,
            f"SELECT format('%s %s', '{one.table}', concat_ws(' ', {one.key})) FROM {one.table} "
            f"WHERE {one.is_zero}",
        )


@check(
    "embedding_models",
    Severity.WARNING,
    what="embeddings of one table are by different models, and are no neighbours of each other",
    mend="embed all of them with one model",
)
def embedding_models(patient: Patient) -> Iterator[str]:
    """The models of a table that has several; those beside keep them apart by a column, and search one."""
    for one in _columns(patient):
        if one.names_model:
            continue
        models = _ask(
            patient,
            f"SELECT format('%s by %s: %s', '{one.table}', COALESCE({one.model}, 'unknown'), count(*)) "
            f"FROM {one.table} WHERE {one.used} GROUP BY {one.model} ORDER BY count(*) DESC",
        )
        if len(models) > 1:
            yield from models


@check(
    "hnsw",
    Severity.WARNING,
    what="searches do not use their HNSW indexes",
    mend="crm db check; ANALYZE the tables; REINDEX INDEX CONCURRENTLY",
)
def hnsw(patient: Patient) -> Iterator[str]:
    """Search for something that is there, and look whether the index was read."""
    columns = {one.table: one for one in _columns(patient)}
    for index, (table, search) in SEARCHES.items():
        one = columns.get(table)
        if one is None:
            yield index
            continue
        with patient.reading() as session:
            vector = session.scalar(
                text(f"SELECT CAST({one.column} AS text) FROM {table} WHERE {one.used} LIMIT 1")
            )
            if vector is None:
                continue
            counted = (
                f"SELECT count(*) FROM (SELECT FROM {table} WHERE {one.used} LIMIT {_LARGE}) AS searched"
            )
            nearest = search
            if session.scalar(text(counted)) < _LARGE:
                # It must only be possible to use it.
                for way in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
                    session.execute(text(f"SET LOCAL {way} = off"))
                nearest = (
                    f"SELECT FROM {table} WHERE {one.used} "
                    f"ORDER BY {one.column} <=> CAST(:vector AS {one.type}) LIMIT 1"
                )
            session.execute(text(nearest), {"vector": vector})
            scans = text("SELECT pg_stat_get_xact_numscans(to_regclass(:name))")
            if not session.scalar(scans, {"name": index}):
                yield index


search_settings = Check(
    name="search_settings",
    severity=Severity.INFO,
    what="searches in plain SQL may read whole tables or find too little (search_objects does not)",
    mend="crm doctor --fix as the database's owner, or ALTER DATABASE ... SET",
    # A server may have them for all of its databases.
    find="SELECT format('%s should be %s', name, value) FROM search_settings() "
    "WHERE actual IS NULL AND current_setting(name, true) IS DISTINCT FROM value",
    fix=lambda patient: patient.run("SELECT set_search_settings()"),
)
