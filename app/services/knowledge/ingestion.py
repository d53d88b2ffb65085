"""Documents become articles of the knowledge base, and stay in step with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, bindparam, cast, func, insert, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ...embeddings import Embedder
from ...errors import EmbedderUnavailable, Invalid, InvalidValue, ModelReplaced
from ...models import Base, KnowledgeBaseEntry, KnowledgeCategory
from ...models.base import uuid7
from ...schemas import IngestReport, KnowledgeCategoryCode
from .._shared.checks import checked_callable, checked_code, checked_text
from ..indexing.articles import EMBEDDED_BY, HAS_PRESENT_TEXT, HASH_OF_TEXT, embed_missing
from ..indexing.embedding import checked_model
from ..indexing.parameters import typed
from .chunks import Chunk, chunk_html, chunk_markdown, chunk_text
from .planning import Draft, Plan, Stored, drafts_of, plan_changes

Progress = Callable[[int, int], None]

MAX_DOCUMENT = 5_000_000
"""Characters; War and Peace has 3.2 million."""
MAX_CHUNKS = 20_000
MAX_SOURCE = 255

_ROW = KnowledgeBaseEntry
_INGEST = _ROW.extra["ingest"]
_LOCK_SOURCE = text("SELECT pg_advisory_xact_lock(hashtextextended('crm/knowledge/' || :source, 0))")
_STORED = select(
    _ROW.id,
    func.coalesce(_ROW.is_active, False),
    _ROW.category,
    _INGEST["headings"],
    _INGEST["position"],
    HASH_OF_TEXT,
    func.encode(func.sha256(func.convert_to(_ROW.content, "UTF8")), "hex"),
).where(_ROW.source == bindparam("source"), _INGEST["sha256"].astext.is_not(None))
_INSERT = insert(_ROW)
_UPDATE = (
    update(Base.metadata.tables[_ROW.__tablename__])
    .where(_ROW.id == bindparam("row_id"))
    .values(
        title=bindparam("title"),
        content=bindparam("content"),
        category=bindparam("category"),
        is_active=bindparam("active"),
        metadata=_ROW.extra.concat(bindparam("origin", type_=JSONB)),
    )
)
_SWITCH_OFF = (
    update(_ROW)
    .where(_ROW.id == func.any(bindparam("ids", type_=ARRAY(Uuid))))
    .values(is_active=False)
    .execution_options(synchronize_session=False)
)
# Changes nothing where no ingestion has left its mark.
_SWITCH_OFF_GONE = _SWITCH_OFF.values(
    {_ROW.extra: func.jsonb_set(_ROW.extra, ["ingest", "position"], cast(literal("null"), JSONB))}
)
_KEEP_ORDER = typed("""
    INSERT INTO knowledge_documents (source, article_ids) VALUES (:source, :article_ids)
    ON CONFLICT (source) DO UPDATE SET article_ids = EXCLUDED.article_ids
    WHERE knowledge_documents.article_ids <> EXCLUDED.article_ids
""")
_COUNT_UNEMBEDDED = select(func.count()).where(
    _ROW.source == bindparam("source"),
    _ROW.is_active.is_(True),
    or_(
        _ROW.embedding.is_(None),
        HAS_PRESENT_TEXT.is_not(True),
        # Without an embedder any model will do.
        EMBEDDED_BY.is_distinct_from(func.coalesce(bindparam("model", type_=Text), EMBEDDED_BY)),
    ),
)


def ingest_markdown(
    session: Session,
    text: str,
    *,
    source: str,
    category: KnowledgeCategoryCode,
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
    category: KnowledgeCategoryCode,
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
    category: KnowledgeCategoryCode,
    embedder: Embedder | None,
    progress: Progress | None = None,
) -> IngestReport:
    """The same as ``ingest_markdown`` for plain text, whose first line is the title of its articles."""
    return _ingest(
        session, text, chunk_text, source=source, category=category, embedder=embedder, progress=progress
    )


def lock_source(session: Session, source: str) -> None:
    """Let nobody else ingest this source until the transaction ends."""
    session.execute(_LOCK_SOURCE, {"source": source})


def checked_source(source: object) -> str:
    """A document's name, as the column takes it."""
    return checked_text("source", source, max_length=MAX_SOURCE)


def _ingest(
    session: Session,
    text: str,
    chunks_of: Callable[[str], list[Chunk]],
    *,
    source: str,
    category: KnowledgeCategoryCode,
    embedder: Embedder | None,
    progress: Progress | None,
) -> IngestReport:
    source = checked_source(source)
    category = checked_code("category", category, KnowledgeCategory)
    progress = checked_callable("progress", progress)
    if embedder is not None:
        checked_model(embedder)
    chunks = chunks_of(checked_text("text", text, max_length=MAX_DOCUMENT))
    if not chunks:
        raise InvalidValue("text", "has no content")
    if len(chunks) > MAX_CHUNKS:
        raise InvalidValue("text", f"must not make more than {MAX_CHUNKS:,} chunks")

    lock_source(session, source)
    plan = plan_changes(drafts_of(chunks), _stored(session, source), category)
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
    articles = [Stored(*row) for row in session.execute(_STORED, {"source": source})]
    return sorted(articles, key=lambda article: (article.position is None, article.position, article.id))


def _write(session: Session, plan: Plan, source: str, category: KnowledgeCategory) -> None:
    ids = {draft: uuid7() for draft in plan.inserts}
    if plan.inserts:
        session.execute(
            _INSERT,
            [
                {"id": id_, "source": source, "extra": _origin(draft), **_text(draft, category)}
                for draft, id_ in ids.items()
            ],
        )
    if plan.updates:
        session.connection().execute(
            _UPDATE,
            [
                {"row_id": id_, "active": active, "origin": _origin(draft), **_text(draft, category)}
                for draft, id_, active in plan.updates
            ],
        )
    if plan.removals:
        switch_off(session, plan.removals, gone=True)
    article_ids = [one if isinstance(one, UUID) else ids[one] for one in plan.order]
    session.execute(_KEEP_ORDER, {"source": source, "article_ids": article_ids})
    if plan.inserts or plan.updates or plan.removals:
        session.expire_all()


def switch_off(session: Session, ids: Iterable[UUID], *, gone: bool) -> None:
    """Make articles inactive; ``gone`` ones are on again as soon as their document has them again."""
    session.execute(_SWITCH_OFF_GONE if gone else _SWITCH_OFF, {"ids": list(ids)})
    session.expire_all()


def _text(draft: Draft, category: KnowledgeCategory) -> dict[str, object]:
    return {"title": draft.chunk.title, "content": draft.chunk.content, "category": category}


def _origin(draft: Draft) -> dict[str, object]:
    """What the next ingestion knows the article by."""
    chunk = draft.chunk
    return {
        "ingest": {
            "sha256": draft.text_hash,
            "position": draft.position,
            "headings": list(chunk.headings),
        }
    }


def _embed(
    session: Session, embedder: Embedder, source: str, progress: Progress | None
) -> tuple[int, str | None]:
    """How many articles were embedded, and what ended it before all were."""
    embedded = 0

    def count(done: int, total: int) -> None:
        nonlocal embedded
        embedded = done
        if progress is not None:
            progress(done, total)

    try:
        return embed_missing(session, embedder, source=source, progress=count), None
    except (EmbedderUnavailable, Invalid, ModelReplaced) as error:
        return embedded, str(error)


def _count_unembedded(session: Session, source: str, embedder: Embedder | None) -> int:
    model = None if embedder is None else embedder.model
    return session.scalar(_COUNT_UNEMBEDDED, {"source": source, "model": model}) or 0
