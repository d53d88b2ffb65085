"""Documents become articles of the knowledge base, and stay in step with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, cast, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ..embeddings import Embedder
from ..errors import EmbedderUnavailable, Invalid, InvalidValue
from ..models import KnowledgeBaseEntry, KnowledgeCategory
from ..models.base import uuid7
from ..schemas import IngestReport
from ._article_embeddings import HASH, embed_missing
from ._chunks import Chunk, chunk_html, chunk_markdown, chunk_text
from ._embedding import checked_model
from ._ingest_plan import Plan, Stored, Wanted, plan_changes, wanted_articles
from ._input import checked_code, checked_text

Progress = Callable[[int, int], None]

MAX_DOCUMENT = 5_000_000
"""Characters; War and Peace has 3.2 million."""
MAX_CHUNKS = 20_000
MAX_SOURCE = 255

_ROW = KnowledgeBaseEntry
_INGEST = _ROW.extra["ingest"]
TEXT_HASH = func.encode(HASH, "hex")
_CONTENT_HASH = func.encode(func.sha256(func.convert_to(_ROW.content, "UTF8")), "hex")


def ingest_markdown(
    session: Session,
    text: str,
    *,
    source: str,
    category: KnowledgeCategory,
    embedder: Embedder | None,
    progress: Progress | None = None,
) -> IngestReport:
    """Make the articles of ``source`` those of a Markdown document, one for each chunk of it, and embed them.

    An article whose text is still in the document is not written; one whose text changed keeps its id; one
    whose text is gone is switched off, and on again when it returns. An article that somebody switched off
    stays so until its text changes. Articles of the source that no ingestion made keep their text and state.

    The text is written first, and no failure of the embedder takes it back: the report says how many articles
    have no embedding of their present text, and why. The same call again goes on. ``embedder`` None: only the
    text is stored. ``progress(done, total)`` is told of articles embedded.

    Holds a lock on the source until the caller's transaction ends, so that of two calls for one source the
    second one finds the first one's articles. The number of statements does not depend on that of chunks.

    Raises:
        InvalidValue: a text without content, above 5,000,000 characters or 20,000 chunks, or that cannot be
            stored; an ill-formed source; an unknown category. Nothing was written.
        Unavailable: the package markdown-it-py is not installed.
    """
    return _ingest(
        session, text, chunk_markdown, source=source, category=category, embedder=embedder, progress=progress
    )


def ingest_html(
    session: Session,
    text: str,
    *,
    source: str,
    category: KnowledgeCategory,
    embedder: Embedder | None,
    progress: Progress | None = None,
) -> IngestReport:
    """The same as ``ingest_markdown`` for an HTML page; what is stored is its text."""
    return _ingest(
        session, text, chunk_html, source=source, category=category, embedder=embedder, progress=progress
    )


def ingest_text(
    session: Session,
    text: str,
    *,
    source: str,
    category: KnowledgeCategory,
    embedder: Embedder | None,
    progress: Progress | None = None,
) -> IngestReport:
    """The same as ``ingest_markdown`` for plain text, whose first line is the title of its articles."""
    return _ingest(
        session, text, chunk_text, source=source, category=category, embedder=embedder, progress=progress
    )


def lock_source(session: Session, source: str) -> None:
    """Let nobody else ingest this source until the transaction ends."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"crm/knowledge/{source}", 0))))


def checked_source(source: object) -> str:
    """A document's name, as the column takes it."""
    return checked_text("source", source, max_length=MAX_SOURCE)


def _ingest(
    session: Session,
    text: str,
    chunks_of: Callable[[str], list[Chunk]],
    *,
    source: str,
    category: KnowledgeCategory,
    embedder: Embedder | None,
    progress: Progress | None,
) -> IngestReport:
    source = checked_source(source)
    category = checked_code("category", category, KnowledgeCategory)
    if embedder is not None:
        checked_model(embedder)
    chunks = chunks_of(checked_text("text", text, max_length=MAX_DOCUMENT))
    if not chunks:
        raise InvalidValue("text", "has no content")
    if len(chunks) > MAX_CHUNKS:
        raise InvalidValue("text", f"must not make more than {MAX_CHUNKS:,} chunks")

    lock_source(session, source)
    plan = plan_changes(wanted_articles(chunks), _stored(session, source), category)
    _write(session, plan, source, category)
    embedded, problem = 0, None
    if embedder is not None:
        embedded, problem = _embed(session, embedder, source, progress)
    return IngestReport(
        source=source,
        **plan.counts,
        embedded=embedded,
        unembedded=_count_unembedded(session, source, embedder),
        embedding_error=problem,
    )


