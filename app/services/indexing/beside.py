"""Embeddings of messages and tickets, in tables beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, Row, TextClause
from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import InvalidValue, ModelReplaced
from ...models import EmbeddedType
from ...schemas import EmbeddingStatus, ObjectType
from . import statements
from .embedding import BATCH, SPACES, Progress, check_width, checked_model, embed_with_retries, refusals
from .statements import ANSWERING, STATEMENTS


class EmbeddingUpkeep:
    """Keeps the embeddings of one type of object complete, by one model."""

    def __init__(
        self, session: Session, object_type: EmbeddedType, embedder: Embedder, *, switch_back: bool = False
    ) -> None:
        self._session = session
        self._switch_back = switch_back
        self._embedder = embedder
        self._statements = STATEMENTS[object_type]
        self._parameters = {
            "object_type": object_type.value,
            "model": checked_model(embedder),
            "dimensions": embedder.dimensions,
            "queue": ANSWERING,
        }

    def embed(self, *, limit: int, progress: Progress | None) -> int:
        """Embed what is missing, at most ``limit`` objects; how many were done."""
        is_answering = self._choose_queue(check_isolation=True)
        total = 0 if progress is None else self._scalar(statements.WAITING)
        done = 0
        while done < limit and (entries := self._claim(min(BATCH, limit - done), is_answering=is_answering)):
            lacking = [row for row in entries if row.text is not None and not row.is_current]
            refused = self._store(lacking)
            finished = self._dequeue([row for row in entries if row.id not in refused])
            done += sum(row.id in finished for row in lacking)
            if progress is not None and lacking:
                progress(done, max(total, done))
        if not is_answering:
            self._switch_if_complete()
        return done

    def _claim(self, count: int, *, is_answering: bool) -> Sequence[Row[Any]]:
        """The next of the queue, which a model that does not answer yet fills until nothing is missing."""
        while not (entries := self._execute(self._statements.claim, count=count).all()):
            if is_answering or not self._fill():
                return ()
        if is_answering and self._scalar(statements.HOLD_ANSWERING) != self._embedder.model:
            return ()  # another model has taken over: what it lacks is for its own workers
        return entries

    def fill_queue(self) -> int:
        """Look at everything, and put what is missing into the queue; how many."""
        self._choose_queue()
        return self._fill()

    def _choose_queue(self, *, check_isolation: bool = False) -> bool:
        """Whether this model is the one that answers, also as the first; else it has its own queue."""
        state = self._execute(statements.STATE).one()
        # In a stricter isolation `_store` would not see a change of the text, and store an old vector.
        if check_isolation and state.isolation != "read committed":
            raise InvalidValue("session", "must be READ COMMITTED to embed messages or tickets")
        answering = state.answering
        # Looked at before, since an INSERT would wait for a worker that is just switching.
        if answering is None:
            self._execute(statements.REGISTER)
            answering = self._execute(statements.STATE).one().answering
        if answering == self._embedder.model:
            check_width(self._embedder, state.stored_width)
            return True
        if state.is_replaced and not self._switch_back:
            raise ModelReplaced(self._embedder.model)
        self._parameters["queue"] = self._embedder.model
        return False

    def _fill(self) -> int:
        """After whoever is doing just that."""
        self._execute(statements.TURN_TO_FILL)
        return self._execute(self._statements.fill).rowcount

    def _store(self, rows: Sequence[Row[Any]]) -> set[UUID]:
        """Embed what has no equal yet, and store what is still so: a text that has changed comes again.

        What the embedder refuses is returned, and stays in the queue until it is tried again.
        """
        new = [row for row in rows if row.text.strip() and row.twin is None]
        vectors = dict(
            zip(
                (row.id for row in new),
                embed_with_retries(self._embedder, [row.text for row in new]) if new else (),
                strict=True,
            )
        )
        refused = {id_ for id_, vector in vectors.items() if vector is None}
        if refused:
            entries = [entry for row in rows if row.id in refused for entry in row.entries]
            self._execute(statements.REFUSE, entries=entries)
        stored = [
            {
                **self._parameters,
                "id": row.id,
                "hash": row.hash,
                "is_blank": not row.text.strip(),
                "half_vector": vectors.get(row.id),
                "twin": row.twin,
            }
            for row in rows
            if row.id not in refused
        ]
        if stored:
            self._execute(self._statements.lock, ids=[values["id"] for values in stored])
            self._session.execute(self._statements.store, stored)
        return refused

    def _dequeue(self, rows: Sequence[Row[Any]]) -> set[UUID]:
        """Take what is done from the queue; the ids of that."""
        entries = [(entry, row.hash) for row in rows for entry in row.entries]
        return set(
            self._execute(
                self._statements.dequeue,
                entries=[entry for entry, _ in entries],
                hashes=[hash_ for _, hash_ in entries],
            ).scalars()
        )

    def _switch_if_complete(self) -> None:
        """Let this model answer, and drop what the others made, once nothing lacks a vector by it."""
        if self._scalar(statements.IS_WAITING) or self._scalar(self._statements.lacks):
            return
        # Waits for workers of the model of before: what they alone have seen is this model's to embed.
        self._execute(statements.KEEP_REPLACED)
        self._execute(statements.FORGET_REPLACED)
        self._execute(statements.SWITCH)
        self._parameters["queue"] = ANSWERING
        self._execute(self._statements.fill)
        self._execute(self._statements.drop_others)
        self._execute(statements.FORGET_PREPARED)

    def _execute(self, statement: TextClause, **parameters: Any) -> CursorResult[Any]:
        result = self._session.execute(statement, {**self._parameters, **parameters})
        assert isinstance(result, CursorResult)
        return result

    def _scalar(self, statement: TextClause) -> Any:
        return self._execute(statement).scalar_one()


def cost(session: Session, object_type: EmbeddedType, embedder: Embedder) -> Row[Any]:
    """As ``articles.cost``; a text that has an equal one with an embedding costs nothing."""
    parameters = {"model": checked_model(embedder), "spaces": SPACES}
    return session.execute(STATEMENTS[object_type].cost, parameters).one()


def status(session: Session, object_type: EmbeddedType) -> EmbeddingStatus:
    """One type's part of ``indexing.embedding_status``."""
    row = session.execute(STATEMENTS[object_type].status).one()
    refused = session.execute(STATEMENTS[object_type].refused).all()
    stored = row.models.get(row.model, 0)
    return EmbeddingStatus(
        object_type=ObjectType(object_type),
        model=row.model,
        total=row.total,
        current=row.current,
        stale=stored - row.current,
        missing=row.total - stored,
        models=row.models,
        **refusals(refused),
    )
