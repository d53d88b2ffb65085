"""Embeddings of messages and tickets, in tables beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    CursorResult,
    Row,
    Text,
    TextClause,
    Uuid,
    bindparam,
    func,
    select,
    text,
)
from sqlalchemy.orm import Session

from ..embeddings import Embedder
from ..errors import InvalidValue
from ..models import EMBEDDING_DIMENSIONS, EmbeddedType, EmbeddingModel
from ..models.vector import HalfVector
from ..schemas import EmbeddingStatus, ObjectType
from ._embedding import BATCH, Progress, checked_model, embed_with_retries


@dataclass(frozen=True)
class _Sources:
    """How one type of object differs from the other."""

    table: str
    text: str
    """Of ``o``, an object."""
    complete: str
    """Whether ``e``, an embedding of ``o``, has everything that there is by now."""
    columns: str = ""
    values: str = ""


_SOURCES = {
    EmbeddedType.MESSAGE: _Sources("messages", "left(o.content, 8000)", "true"),
    EmbeddedType.TICKET: _Sources(
        "tickets",
        "ticket_text(o.id)",
        """(e.messages >= 3 OR NOT EXISTS (
            SELECT FROM messages m WHERE m.conversation_id = o.conversation_id OFFSET e.messages
        ))""",
        columns=", messages",
        values=""", (SELECT count(*) FROM (
            SELECT FROM messages m WHERE m.conversation_id = o.conversation_id LIMIT 3
        ) AS first)""",
    ),
}


_TYPES = {
    "object_type": Text(),
    "model": Text(),
    "vector": HalfVector(EMBEDDING_DIMENSIONS),
    "twin": Uuid(),
    "is_blank": Boolean(),
    "refused": ARRAY(Uuid()),
}


def _typed(sql: str) -> TextClause:
    """The statement, with the types that the server cannot infer."""
    statement = text(sql)
    known = _TYPES.keys() & statement.compile().params.keys()
    return statement.bindparams(*(bindparam(name, type_=_TYPES[name]) for name in known))


class Beside:
    """The statements for one type of object and one model."""

    def __init__(self, session: Session, object_type: EmbeddedType, embedder: Embedder) -> None:
        self._session = session
        self._embedder = embedder
        self._type = object_type
        self._source = _SOURCES[object_type]
        self._table, self._key = f"{object_type}_embeddings", f"{object_type}_id"
        self._lock = f"crm/embedding/{object_type}/{checked_model(embedder)}"
        self._parameters = {"object_type": object_type.value, "model": checked_model(embedder)}

    def _execute(self, sql: str, **parameters: Any) -> CursorResult[Any]:
        result = self._session.execute(_typed(sql), self._parameters | parameters)
        assert isinstance(result, CursorResult)
        return result

    def embed(self, *, limit: int | None, progress: Progress | None) -> int:
        """Embed what is missing, at most ``limit`` objects; how many were done."""
        self._check_isolation()
        present = self._present_model()
        done = 0
        refused: list[UUID] = []
        while limit is None or done < limit:
            rows = self._claim(BATCH if limit is None else min(BATCH, limit - done), refused)
            if not rows:
                if not self._enqueue():
                    break
                continue
            failed = self._write(rows)
            refused += failed
            done += len(rows) - len(failed)
            if progress is not None:
                progress(done, done + self._waiting())
        if present != self._embedder.model and not self._lacking() and not self._waiting():
            self._switch()
        return done

    def fill_queue(self) -> int:
        """Put what is missing into the queue, after whoever is doing just that; how many."""
        self._present_model()
        self._execute("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))", lock=self._lock)
        return self._enqueue()

    def _check_isolation(self) -> None:
        """In a stricter isolation ``_write`` would not see a change of the text, and store an old vector."""
        if self._session.scalar(select(func.current_setting("transaction_isolation"))) != "read committed":
            raise InvalidValue("session", "must be READ COMMITTED to embed messages or tickets")

    def _present_model(self) -> str:
        """The model that answers: this one, where there is none yet."""
        present = select(EmbeddingModel.model).where(EmbeddingModel.object_type == self._type)
        # Looked at before, since an INSERT would wait for a worker that is just switching.
        if (model := self._session.scalar(present)) is not None:
            return model
        self._execute(
            """
            INSERT INTO embedding_models (object_type, model, dimensions)
            VALUES (:object_type, :model, :dimensions) ON CONFLICT DO NOTHING
            """,
            dimensions=self._embedder.dimensions,
        )
        return self._session.scalars(present).one()

    def _claim(self, count: int, refused: list[UUID]) -> Sequence[Row[Any]]:
        """Take objects from the queue that no other worker has, with their text and a row of equal text."""
        return self._execute(
            f"""
            WITH claimed AS MATERIALIZED (
                SELECT object_id FROM embedding_queue
                WHERE object_type = :object_type AND model = :model AND object_id <> ALL(:refused)
                ORDER BY object_id LIMIT :count FOR UPDATE SKIP LOCKED
            ), texts AS MATERIALIZED (
                SELECT object_id AS id, (SELECT {self._source.text} FROM {self._source.table} o
                    WHERE o.id = object_id) AS text
                FROM claimed
            ), hashed AS (
                SELECT id, text, sha256(convert_to(text, 'UTF8')) AS hash FROM texts
            )
            SELECT id, text, hash, (
                SELECT {self._key} FROM {self._table} e
                WHERE e.content_hash = h.hash AND e.model = :model AND e.embedding IS NOT NULL LIMIT 1
            ) AS twin FROM hashed h
            """,  # noqa: S608 - the names are this module's
            count=count,
            refused=refused,
        ).all()

    def _enqueue(self) -> int:
        """Put what is missing into the queue, unless another worker is doing just that; how many."""
        return self._execute(
            f"""
            WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtextextended(:lock, 0)) AS mine)
            INSERT INTO embedding_queue (object_type, model, object_id)
            SELECT :object_type, :model, o.id FROM turn, {self._source.table} o
            WHERE turn.mine AND {self._is_missing()}
                -- What another worker has done and not committed is still here: no need to wait for it.
                AND NOT EXISTS (
                    SELECT FROM embedding_queue q
                    WHERE q.object_type = :object_type AND q.model = :model AND q.object_id = o.id
                )
            ON CONFLICT DO NOTHING
            """,  # noqa: S608
            lock=self._lock,
        ).rowcount

    def _is_missing(self) -> str:
        return f"""NOT EXISTS (
            SELECT FROM {self._table} e
            WHERE e.{self._key} = o.id AND e.model = :model AND {self._source.complete}
        )"""

    def _write(self, rows: Sequence[Row[Any]]) -> list[UUID]:
        """Embed what has no equal yet, and store what is still so: a text that has changed comes again.

        What the embedder refuses is returned, and stays in the queue.
        """
        new = [row for row in rows if row.text is not None and row.text.strip() and row.twin is None]
        vectors = dict(
            zip(
                (row.id for row in new),
                embed_with_retries(self._embedder, [row.text for row in new]),
                strict=True,
            )
        )
        refused = [row_id for row_id, vector in vectors.items() if vector is None]
        ids = [row.id for row in rows if row.id not in refused]
        # Whoever changes a text now waits (forget_embeddings), and finds the embedding that he has to delete.
        # Nobody else does: a change of other columns goes together with this lock.
        self._execute(
            f"SELECT FROM {self._source.table} WHERE id = ANY(:ids) ORDER BY id FOR KEY SHARE",
            ids=ids,
        )
        columns = self._source.columns
        statement = _typed(
            f"""
            INSERT INTO {self._table} ({self._key}, model, dimensions, content_hash, embedding{columns})
            SELECT o.id, :model, :dimensions, :hash, made.embedding{self._source.values}
            FROM {self._source.table} o, LATERAL (SELECT COALESCE(:vector, (
                SELECT t.embedding FROM {self._table} t WHERE t.{self._key} = :twin AND t.model = :model
            )) AS embedding) AS made
            WHERE o.id = :id AND sha256(convert_to({self._source.text}, 'UTF8')) = :hash
                -- A twin may have gone since.
                AND (:is_blank OR made.embedding IS NOT NULL)
            ON CONFLICT ({self._key}, model) DO UPDATE
            SET (dimensions, content_hash, embedding, embedded_at{columns}) = (EXCLUDED.dimensions,
                EXCLUDED.content_hash, EXCLUDED.embedding, EXCLUDED.embedded_at
                {columns.replace(", ", ", EXCLUDED.")})
            """  # noqa: S608
        )
        stored = [
            {
                **self._parameters,
                "dimensions": self._embedder.dimensions,
                "id": row.id,
                "hash": row.hash,
                "is_blank": not row.text.strip(),
                "vector": vectors.get(row.id),
                "twin": row.twin,
            }
            for row in rows
            if row.text is not None and row.id not in refused  # no text: it has been deleted
        ]
        if stored:
            self._session.execute(statement, stored)
        self._execute(
            "DELETE FROM embedding_queue "
            "WHERE object_type = :object_type AND model = :model AND object_id = ANY(:ids)",
            ids=ids,
        )
        return refused

    def _waiting(self) -> int:
        return int(
            self._execute(
                "SELECT count(*) FROM embedding_queue WHERE object_type = :object_type AND model = :model"
            ).scalar_one()
        )

    def _lacking(self) -> bool:
        return bool(
            self._execute(
                f"SELECT EXISTS (SELECT FROM {self._source.table} o WHERE {self._is_missing()})"  # noqa: S608
            ).scalar_one()
        )

    def _switch(self) -> None:
        """Let this model answer from now on, and drop what the others made."""
        self._execute(
            """
            UPDATE embedding_models
            SET model = :model, dimensions = :dimensions, since = clock_timestamp()
            WHERE object_type = :object_type
            """,
            dimensions=self._embedder.dimensions,
        )
        self._execute(f"DELETE FROM {self._table} WHERE model <> :model")  # noqa: S608
        self._execute("DELETE FROM embedding_queue WHERE object_type = :object_type AND model <> :model")


def status(session: Session, object_type: EmbeddedType) -> EmbeddingStatus:
    """One type's part of ``indexing.embedding_status``."""
    source, table = _SOURCES[object_type], f"{object_type}_embeddings"
    statement = f"""
        SELECT present.model,
            (SELECT count(*) FROM {source.table}) AS total,
            (SELECT count(*) FROM {table} e JOIN {source.table} o ON o.id = e.{object_type}_id
                WHERE e.model = present.model AND {source.complete}) AS current,
            COALESCE((SELECT jsonb_object_agg(model, rows) FROM (
                SELECT model, count(*) AS rows FROM {table} GROUP BY model
            ) AS by_model), '{{}}') AS models
        FROM (SELECT max(model) AS model FROM embedding_models WHERE object_type = :object_type) AS present
    """  # noqa: S608 - the names are this module's
    row = session.execute(_typed(statement), {"object_type": object_type.value}).one()
    stored = row.models.get(row.model, 0)
    return EmbeddingStatus(
        object_type=ObjectType(object_type),
        model=row.model,
        total=row.total,
        current=row.current,
        stale=stored - row.current,
        missing=row.total - stored,
        models=row.models,
    )