def _stored(session: Session, source: str) -> list[Stored]:
    """The source's articles that were made here, those of the document first."""
    rows = session.execute(
        select(
            _ROW.id,
            func.coalesce(_ROW.is_active, False),
            _ROW.category,
            _INGEST["headings"],
            _INGEST["position"],
            TEXT_HASH,
            _CONTENT_HASH,
        ).where(_ROW.source == source, _INGEST["sha256"].astext.is_not(None))
    )
    stored = [Stored(*row) for row in rows]
    return sorted(stored, key=lambda one: (one.position is None, one.position, one.id))


def _write(session: Session, plan: Plan, source: str, category: KnowledgeCategory) -> None:
    if plan.inserts:
        rows = [
            {"id": uuid7(), "source": source, "extra": {"ingest": _origin(one)}, **_text(one, category)}
            for one in plan.inserts
        ]
        session.execute(insert(_ROW), rows)
    if plan.updates:
        statement = (
            update(_ROW)
            .where(_ROW.id == bindparam("row_id"))
            .values(
                {
                    _ROW.title: bindparam("title"),
                    _ROW.content: bindparam("content"),
                    _ROW.category: bindparam("category"),
                    _ROW.is_active: bindparam("active"),
                    _ROW.extra: _ROW.extra.concat(bindparam("origin", type_=JSONB)),
                }
            )
        )
        session.connection().execute(
            statement,
            [
                {"row_id": id_, "active": active, "origin": {"ingest": _origin(one)}, **_text(one, category)}
                for one, id_, active in plan.updates
            ],
        )
    if plan.removals:
        switch_off(session, plan.removals, gone=True)
    if plan.inserts or plan.updates or plan.removals:
        session.expire_all()


def switch_off(session: Session, ids: Iterable[UUID], *, gone: bool) -> None:
    """Make articles inactive; ``gone`` ones are on again as soon as their document has them again."""
    values: dict[Any, Any] = {_ROW.is_active: False}
    if gone:
        # Changes nothing where no ingestion has left its mark.
        values[_ROW.extra] = func.jsonb_set(_ROW.extra, ["ingest", "position"], cast(literal("null"), JSONB))
    session.execute(
        update(_ROW)
        .where(_ROW.id == func.any(list(ids)))
        .values(values)
        .execution_options(synchronize_session=False)
    )
    session.expire_all()


def _text(one: Wanted, category: KnowledgeCategory) -> dict[str, object]:
    return {"title": one.chunk.title, "content": one.chunk.content, "category": category}


def _origin(one: Wanted) -> dict[str, object]:
    return {"sha256": one.text_hash, "position": one.position, "headings": list(one.chunk.headings)}


def _embed(
    session: Session, embedder: Embedder, source: str, progress: Progress | None
) -> tuple[int, str | None]:
    """How many articles were embedded, and what ended it before all were."""
    embedded = 0

    def told(done: int, total: int) -> None:
        nonlocal embedded
        embedded = done
        if progress is not None:
            progress(done, total)

    try:
        return embed_missing(session, embedder, source=source, progress=told), None
    except (EmbedderUnavailable, Invalid) as error:
        return embedded, str(error)


def _count_unembedded(session: Session, source: str, embedder: Embedder | None) -> int:
    made = _ROW.extra["embedding"]
    stale = [_ROW.embedding.is_(None), made["sha256"].astext.is_distinct_from(TEXT_HASH)]
    if embedder is not None:
        stale.append(made["model"].astext.is_distinct_from(embedder.model))
    count = select(func.count()).where(_ROW.source == source, _ROW.is_active.is_(True), or_(*stale))
    return session.scalar(count) or 0
