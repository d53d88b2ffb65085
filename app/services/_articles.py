"""What is in the knowledge base, and taking it out of use."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import case, func, select, tuple_
from sqlalchemy.orm import Session

from ..errors import ArticleNotFound, InvalidValue
from ..models import KnowledgeBaseEntry, KnowledgeCategory
from ..schemas import ArticleSummary
from ._ingestion import TEXT_HASH, checked_source, lock_source, switch_off
from ._input import checked_code, checked_kind, checked_limit, checked_uuid

_ROW = KnowledgeBaseEntry
_ORDER = func.coalesce(_ROW.source, ""), _ROW.title, _ROW.id
_MADE = _ROW.extra["embedding"]
_IS_FRESH = _ROW.embedding.is_not(None) & (_MADE["sha256"].astext == TEXT_HASH)


def list_articles(
    session: Session,
    *,
    source: str | None = None,
    category: KnowledgeCategory | None = None,
    active: bool | None = True,
    limit: int = 100,
    after: UUID | None = None,
) -> list[ArticleSummary]:
    """Articles that fit all filters, by source and title. One statement.

    ``active``: those in use, those that are not (False), or both (None). Pass the last one's id as ``after``
    to get the following ``limit`` (1 to 1,000).

    Raises:
        InvalidValue: a filter, the limit or ``after`` is ill-formed.
    """
    is_active = func.coalesce(_ROW.is_active, False)
    wanted = select(
        _ROW.id,
        _ROW.title,
        _ROW.category,
        _ROW.source,
        is_active.label("active"),
        case((_IS_FRESH, _MADE["model"].astext)).label("embedded_by"),
        _ROW.updated_at,
    )
    if source is not None:
        wanted = wanted.where(_ROW.source == checked_source(source))
    if category is not None:
        wanted = wanted.where(_ROW.category == checked_code("category", category, KnowledgeCategory))
    if active is not None:
        wanted = wanted.where(is_active.is_(checked_kind("active", active, bool)))
    if after is not None:
        last = select(*_ORDER).where(_ROW.id == checked_uuid("after", after))
        wanted = wanted.where(tuple_(*_ORDER) > last.scalar_subquery())
    rows = session.execute(wanted.order_by(*_ORDER).limit(checked_limit(limit)))
    return [ArticleSummary.model_validate(row) for row in rows]


def deactivate(session: Session, *, source: str | None = None, ids: Collection[UUID] | None = None) -> int:
    """Take all articles of a source, or single ones, out of every search; return how many were in use.

    A source's articles are back as soon as its document is ingested again. A single one stays away until its
    text changes there. Locks the articles, and the source against ingestion, until the caller's transaction
    ends.

    Raises:
        ArticleNotFound: there is no such article, or none of this source; nothing was written.
        InvalidValue: an ill-formed source or id; not exactly one of ``source`` and ``ids``.
    """
    if (source is None) is (ids is None):
        raise InvalidValue("source", "or ids is needed, and not both")
    if ids is None:
        source = checked_source(source)
        lock_source(session, source)
        which = _ROW.source == source
        wanted: set[UUID] = set()
    else:
        if isinstance(ids, str) or not isinstance(ids, Collection):
            raise InvalidValue("ids", "must be a list of ids")
        wanted = {checked_uuid("ids", one) for one in ids}
        which = _ROW.id == func.any(list(wanted))
    rows = session.execute(
        select(_ROW.id, _ROW.is_active).where(which).order_by(_ROW.id).with_for_update()
    ).all()
    missing = wanted - {row.id for row in rows}
    if missing:
        raise ArticleNotFound(min(missing))
    if ids is None and not rows:
        raise ArticleNotFound(f"of the source {source}")
    active = [row.id for row in rows if row.is_active]
    if active:
        switch_off(session, active, gone=ids is None)
    return len(active)
